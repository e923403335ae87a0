"""Several runs as one language model."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from lslm_lightning.contracts import CannotError, Example, Mode, Prediction
from lslm_lightning.ngram.interpolation import fitted_weights, mixture_nats
from lslm_lightning.systems.batches import whole_texts
from lslm_lightning.systems.checkpoint import Checkpoint


class Interpolation:
    """A weighted sum of what language models with one tokenizer say of each token: n-gram and neural ones alike.

    Args:
        runs: as of `Checkpoint`, two or more.
        weights: one a run, which add up to 1; by default those under which the validation split is most probable, by EM.
        device: of neural ones; see `Checkpoint`.
        trust: let the runs' configs name classes outside of this project.
    """

    def __init__(self, runs: list[str], weights: list[float] | None = None, device: str = "auto", trust: bool = False) -> None:
        if len(runs) < 2:
            raise ValueError(f"runs={runs} of Interpolation must be two or more")
        if weights is not None and (len(weights) != len(runs) or min(weights) < 0 or abs(sum(weights) - 1) > 1e-6):
            raise ValueError(f"weights={weights} of Interpolation must be {len(runs)} numbers from 0 on that add up to 1, or left out")
        self.parts, self.given = [Checkpoint(run, device=device, trust=trust) for run in runs], weights
        self.name = " + ".join(part.name for part in self.parts)
        self._validation: Callable[[], Sequence[Example]] | None = None

    def tune(self, examples: Callable[[], Sequence[Example]]) -> None:
        """Told of the validation split, which is read when weights are needed."""
        self._validation = examples

    def ready(self, examples: Sequence[Example]) -> None:
        """Raises ValueError where there is no such run."""
        for part in self.parts:
            part.ready(examples)

    def fingerprint(self) -> str | None:
        """Of all weights; None where some are no longer here."""
        found = [part.fingerprint() for part in self.parts]
        return None if None in found else hashlib.sha256(" ".join(found).encode()).hexdigest()

    @cached_property
    def _tasks(self) -> list[Any]:
        tasks = [part.loaded.task for part in self.parts]
        for part, task in zip(self.parts, tasks, strict=True):
            if not hasattr(task, "token_nats"):
                raise CannotError(f"{part.name} is no language model, whose tokens could be mixed")
            if task.tokenizer.digest != tasks[0].tokenizer.digest:
                raise CannotError(f"{self.parts[0].name} and {part.name} have different tokenizers: only probabilities of one token mix")
        return tasks

    @cached_property
    def weights(self) -> np.ndarray:
        """One a run."""
        if self.given is not None:
            return np.array(self.given)
        if self._validation is None:
            raise ValueError("Interpolation has no validation split to find its weights with: set weights")
        rows = self._tasks[0].rows(self._validation())
        return fitted_weights([np.concatenate(task.token_nats(rows)) for task in self._tasks])

    def log_prob(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        for batch in whole_texts(examples):
            yield from self._tasks[0].scored(batch, self._token_nats)

    def _token_nats(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        every = [task.token_nats(rows) for task in self._tasks]
        return [mixture_nats(parts, self.weights) for parts in zip(*every, strict=True)]

    def signature(self, mode: Mode) -> str:
        """That of its parts, each piece once."""
        found = [part for task in self._tasks for part in task.signature_of_answers(mode).split("|") if part]
        return "".join(f"|{part}" for part in dict.fromkeys(found))

    def facts(self) -> dict[str, Any]:
        """Sizes of all parts together, and their weights."""
        shares = ", ".join(f"{weight:.3f} {part.name}" for weight, part in zip(self.weights, self.parts, strict=True))
        sizes = {name: sum(getattr(task, name) for task in self._tasks) for name in ("n_parameter", "memory_bytes")}
        return {**sizes, "mixture": shares}
