"""Evaluation: predictions of systems are written to disk and then scored with metrics."""
