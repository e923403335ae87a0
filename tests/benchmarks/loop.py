"""A peer's way of training: a plain loop, given the batches that our Trainer has just used."""

from abc import ABC, abstractmethod
from functools import cache
from typing import Any

import torch

from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.precision import HALF, step_times
from lslm_lightning.training.task import Task


class Loop(ABC):
    """A model with its optimizer, outside of lightning.

    `precision` is that of the Trainer beside which it runs; None for the faster one.
    """

    precision: str | None = None

    @abstractmethod
    def begin(self, task: Task) -> None:
        """Build the model, beside the task that is about to train."""

    @abstractmethod
    def step(self, batch: Any) -> None:
        """One optimizer step."""


class PeerLoop(Loop):
    """A model of others, of which a vocabulary is all that it needs to know."""

    def begin(self, task: Task) -> None:
        self.start(task.tokenizer)

    @abstractmethod
    def start(self, tokenizer: Tokenizer) -> None:
        """Build the model for this vocabulary."""


def device_type() -> str:
    """Where our own runs train."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def has_fast_bfloat16() -> bool:
    """Whether products of matrices are faster in bfloat16 than in float32."""
    single = torch.ones(512, 512, device=device_type())
    half = single.bfloat16()

    def multiply(is_half: bool) -> None:
        x = half if is_half else single
        float((x @ x)[0, 0])  # waits for a GPU

    return step_times(multiply).faster == HALF


def mixed_precision(precision: str | None = None) -> torch.autocast:
    """bfloat16 where `precision` says so, or, where it is None, where that is faster."""
    is_half = has_fast_bfloat16() if precision is None else precision == HALF
    return torch.autocast(device_type(), torch.bfloat16, enabled=is_half)
