"""Systems under evaluation: a model, a rule or a file that answers examples.

A system derives from `Generator` (it writes answers), from `Scorer` (it gives probabilities), or
from both. Every optional ability is declared on `System`, with a default.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from lslm_lightning.contracts.answers import Answers
from lslm_lightning.contracts.example import Example, Prediction

Mode = Literal["generate", "log_prob"]  # the method by which an evaluation asks its systems

RENAMED = {  # abilities by their names of the last release
    "facts": "info",
    "reads": "modality",
    "ready": "prepare",
    "shared": "shardable",
    "tune": "calibrate",
    "whole_exam": "needs_all_examples",
}


class CannotError(ValueError):
    """A system cannot answer examples of this kind; the table shows a dash with this reason."""


class OutputsError(ValueError):
    """Answers in a file cannot be read, or do not belong to these examples: the system fails, and
    the others keep their scores.
    """


class Purpose(NamedTuple):
    """Task that a system was trained for, and the languages of its sources and of its answers; None
    where unknown.
    """

    task: str | None = None  # "translation"
    languages: tuple[str, str] | None = None

    def __str__(self) -> str:
        return " ".join(
            part
            for part in (self.task or "", "-".join(dict.fromkeys(self.languages or ())))
            if part
        )


class System(ABC):
    """Base class of systems under evaluation, with every ability that an evaluation may use.

    Derive from `Generator` or `Scorer`, or both; override what differs from the defaults.

    Attributes:
        name: name in tables and files, where the config gives no other.
        modality: kind of input, as in `Example.modality`; None for a system that reads nothing of a
            source, and so answers examples of any modality.
        shardable: whether several processes may each answer a share of the examples.
        needs_all_examples: whether it is given all examples again where only some lack an answer.
        is_baseline: whether it is a baseline, which needs no model and sees no reference.
        allow_mismatch: whether it is scored on a task or on languages that it was not trained for.
        run_directory: folder of the run that trained it, with config.yaml and learning curves; None
            for a system without one.
    """

    name: str
    modality: str | None = "text"
    shardable: bool = True
    needs_all_examples: bool = False
    is_baseline: bool = False
    allow_mismatch: bool = False
    run_directory: Path | None = None

    def prepare(self, examples: Sequence[Example]) -> None:  # noqa: B027 (a default)
        """Check that this system can answer `examples`, before any long computation.

        Raises:
            ValueError, OSError: it cannot; the message says why.
        """

    def fingerprint(self) -> str | None:
        """Return a digest of everything that determines the answers (weights, a file of outputs),
        or None where there is no such thing. Cached answers with another digest are discarded.
        """
        return None

    def info(self) -> Mapping[str, object]:
        """Return JSON values for the report, by name; `evaluation.results.Entry` lists the known
        names.
        """
        return {}

    def signature(self, mode: Mode) -> str:
        """Return the part of a score's signature that describes how this system answers, such as
        "|context:256"; see `evaluation.scoring.with_signature_parts`.
        """
        return ""

    def calibrate(self, examples: Callable[[], Sequence[Example]]) -> None:  # noqa: B027
        """Store the function that reads the validation split, for settings that are tuned on it."""

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return the number of examples whose source is truncated, and a text to follow "12 of 100"
        that explains it; (0, "") where sources are always read whole.
        """
        return 0, ""

    def chosen_runs(self) -> Sequence[object]:
        """Return the runs that were selected by patterns in the settings; `str` of each names it.

        Raises:
            ValueError: nothing matches a pattern.
        """
        return []

    def purposes(self) -> Sequence[Purpose]:
        """Return the tasks and languages that the system was trained for; empty where unknown."""
        return []

    def __init_subclass__(cls) -> None:
        """Map methods and attributes named as in the last release to their new names, with a
        warning.
        """
        super().__init_subclass__()
        for old in RENAMED.keys() & vars(cls).keys():
            setattr(cls, RENAMED[old], vars(cls)[old])
            warnings.warn(
                f"{cls.__name__}.{old} is now called {RENAMED[old]}; rename it: the next release "
                "does not read the old name",
                FutureWarning,
                stacklevel=2,
            )


class Generator(System):
    """A system that writes answers.

    Some can return several: `generate(examples, n_best)` gives each prediction `alternatives`, at
    most `n_best`, best first, with the first as its `output` and its negative log probability as
    `nats`. A search that cannot return so many raises ValueError.
    """

    @abstractmethod
    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield one prediction with `output` for each example, in any order."""


class Scorer(System):
    """A system that gives the probability of an answer.

    Examples whose ids agree up to "#" ("play#0", "play#1", ...) are consecutive passages of one
    text, given together and in order: each is scored with those before it as context, and the end
    of the text belongs to the last.

    With `answers`, the log probability of given answers after given sources is computed:

    - Answer and source are tokenized separately, as `generate` reads and writes them: where a
      tokenizer keeps spaces, an answer begins with its space.
    - The end of the answer is scored with it, and counted in `n_token`, by every model that
      predicts one; an empty answer is the end alone. Servers do not score it.
    - A causal model reads an input longer than its context in the sliding windows used for whole
      texts. A model with a decoder that has no position for the last token of an answer raises
      ValueError.
    - Tokens that are `<unk>` are scored as `<unk>`, and counted in `unknown`.
    - An example without a source is scored as a whole text, as by `log_prob(examples)`.
    """

    @abstractmethod
    def log_prob(
        self,
        examples: Sequence[Example],
        answers: Answers | None = None,
    ) -> Iterator[Prediction]:
        """Yield one prediction with `nats` of the first reference for each example, in any order.

        Args:
            answers: texts to score in place of the references. Then there is, in order, one
                prediction for each answer of each example, with the example's `id`, the answer as
                `output`, and as `nats` the negative log probability of the answer given the
                example's source.

        Raises:
            CannotError: the system cannot score such examples, or cannot score given answers.
        """
