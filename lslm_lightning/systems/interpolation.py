"""Linear interpolation of several language models."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from lslm_lightning.contracts import (
    Answers,
    CannotError,
    Example,
    Mode,
    Prediction,
    Purpose,
    Scorer,
    join_signature,
    signature_parts,
)
from lslm_lightning.ngram.interpolation import fitted_weights, mixture_nats
from lslm_lightning.runs import FoundRun
from lslm_lightning.systems.batches import whole_texts
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.weights import digest_of_file
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from lslm_lightning.systems.trained_task import LanguageModelTask


class Interpolation(Scorer):
    """Weighted sum of the token probabilities of several language models, n-gram or neural, with
    the same tokenizer.

    Args:
        runs: two or more runs, as in `Checkpoint`.
        weights: one weight per run, adding up to 1; by default they are fitted on the validation
            split by EM.
        device: device of neural models: "cpu", "cuda", "cuda:1"; "auto" uses a GPU if there is one.
        trust: allow the runs' configs to name classes outside of this project.
        allow_mismatch: answer an evaluation set of a task or languages that the runs were not
            trained for.
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
        """Store the function that reads the validation split; it is called when the weights are
        fitted.
        """
        self._validation = examples

    def chosen_runs(self) -> list[FoundRun]:
        """Return the runs that were selected by patterns."""
        return [chosen for part in self.parts for chosen in part.chosen_runs()]

    def purposes(self) -> list[Purpose]:
        """Return the tasks and languages that the runs were trained for."""
        return [purpose for part in self.parts for purpose in part.purposes()]

    def prepare(self, examples: Sequence[Example]) -> None:
        """Check that all runs can be read and have the same tokenizer.

        Raises:
            ValueError: there is no such run, or the tokenizers differ.
        """
        for part in self.parts:
            part.prepare(examples)
        digests = [digest_of_file(part.run.directory.tokenizer) for part in self.parts]
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
                "probabilities of the same tokens can be mixed"
            )

    def fingerprint(self) -> str | None:
        """Return a digest of the weights of all models; None if some no longer exist."""
        digests = [part.fingerprint() for part in self.parts]
        known = [digest for digest in digests if digest is not None]
        if len(known) < len(digests):
            return None
        return hashlib.sha256(" ".join(known).encode()).hexdigest()

    @cached_property
    def _tasks(self) -> list["LanguageModelTask"]:
        for part in self.parts:
            if not hasattr(part.task, "token_nats"):
                raise CannotError(f"{part.name} is no language model with token probabilities")
        return [cast("LanguageModelTask", part.task) for part in self.parts]

    @cached_property
    def weights(self) -> np.ndarray:
        """Weights of the runs in the mixture, an array with one element per run."""
        if self.given is not None:
            return np.array(self.given)
        if self._validation is None:
            raise ValueError(
                "Interpolation has no validation split to fit its weights on: set weights"
            )
        rows = self._tasks[0].rows(self._validation())
        return fitted_weights([np.concatenate(task.token_nats(rows)) for task in self._tasks])

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions with the negative log probability, in nats, of the first references, or
        of `answers` after the sources of their examples.

        See `contracts.Scorer`.
        """
        if answers is not None:
            yield from self._tasks[0].scored_answers(examples, answers, self._token_nats)
            return
        for batch in whole_texts(examples):
            yield from self._tasks[0].scored(batch, self._token_nats)

    def _token_nats(
        self, rows: Sequence[Sequence[int]], n_given: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        every = [task.token_nats(rows, n_given) for task in self._tasks]
        return [mixture_nats(parts, self.weights.tolist()) for parts in zip(*every, strict=True)]

    def signature(self, mode: Mode) -> str:
        """Return the parts of a score's signature that describe how the runs answer in this mode.

        Parts are not repeated, and are in the order of the longest signature of a run.
        """
        signatures = [signature_parts(task.answering.signature(mode)) for task in self._tasks]
        signatures.sort(key=len, reverse=True)
        parts = dict.fromkeys(part for signature in signatures for part in signature)
        return join_signature(["", *parts])

    def info(self) -> JsonObject:
        """Return the total size of all models, and their weights in the mixture as text."""
        shares = ", ".join(
            f"{weight:.3f} {part.name}"
            for weight, part in zip(self.weights, self.parts, strict=True)
        )
        models = [task.model_info for task in self._tasks]
        return {
            "n_parameter": sum(model.n_parameter or 0 for model in models),
            "memory_bytes": sum(model.n_byte for model in models),
            "mixture": shares,
        }
