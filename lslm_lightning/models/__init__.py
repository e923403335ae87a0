"""Neural networks in plain PyTorch: backbones that map vectors to vectors, token embeddings, and
output heads.
"""

from lslm_lightning.models.multi_head_attention import MultiHeadAttention

__all__ = ["MultiHeadAttention"]
