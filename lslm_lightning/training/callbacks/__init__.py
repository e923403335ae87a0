"""Callbacks of a training: checkpoints, progress, evaluation, interruption."""
