"""Greedy search, sampling and beam search over the `step` function of any model, and searches over
CTC frames.
"""

from typing import TypeAlias

from lslm_lightning.decoding.beam import Beam
from lslm_lightning.decoding.ctc import CtcGreedy, CtcSearch, Hypothesis
from lslm_lightning.decoding.fusion import Fusion
from lslm_lightning.decoding.joint import JointBeam, JointSearch
from lslm_lightning.decoding.prefix_beam import CtcPrefixBeam
from lslm_lightning.decoding.search import Decoded, Nested, Search, Step, reorder
from lslm_lightning.decoding.stepwise import Greedy, Sampling

AnySearch: TypeAlias = Search | CtcSearch | JointSearch

__all__ = [
    "AnySearch",
    "Beam",
    "CtcGreedy",
    "CtcPrefixBeam",
    "CtcSearch",
    "Decoded",
    "Fusion",
    "Greedy",
    "Hypothesis",
    "JointBeam",
    "JointSearch",
    "Nested",
    "Sampling",
    "Search",
    "Step",
    "reorder",
]
