"""Language models, their tasks and their evaluation on PyTorch Lightning: one YAML file, one run, one score to trust."""

import os

# oneDNN compiles a kernel for every shape it meets and keeps 1024 of them. Batches of a token budget have thousands of shapes: compiling
# them again and again took an eighth to a fifth of a training step in bf16 on a CPU; keeping them takes 0.3 GB.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")

__version__ = "0.1.0"
