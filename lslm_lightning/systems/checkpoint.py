"""A trained run of this project as a system."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

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


class Checkpoint(Generator, Scorer):
    """The model of a run; it is loaded when it is first asked.

    Args:
        run: a run directory, a checkpoint file inside one, an MLflow run id, or a pattern such as
            `runs/translation/cldr_demo-*`, which stands for the newest run directory with a
            checkpoint that matches.
        search: in place of the run's own.
        fusion: a language model that the search asks.
        batch_size: sources answered together; scores do not depend on it.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU where there is one.
        trust: let the run's config name classes outside of this project.
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
        """The run that a pattern stands for; None where a run is named.

        Raises:
            ValueError: nothing matches the pattern.
        """
        return choose_run(self.given)

    @property
    def run(self) -> str:
        """The run that is meant; ValueError where nothing matches a pattern."""
        return self.given if self.chosen is None else str(self.chosen.path)

    def chosen_runs(self) -> list[Chosen]:
        """Runs that patterns stand for, that of the language model too."""
        fusion = [] if self.fusion is None else [self.fusion.chosen]
        return [chosen for chosen in (self.chosen, *fusion) if chosen is not None]

    def purposes(self) -> list[Purpose]:
        """What the run was trained for."""
        return [purpose_of_run(self.run)]

    def prepare(self, examples: Sequence[Example]) -> None:
        """Raises ValueError where there is no such run, or its model has a number that no setting
        can mean.
        """
        config_to_build(find_run(self.run).config)
        if self.fusion is not None:
            self.fusion.prepare(self.run)

    def fingerprint(self) -> str | None:
        """Of the weights; None where some are no longer here."""
        found = [fingerprint_of(self.run)] + (
            [] if self.fusion is None else [self.fusion.fingerprint()]
        )
        if None in found:
            return None
        return (
            found[0]
            if self.fusion is None
            else hashlib.sha256(" ".join(found).encode()).hexdigest()
        )

    @cached_property
    def loaded(self) -> LoadedRun:
        import torch

        loaded = load_run(self.run, trust=self.trust)
        device = (
            ("cuda" if torch.cuda.is_available() else "cpu")
            if self.device == "auto"
            else self.device
        )
        loaded.task.to(device)
        fusion = None if self.fusion is None else self.fusion.over(loaded.tokenizer, device)
        loaded.task.answering.use_search(self.search, fusion)
        return loaded

    @property
    def modality(self) -> str:
        """That of the run's task."""
        return self.loaded.task.modality

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterator[Prediction]:
        """Answers, with `n_best` above 1 several each; see `contracts.Generator`."""
        import torch

        if n_best != 1 and not self.loaded.task.finds_n_best:
            raise CannotError(f"{type(self.loaded.task).__name__} finds one answer, not {n_best}")
        more = {"n_best": n_best} if n_best != 1 else {}
        for batch in by_length(examples, self.batch_size):
            torch.manual_seed(0)  # sampling writes the same again
            yield from self.loaded.task.generate(batch, **more)

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Nats of whole texts, or of answers after their sources; see `contracts.Scorer`."""
        task = self.loaded.task
        if not hasattr(task, "log_prob"):
            alone = "a given answer" if answers is not None else "a text alone"
            raise CannotError(
                f"{type(task).__name__} writes answers and gives no probability of {alone}"
            )
        if answers is not None:
            yield from task.log_prob(examples, answers)
            return
        for batch in whole_texts(examples):
            yield from task.log_prob(batch)

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """See `Answering.cut_sources`."""
        return self.loaded.task.answering.cut_sources(examples)

    def signature(self, mode: Mode) -> str:
        """What of its way of answering belongs to its scores."""
        return self.loaded.task.answering.signature(mode)

    def info(self) -> dict[str, Any]:
        """Size, and the weights and the search that made the answers, where there was one."""
        task = self.loaded.task
        return {
            "n_parameter": task.model_info.n_parameter,
            "memory_bytes": task.model_info.n_byte,
            **({} if task.search is None else {"search": type(task.search).__name__.lower()}),
            **({} if self.fusion is None else {"fusion": str(self.fusion)}),
            **({"limit": task.answering.limit} if task.answering.limit else {}),
            "weights": str(Path(self.loaded.checkpoint).absolute()),
        }

    @property
    def run_directory(self) -> Path | None:
        """Folder of the run, with its config and its curves; None where it is no longer here."""
        try:
            return find_run(self.run).path
        except ValueError:
            return None
