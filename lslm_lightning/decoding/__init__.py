"""Greedy, sampling and beam search, written once over a `step` for every family of models."""

from lslm_lightning.decoding.beam import Beam
from lslm_lightning.decoding.search import Decoded, Nested, Search, Step, reorder
from lslm_lightning.decoding.stepwise import Greedy, Sampling

__all__ = ["Beam", "Decoded", "Greedy", "Nested", "Sampling", "Search", "Step", "reorder"]
