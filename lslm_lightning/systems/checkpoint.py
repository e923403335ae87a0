"""Trained runs of this project as systems."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lslm_lightning.contracts import (
    Answers,
    CannotError,
    Example,
    Generator,
    Mode,
    Prediction,
    Purpose,
    Scorer,
)
from lslm_lightning.decoding import AnySearch
from lslm_lightning.devices import usable_device
from lslm_lightning.runs import FoundRun, find_run, is_pattern, load_run
from lslm_lightning.runs.loading import LoadedRun
from lslm_lightning.runs.registered import short_name
from lslm_lightning.systems.batches import by_length, whole_texts
from lslm_lightning.systems.fusion import ShallowFusion
from lslm_lightning.systems.purpose import purpose_of, told_languages
from lslm_lightning.systems.weights import fingerprint_of
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from lslm_lightning.systems.trained_task import ScoringTask, TrainedTask


class Checkpoint(Generator, Scorer):
    """Trained model of a run, loaded when it is first used.

    Args:
        run: a run directory, a checkpoint file inside one, an MLflow run id, a registered model
            such as `models:/NAME@best`, or a pattern such as `runs/translation/cldr_demo-*`, which
            selects the newest matching run directory with a checkpoint.
        search: search algorithm that replaces the one of the run.
        batch_size: number of sources answered together; it does not affect the scores.
        device: "cpu", "cuda", "cuda:1"; "auto" uses a GPU if there is one.
        trust: allow the run's config to name classes outside of this project.
        fusion: language model for shallow fusion in the search.
        allow_mismatch: answer an evaluation set of a task or languages that the run was not trained
            for.
    """

    def __init__(
        self,
        run: str,
        search: AnySearch | None = None,
        batch_size: int = 32,
        device: str = "auto",
        trust: bool = False,
        fusion: ShallowFusion | None = None,
        allow_mismatch: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self.given = run
        self.search = search
        self.batch_size = batch_size
        self.device = device
        self.trust = trust
        self.fusion = fusion
        self.name = short_name(run)
        self.allow_mismatch = allow_mismatch

    @cached_property
    def run(self) -> FoundRun:
        """Run whose model answers.

        Raises:
            ValueError: there is no such run.
        """
        return find_run(self.given)

    def chosen_runs(self) -> list[FoundRun]:
        """Return the runs that were selected by patterns, including the run of the fused language
        model.
        """
        own = [self.run] if is_pattern(self.given) else []
        fused = self.fusion
        return own if fused is None or not is_pattern(fused.given) else [*own, fused.run]

    def purposes(self) -> list[Purpose]:
        """Return the task and the languages that the run was trained for; `Purpose()` if the run
        cannot be read.
        """
        try:
            return [purpose_of(self.run.directory, self.run.config)]
        except (ValueError, OSError, RuntimeError):
            return [Purpose()]

    def told_languages(self) -> tuple[str, str] | None:
        try:
            return told_languages(self.run.directory)
        except (ValueError, OSError, RuntimeError):
            return None

    def prepare(self, examples: Sequence[Example]) -> None:
        """Check that the run can be read.

        Raises:
            ValueError: there is no such run, a number in its config is impossible, or the fused
                language model does not fit.
        """
        _ = self.run.config
        if self.fusion is not None:
            self.fusion.prepare(self.run)

    def fingerprint(self) -> str | None:
        """Return a digest of the weights of the run and of the fused language model.

        The result is None if some of the weights no longer exist.
        """
        weights = fingerprint_of(lambda: self.run)
        if self.fusion is None or weights is None:
            return weights
        others = self.fusion.fingerprint()
        if others is None:
            return None
        return hashlib.sha256(f"{weights} {others}".encode()).hexdigest()

    @cached_property
    def loaded(self) -> LoadedRun:
        """Run with its weights on the device, set up to answer with `search` and `fusion`."""
        device = usable_device(self.device)
        loaded = load_run(self.run, trust=self.trust)
        loaded.task.to(device)
        fusion = None if self.fusion is None else self.fusion.over(loaded.tokenizer, device)
        cast("TrainedTask", loaded.task).answering.use_search(self.search, fusion)
        return loaded

    @property
    def task(self) -> "TrainedTask":
        """Task of the run, with trained weights."""
        return cast("TrainedTask", self.loaded.task)

    @property
    def modality(self) -> str:  # type: ignore[override]  # known when the run is loaded
        """Modality of the sources that the run's task reads."""
        return self.task.modality

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterator[Prediction]:
        """Yield one prediction per example; if `n_best` is above 1, with that many alternative
        answers.

        See `contracts.Generator`.
        """
        import torch

        if n_best != 1 and not self.task.finds_n_best:
            raise CannotError(f"{type(self.task).__name__} finds one answer, not n_best={n_best}")
        more = {"n_best": n_best} if n_best != 1 else {}
        for batch in by_length(examples, self.batch_size):
            torch.manual_seed(0)  # so that sampling is reproducible
            yield from self.task.generate(batch, **more)

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions with the negative log probability, in nats, of the first references, or
        of `answers` after the sources of their examples.

        See `contracts.Scorer`.
        """
        if not hasattr(self.task, "log_prob"):
            asked = "a given answer" if answers is not None else "a text alone"
            raise CannotError(
                f"{type(self.task).__name__} writes answers and gives no probability of {asked}"
            )
        task = cast("ScoringTask", self.task)
        if answers is not None:
            yield from task.log_prob(examples, answers)
            return
        for batch in whole_texts(examples):
            yield from task.log_prob(batch)

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return the number of examples whose source is truncated, and a sentence that explains
        why.

        See `System.cut_sources`.
        """
        return self.task.answering.cut_sources(examples)

    def signature(self, mode: Mode) -> str:
        """Return the parts of a score's signature that describe how the run's task answers in this
        mode.
        """
        return self.task.answering.signature(mode)

    def info(self) -> JsonObject:
        """Return facts about the run: size of the model, path of its weights, and, if there are
        any, its search, fused language model and length limit.
        """
        task = self.task
        return {
            "n_parameter": task.model_info.n_parameter,
            "memory_bytes": task.model_info.n_byte,
            **({} if task.search is None else {"search": type(task.search).__name__.lower()}),
            **({} if self.fusion is None else {"fusion": str(self.fusion)}),
            **({"limit": task.answering.limit} if task.answering.limit else {}),
            "weights": str(Path(self.loaded.checkpoint).absolute()),
        }

    @property
    def run_directory(self) -> Path | None:  # type: ignore[override]  # of a pattern, found late
        """Folder of the run, with its config and learning curves; None if it does not exist."""
        try:
            return self.run.directory.path
        except ValueError:
            return None
