"""Neural networks, torch only: backbones from vectors to vectors, and what stands between them and
words.
"""

from lslm_lightning.models.multi_head_attention import MultiHeadAttention

__all__ = ["MultiHeadAttention"]
