"""A trained run of this project as a system."""

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
from lslm_lightning.runs import Chosen, choose_run, find_run, load_run
from lslm_lightning.runs.loading import LoadedRun, config_to_build
from lslm_lightning.systems.batches import by_length, whole_texts
from lslm_lightning.systems.fusion import ShallowFusion
from lslm_lightning.systems.purpose import purpose_of_run
from lslm_lightning.systems.weights import fingerprint_of
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from lslm_lightning.systems.trained_task import ScoringTask, TrainedTask


class Checkpoint(Generator, Scorer):
    """The model of a run, loaded when it is first used.

    Args:
        run: a run directory, a checkpoint file inside one, an MLflow run id, or a pattern such as
            `runs/translation/cldr_demo-*`, which selects the newest matching run directory with a
            checkpoint.
        search: search algorithm in place of the run's own.
        batch_size: sources answered together; scores do not depend on it.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU where there is one.
        trust: let the run's config name classes outside of this project.
        fusion: a language model for shallow fusion in the search.
        allow_mismatch: answer an evaluation set of another task or of other languages than the run
            was trained for.
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
        self.name = Path(run).name
        self.allow_mismatch = allow_mismatch

    @cached_property
    def chosen(self) -> Chosen | None:
        """Run selected by the pattern; None where a run is named directly.

        Raises:
            ValueError: nothing matches the pattern.
        """
        return choose_run(self.given)

    @property
    def run(self) -> str:
        """Reference to the run, with a pattern resolved; ValueError where nothing matches it."""
        return self.given if self.chosen is None else str(self.chosen.path)

    def chosen_runs(self) -> list[Chosen]:
        """Return the runs selected by patterns, including that of the language model."""
        fusion = [] if self.fusion is None else [self.fusion.chosen]
        return [chosen for chosen in (self.chosen, *fusion) if chosen is not None]

    def purposes(self) -> list[Purpose]:
        """Return the task and the languages that the run was trained for."""
        return [purpose_of_run(self.run)]

    def prepare(self, examples: Sequence[Example]) -> None:
        """Check that the run can be read.

        Raises:
            ValueError: there is no such run, a number in its config is impossible, or the language
                model does not fit.
        """
        config_to_build(find_run(self.run).config)
        if self.fusion is not None:
            self.fusion.prepare(self.run)

    def fingerprint(self) -> str | None:
        """Return a digest of the weights, including those of the language model; None where some no
        longer exist.
        """
        weights = fingerprint_of(self.run)
        if self.fusion is None or weights is None:
            return weights
        others = self.fusion.fingerprint()
        if others is None:
            return None
        return hashlib.sha256(f"{weights} {others}".encode()).hexdigest()

    @cached_property
    def loaded(self) -> LoadedRun:
        """Run with its weights, on the device, set to answer with this search and fusion."""
        import torch

        loaded = load_run(self.run, trust=self.trust)
        device = (
            ("cuda" if torch.cuda.is_available() else "cpu")
            if self.device == "auto"
            else self.device
        )
        loaded.task.to(device)
        fusion = None if self.fusion is None else self.fusion.over(loaded.tokenizer, device)
        cast("TrainedTask", loaded.task).answering.use_search(self.search, fusion)
        return loaded

    @property
    def task(self) -> "TrainedTask":
        """Task of the run."""
        return cast("TrainedTask", self.loaded.task)

    @property
    def modality(self) -> str:  # type: ignore[override]  # known when the run is loaded
        """Modality of the run's task."""
        return self.task.modality

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterator[Prediction]:
        """Yield one answer for each example, or `n_best` alternatives each; see
        `contracts.Generator`.
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
        """Yield the nats of whole texts, or of answers after their sources; see
        `contracts.Scorer`.
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
        """Return the number of examples whose source is truncated, and an explanation; see
        `System.cut_sources`.
        """
        return self.task.answering.cut_sources(examples)

    def signature(self, mode: Mode) -> str:
        """Return the signature parts of the run's task for this mode."""
        return self.task.answering.signature(mode)

    def info(self) -> JsonObject:
        """Return the size of the model, and its weights, search and language model, where there are
        any.
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
        """Folder of the run, with its config and learning curves; None where it no longer
        exists.
        """
        try:
            return find_run(self.run).path
        except ValueError:
            return None
