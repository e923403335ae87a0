"""Evaluation: predictions are written to disk, then scored."""
