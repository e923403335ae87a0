"""A trained run of this project as a system."""

import glob
import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lslm_lightning.contracts import CannotError, Example, Mode, Prediction
from lslm_lightning.decoding import Search
from lslm_lightning.runs import RunDirectory, find_run, load_run
from lslm_lightning.runs.loading import Run
from lslm_lightning.runs.states import CHECKSUMS, META
from lslm_lightning.systems.batches import by_length, whole_texts


def digest_of_file(path: Path) -> str:
    """SHA-256 of its bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Checkpoint:
    """The model of a run; it is loaded when it is first asked.

    Args:
        run: a run directory, a checkpoint file inside one, an MLflow run id, or a pattern such as `runs/translation/cldr_demo-*`, which
            stands for the newest run directory with a checkpoint that matches.
        search: in place of the run's own.
        batch_size: sources answered together; scores do not depend on it.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU where there is one.
        trust: let the run's config name classes outside of this project.
    """

    def __init__(self, run: str, search: Search | None = None, batch_size: int = 32, device: str = "auto", trust: bool = False) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self.given, self.search, self.batch_size, self.device, self.trust = run, search, batch_size, device, trust
        self.name = Path(run).name

    @cached_property
    def run(self) -> str:
        """The run that is meant.

        Raises:
            ValueError: nothing matches the pattern.
        """
        if "*" not in self.given:
            return self.given
        found = [Path(path) for path in glob.glob(self.given) if any(Path(path, "checkpoints").glob("*.ckpt"))]
        if not found:
            raise ValueError(f"no run with a checkpoint matches {self.given!r}; train one first, or name another")
        return str(max(found, key=lambda path: path.joinpath("config.yaml").stat().st_mtime))

    def ready(self, examples: Sequence[Example]) -> None:
        """Raises ValueError where there is no such run."""
        find_run(self.run)

    def fingerprint(self) -> str | None:
        """Of the weights; None where they are no longer here."""
        try:
            directory, path = find_run(self.run), Path(self.run)
            path = path if path.is_file() or (path / META).exists() else directory.checkpoint()
        except ValueError:
            return None
        return digest_of_file(path / CHECKSUMS if path.is_dir() else path)

    @cached_property
    def loaded(self) -> Run:
        import torch

        loaded = load_run(self.run, trust=self.trust)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        loaded.task.to(device)
        if self.search is not None and loaded.task.search is None:
            kind = type(loaded.task).__name__
            raise ValueError(f"search={type(self.search).__name__} of Checkpoint: {kind} writes nothing token by token; leave it out")
        if self.search is not None:
            loaded.task.search = self.search
        return loaded

    @property
    def reads(self) -> str:
        """The medium of the run's task."""
        return self.loaded.task.reads

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        import torch

        for batch in by_length(examples, self.batch_size):
            torch.manual_seed(0)  # sampling writes the same again
            yield from self.loaded.task.generate(batch)

    def log_prob(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        if not hasattr(self.loaded.task, "log_prob"):
            raise CannotError(f"{type(self.loaded.task).__name__} writes answers and gives no probability of a text alone")
        for batch in whole_texts(examples):
            yield from self.loaded.task.log_prob(batch)

    def signature(self, mode: Mode) -> str:
        """What of its way of answering belongs to its scores."""
        return self.loaded.task.signature_of_answers(mode)

    def facts(self) -> dict[str, Any]:
        """Size, and the weights and the search that made the answers, where there was one."""
        task = self.loaded.task
        return {
            "n_parameter": task.n_parameter,
            "memory_bytes": task.memory_bytes,
            **({} if task.search is None else {"search": type(task.search).__name__.lower()}),
            "weights": str(Path(self.loaded.checkpoint).absolute()),
        }

    @property
    def directory(self) -> RunDirectory | None:
        """Of the run, with its config and its curves; None where it is no longer here."""
        try:
            return find_run(self.run)
        except ValueError:
            return None
