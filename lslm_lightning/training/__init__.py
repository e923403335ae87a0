"""Base classes and tools for training, validating and testing tasks with Lightning."""
