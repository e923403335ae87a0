"""Low-rank adapters: small trained parts of a frozen network."""

from lslm_lightning.adapters.low_rank import DoRA, LoRA, add_adapter, merged

__all__ = ["DoRA", "LoRA", "add_adapter", "merged"]
