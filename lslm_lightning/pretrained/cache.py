"""Conversion between caches of `transformers` and nested tuples of batch-first tensors, whose rows
a search can reorder.
"""

from typing import TYPE_CHECKING

from lslm_lightning.models.backbone import State

if TYPE_CHECKING:
    from transformers import DynamicCache


def state_from_cache(cache: object) -> State:
    """Return the keys and values (N, H, T, K) of each layer of a cache.

    Raises:
        ValueError: the cache does not hold the keys and values of all positions.
    """
    layers = getattr(cache, "layers", None)
    if not layers or any(
        getattr(layer, "keys", None) is None or layer.is_sliding for layer in layers
    ):
        kept = "no cache" if cache is None else type(cache).__name__
        raise ValueError(
            f"this model keeps {kept} as its state; only keys and values of all positions are "
            "supported"
        )
    return tuple((layer.keys, layer.values) for layer in layers)


def cache_from_state(state: State | None) -> "DynamicCache":
    """Return a `DynamicCache` that holds a state; an empty cache for None.

    A network with sliding windows needs no special cache, since its masks hide older positions.
    """
    from transformers import DynamicCache

    return DynamicCache(state or None)
