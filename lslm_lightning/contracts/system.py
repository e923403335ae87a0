"""Systems under evaluation: models, rules or files that answer examples.

A system derives from `Generator` (it writes answers), from `Scorer` (it computes probabilities), or
from both. `System` declares every optional ability, with a default.
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
    """The system cannot answer examples of this kind; tables show a dash, with this reason."""


class OutputsError(ValueError):
    """The answers in a file cannot be read, or do not belong to these examples.

    The system fails, and the other systems keep their scores.
    """


class Purpose(NamedTuple):
    """Task that a system was trained for, and the languages of its sources and of its answers.

    A field is None if it is unknown.
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

    Derive from `Generator` or `Scorer`, or both, and override what differs from the defaults.

    Attributes:
        name: name in tables and files, unless the config gives another.
        modality: kind of input, as in `Example.modality`; None for a system that ignores the source
            and therefore answers examples of any modality.
        shardable: whether several processes may each answer a share of the examples.
        needs_all_examples: whether the system is always given all examples, even if only some lack
            an answer.
        is_baseline: whether the system is a baseline, which needs no model and sees no reference.
        allow_mismatch: whether the system is scored on tasks or languages that it was not trained
            for.
        run_directory: folder of the run that trained the system, with config.yaml and learning
            curves; None if there is none.
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
            ValueError, OSError: it cannot; the message states why.
        """

    def fingerprint(self) -> str | None:
        """Return a digest of everything that determines the answers (weights, a file of outputs),
        or None if there is no such thing.

        Cached answers with another digest are discarded.
        """
        return None

    def info(self) -> Mapping[str, object]:
        """Return facts for the report, as JSON values by name; `evaluation.results.Entry` lists
        known names.
        """
        return {}

    def signature(self, mode: Mode) -> str:
        """Return the part of a score's signature that describes how this system answers, such as
        "|context:256".

        See `evaluation.scoring.with_signature_parts`.

        Args:
            mode: method by which examples are answered, "generate" or "log_prob".
        """
        return ""

    def calibrate(self, examples: Callable[[], Sequence[Example]]) -> None:  # noqa: B027
        """Store the function that reads the validation split, on which some settings are fitted."""

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return the number of examples whose source is truncated, and an explanation.

        The explanation is a phrase to follow "12 of 100". The result is (0, "") if sources are
        always read completely.
        """
        return 0, ""

    def chosen_runs(self) -> Sequence[object]:
        """Return the runs that were selected by patterns in the settings; `str` of a run describes
        the choice.

        Raises:
            ValueError: nothing matches a pattern.
        """
        return []

    def purposes(self) -> Sequence[Purpose]:
        """Return the tasks and languages that the system was trained for; empty if they are
        unknown.
        """
        return []

    def told_languages(self) -> tuple[str, str] | None:
        """Return the languages of sources and answers as they were told from the texts that the
        system was trained on; None if they are unknown.
        """
        return None

    def __init_subclass__(cls) -> None:
        """Give methods and attributes named as in the last release their new names, with a
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
    """Base class of systems that write answers.

    Some systems can return several answers: `generate(examples, n_best)` gives each prediction at
    most `n_best` `alternatives`, best first. The first one is also the `output`, with its negative
    log probability as `nats`. A search that cannot return so many answers raises ValueError.
    """

    @abstractmethod
    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield one prediction with `output` for each example, in any order."""


class Scorer(System):
    """Base class of systems that compute the probability of a text or an answer.

    Examples whose ids are equal up to "#" ("play#0", "play#1", ...) are consecutive passages of one
    text, given together and in order. Each passage is scored with the passages before it as
    context; the end of the text belongs to the last passage.

    With `answers`, the log probability of given answers after given sources is computed:

    - Answer and source are tokenized separately, as `generate` reads and writes them. If a
      tokenizer keeps spaces, an answer must begin with its space.
    - Every model that predicts the end of an answer scores the end with the answer and counts it in
      `n_token`; an empty answer consists of the end alone. Servers do not score the end.
    - A causal model reads an input longer than its context in the sliding windows used for whole
      texts. A decoder without a position for the last token of an answer raises ValueError.
    - Tokens that are `<unk>` are scored as `<unk>`, and counted in `unknown`.
    - An example without a source is scored as a whole text, as by `log_prob(examples)`.
    """

    @abstractmethod
    def log_prob(
        self,
        examples: Sequence[Example],
        answers: Answers | None = None,
    ) -> Iterator[Prediction]:
        """Yield one prediction for each example, in any order, with the `nats` of its first
        reference.

        Args:
            answers: texts to score instead of the references. There is then one prediction for each
                answer of each example, in order, with the example's `id`, the answer as `output`,
                and as `nats` the negative log probability of the answer given the example's source.

        Raises:
            CannotError: the system cannot score such examples, or cannot score given answers.
        """
