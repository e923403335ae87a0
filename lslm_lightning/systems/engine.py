"""Trained runs of this project, computed by an engine in place of PyTorch, as systems."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import AnySearch
from lslm_lightning.decoding.engine import ENGINES
from lslm_lightning.runs.loading import LoadedRun
from lslm_lightning.runs.registered import short_name
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.trained_task import TrainedTask
from lslm_lightning.types import JsonObject


class Engine(Checkpoint):
    """Trained model of a run, exported to an inference engine in a temporary folder when it is
    first used. Answers, metrics and reports are those of `Checkpoint`; speed and memory are those
    of the engine.

    Args:
        run: run, as in `Checkpoint`.
        engine: inference engine: "ctranslate2" or "onnxruntime".
        dtype: type of the weights in the engine: float32, float16, bfloat16 or int8.
        search: search algorithm that replaces the one of the run; for ctranslate2 Greedy or Beam.
        batch_size: number of sources answered together; it does not affect the scores.
        device: "cpu", "cuda", "cuda:1"; "auto" uses a GPU if there is one.
        trust: allow the run's config to name classes outside of this project.
        allow_mismatch: answer an evaluation set of a task or languages that the run was not trained
            for.
    """

    def __init__(
        self,
        run: str,
        engine: str = "ctranslate2",
        dtype: str = "float32",
        search: AnySearch | None = None,
        batch_size: int = 32,
        device: str = "auto",
        trust: bool = False,
        allow_mismatch: bool = False,
    ) -> None:
        super().__init__(run, search, batch_size, device, trust, None, allow_mismatch)
        if engine not in ENGINES:
            raise ValueError(f"engine={engine!r} is not known; there are {', '.join(ENGINES)}")
        self.engine = engine
        self.dtype = dtype
        self.name = f"{short_name(run)} ({engine}, {dtype})"

    def prepare(self, examples: Sequence[Example]) -> None:
        """Check that the engine can compute the run.

        Raises:
            ValueError: there is no such run, the engine is not installed, or it cannot express the
                model or the search.
        """
        super().prepare(examples)
        _ = self.loaded

    @cached_property
    def loaded(self) -> LoadedRun:
        """Run whose task answers with the engine."""
        loaded: LoadedRun = Checkpoint.loaded.func(self)  # type: ignore[attr-defined]
        task = cast("TrainedTask", loaded.task)
        task.answering.use_engine(self.engine, self.dtype)
        return loaded

    def fingerprint(self) -> str | None:
        """Return a digest of the weights of the run, the engine, its version and the type."""
        weights = super().fingerprint()
        if weights is None:
            return None
        try:
            release = version(self.engine)
        except PackageNotFoundError:
            release = ""
        text = f"{weights} {self.engine} {release} {self.dtype}"
        return hashlib.sha256(text.encode()).hexdigest()

    def info(self) -> JsonObject:
        """Return facts about the run, with the size of the model in the engine."""
        engine = self.task.engine
        assert engine is not None
        return super().info() | {"memory_bytes": engine.n_byte, "engine": str(engine)}
