"""Evaluation: predictions on disk, then scores."""
