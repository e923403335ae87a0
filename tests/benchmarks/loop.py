"""A peer's way of training: a plain loop, given the batches that our Trainer has just used."""

from abc import ABC, abstractmethod
from typing import Any

import torch

from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.precision import has_bfloat16


class Loop(ABC):
    """A model with its optimizer, outside of lightning."""

    @abstractmethod
    def start(self, tokenizer: Tokenizer) -> None:
        """Build the model for this vocabulary."""

    @abstractmethod
    def step(self, batch: Any) -> None:
        """One optimizer step."""


def device_type() -> str:
    """Where our own runs train."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def mixed_precision() -> torch.autocast:
    """bfloat16 where the device has it, as in our own runs; else float32 for both."""
    return torch.autocast(device_type(), torch.bfloat16, enabled=has_bfloat16(device_type()))
