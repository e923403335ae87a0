"""Interface of engines: programs other than PyTorch that compute a trained model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import ClassVar, Self

import numpy as np
import torch
from torch import nn

from lslm_lightning.decoding.search import Decoded, Search

ENGINES = {
    "ctranslate2": "lslm_lightning.interchange.ctranslate2_engine.CTranslate2Engine",
    "onnxruntime": "lslm_lightning.interchange.onnx_engine.OnnxRuntimeEngine",
}
"""Class path of each engine, by its name on the command line."""


class InferenceEngine(ABC):
    """Program that computes a trained model in place of PyTorch: it searches answers and gives
    probabilities. Everything else, such as reading texts, stays with the task.

    Attributes:
        name: name of the engine in `ENGINES`.
        version: version of its package.
        dtype: type of the weights.
        n_byte: size of the model that it loaded.
    """

    name: ClassVar[str]
    version: str
    dtype: str
    n_byte: int

    def __str__(self) -> str:
        return f"{self.name} {self.version}, {self.dtype}"

    @classmethod
    @abstractmethod
    def of_task(cls, task: nn.Module, dtype: str, device: str) -> Self:
        """Return the engine with the model of a task.

        Args:
            task: task with trained weights.
            dtype: type of the weights.
            device: "cpu" or "cuda".

        Raises:
            ValueError: the engine cannot express the model, or compute in the type.
            MissingPackageError: the engine is not installed.
        """

    @abstractmethod
    def check_search(self, search: Search, min_length: int = 0) -> None:
        """Check that the engine has a search.

        Args:
            min_length: fewest new tokens of an answer.

        Raises:
            ValueError: it has none like it.
        """

    @abstractmethod
    def find_answers(
        self,
        rows: Sequence[Sequence[int]],
        search: Search,
        max_length: int,
        min_length: int = 0,
        n_best: int = 1,
        generator: torch.Generator | None = None,
    ) -> Decoded:
        """Return the answers to sources, or the continuations of prompts.

        Args:
            rows: ids of each source, `</s>` last; of a language model, ids of each prompt.
            search: search that finds the answers.
            max_length: most new tokens, the end included.
            min_length: fewest new tokens.
            n_best: number of answers to each row; see `Decoded`.
            generator: source of random numbers for `Sampling`, instead of its seed.

        Raises:
            ValueError: the engine has no search like it.
        """

    @abstractmethod
    def nats(
        self, rows: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None = None
    ) -> list[np.ndarray]:
        """Return the negative log probability of each id but the first, float64: of the targets
        after their sources, or of the rows of a language model.

        Args:
            rows: ids of each source, or of each text.
            targets: ids from `<s>` to `</s>`; None for a language model.
        """


def open_engine(
    name: str, task: nn.Module, dtype: str = "float32", device: str = "cpu"
) -> InferenceEngine:
    """Return the engine of a name, with the model of a task.

    Raises:
        ValueError: there is no such engine, or it cannot express the model.
        MissingPackageError: the engine is not installed.
    """
    path = ENGINES.get(name)
    if path is None:
        raise ValueError(f"engine={name!r} is not known; there are {', '.join(ENGINES)}")
    module, _, kind = path.rpartition(".")
    engine: type[InferenceEngine] = getattr(import_module(module), kind)
    return engine.of_task(task, dtype, device)
