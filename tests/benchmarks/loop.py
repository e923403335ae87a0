"""A peer's way of training: a plain loop, given the batches that our Trainer has just used."""

from abc import ABC, abstractmethod
from typing import Any

from lslm_lightning.text.tokenizer import Tokenizer


class Loop(ABC):
    """A model with its optimizer, outside of lightning."""

    @abstractmethod
    def start(self, tokenizer: Tokenizer) -> None:
        """Build the model for this vocabulary."""

    @abstractmethod
    def step(self, batch: Any) -> None:
        """One optimizer step."""
