"""Several runs as one language model."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from lslm_lightning.contracts import (
    Answers,
    CannotError,
    Example,
    Mode,
    Prediction,
    Purpose,
    Scorer,
)
from lslm_lightning.ngram.interpolation import fitted_weights, mixture_nats
from lslm_lightning.runs import Chosen, find_run
from lslm_lightning.systems.batches import whole_texts
from lslm_lightning.systems.checkpoint import Checkpoint


class Interpolation(Scorer):
    """A weighted sum of what language models with one tokenizer say of each token: n-gram and
    neural ones alike.

    Args:
        runs: as of `Checkpoint`, two or more.
        weights: one a run, which add up to 1; by default those under which the validation split is
            most probable, by EM.
        device: of neural ones; see `Checkpoint`.
        trust: let the runs' configs name classes outside of this project.
        allow_mismatch: see `Checkpoint`.
    """

    def __init__(
        self,
        runs: list[str],
        weights: list[float] | None = None,
        device: str = "auto",
        trust: bool = False,
        allow_mismatch: bool = False,
    ) -> None:
        if len(runs) < 2:
            raise ValueError(f"runs={runs} of Interpolation must be two or more")
        fits = weights is None or (
            len(weights) == len(runs)
            and all(w >= 0 for w in weights)
            and abs(sum(weights) - 1) <= 1e-6
        )
        if not fits:
            raise ValueError(
                f"weights={weights} of Interpolation must be {len(runs)} numbers from 0 on that "
                "add up to 1, or left out"
            )
        self.parts = [Checkpoint(run, device=device, trust=trust) for run in runs]
        self.given = weights
        self.name = " + ".join(part.name for part in self.parts)
        self.allow_mismatch = allow_mismatch
        self._validation: Callable[[], Sequence[Example]] | None = None

    def calibrate(self, examples: Callable[[], Sequence[Example]]) -> None:
        """Told of the validation split, which is read when weights are needed."""
        self._validation = examples

    def chosen_runs(self) -> list[Chosen]:
        """Runs that patterns stand for."""
        return [chosen for part in self.parts for chosen in part.chosen_runs()]

    def purposes(self) -> list[Purpose]:
        """What the runs were trained for."""
        return [purpose for part in self.parts for purpose in part.purposes()]

    def prepare(self, examples: Sequence[Example]) -> None:
        """Raises ValueError where there is no such run, or where tokenizers differ."""
        for part in self.parts:
            part.prepare(examples)
        digests = [
            hashlib.sha256(find_run(part.run).tokenizer.read_bytes()).hexdigest()
            for part in self.parts
        ]
        if other := next(
            (
                part
                for part, digest in zip(self.parts, digests, strict=True)
                if digest != digests[0]
            ),
            None,
        ):
            raise ValueError(
                f"{self.parts[0].name} and {other.name} have different tokenizers: only "
                "probabilities of one token mix"
            )

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
        return tasks

    @cached_property
    def weights(self) -> np.ndarray:
        """One a run."""
        if self.given is not None:
            return np.array(self.given)
        if self._validation is None:
            raise ValueError(
                "Interpolation has no validation split to find its weights with: set weights"
            )
        rows = self._tasks[0].rows(self._validation())
        return fitted_weights([np.concatenate(task.token_nats(rows)) for task in self._tasks])

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Nats of whole texts, or of answers after their sources; see `contracts.Scorer`."""
        if answers is not None:
            yield from self._tasks[0].scored_answers(examples, answers, self._token_nats)
            return
        for batch in whole_texts(examples):
            yield from self._tasks[0].scored(batch, self._token_nats)

    def _token_nats(
        self, rows: Sequence[Sequence[int]], n_given: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        every = [task.token_nats(rows, n_given) for task in self._tasks]
        return [mixture_nats(parts, self.weights) for parts in zip(*every, strict=True)]

    def signature(self, mode: Mode) -> str:
        """That of its parts, each piece once, in the order of the longest."""
        found = sorted(
            (task.answering.signature(mode).split("|")[1:] for task in self._tasks),
            key=len,
            reverse=True,
        )
        return "".join(
            f"|{piece}" for piece in dict.fromkeys(piece for pieces in found for piece in pieces)
        )

    def info(self) -> dict[str, Any]:
        """Sizes of all parts together, and their weights."""
        shares = ", ".join(
            f"{weight:.3f} {part.name}"
            for weight, part in zip(self.weights, self.parts, strict=True)
        )
        models = [task.model_info for task in self._tasks]
        return {
            "n_parameter": sum(model.n_parameter for model in models),
            "memory_bytes": sum(model.n_byte for model in models),
            "mixture": shares,
        }
