"""Language models, their tasks and their evaluation on PyTorch Lightning: one YAML file, one run, one score to trust."""

__version__ = "0.1.0"
