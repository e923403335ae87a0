"""Systems under evaluation: a model, a rule or a file that answers examples.

A system derives from `Generator` (it writes answers), from `Scorer` (it gives probabilities), or
from both. All else that it may be able to do is declared on `System`, with a default.
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
    """A system cannot answer examples of this kind: a dash in the table, with this reason."""


class OutputsError(ValueError):
    """Answers in a file cannot be read, or are not those to these examples: the system fails, and
    the others keep their scores.
    """


class Purpose(NamedTuple):
    """Task that a system was trained for, and languages of its sources and of its answers; None
    where nobody states it.
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
    """A system under evaluation, with every ability that an evaluation may ask it for.

    Derive from `Generator` or `Scorer`, or both; override what differs from the defaults.

    Attributes:
        name: how tables and files call it, where a config gives no name.
        modality: what it reads, as in `Example.modality`; None of a system that reads nothing of a
            source, and so answers examples of any modality.
        shardable: whether several processes may each answer a share of the examples.
        needs_all_examples: whether it is given all examples again where only some lack an answer.
        is_baseline: whether it is there to be beaten, needs no model, and sees no reference.
        allow_mismatch: whether it is scored on a task or on languages that it was not trained for.
        run_directory: folder of the run that trained it, with config.yaml and curves; None of a
            system without one.
    """

    name: str
    modality: str | None = "text"
    shardable: bool = True
    needs_all_examples: bool = False
    is_baseline: bool = False
    allow_mismatch: bool = False
    run_directory: Path | None = None

    def prepare(self, examples: Sequence[Example]) -> None:  # noqa: B027 (a default)
        """Check, before any long work, that this system can answer `examples`.

        Raises:
            ValueError, OSError: it cannot; the message says why.
        """

    def fingerprint(self) -> str | None:
        """Return a digest of what decides the answers (weights, a file of outputs): answers under
        another one are asked anew. None where there is no such thing.
        """
        return None

    def info(self) -> Mapping[str, object]:
        """Return numbers and names for the report, as JSON has them; `evaluation.results.Entry`
        lists those that it knows.
        """
        return {}

    def signature(self, mode: Mode) -> str:
        """Return what of the way of answering belongs to the signatures of scores, as
        "|context:256"; see `evaluation.scoring.signed`.
        """
        return ""

    def calibrate(self, examples: Callable[[], Sequence[Example]]) -> None:  # noqa: B027
        """Take the function that reads the validation split, for settings that are found there."""

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        """Return how many examples are not read to their end, and words that follow "12 of 100"; no
        words if all are always read.
        """
        return 0, ""

    def chosen_runs(self) -> Sequence[object]:
        """Return the runs that patterns among the settings stand for, each told by its `str`.

        Raises:
            ValueError: nothing matches a pattern.
        """
        return []

    def purposes(self) -> Sequence[Purpose]:
        """Return what the system was trained for; empty where nobody states it."""
        return []

    def __init_subclass__(cls) -> None:
        """Give abilities of the last release, in a class that derives from one of ours, their
        names of today.
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

    Some can find several: `generate(examples, n_best)` gives each prediction `alternatives`, at
    most `n_best`, the best first, with the first as its `output` and minus log p of that one as
    `nats`. A search that cannot find so many raises ValueError.
    """

    @abstractmethod
    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield one prediction with `output` for each example, in any order."""


class Scorer(System):
    """A system that gives the probability of an answer.

    Examples whose ids agree up to "#" ("play#0", "play#1", ...) are consecutive passages of one
    text, given together and in order: each is scored after those before it, and the end of the text
    belongs to the last.

    With `answers`, log p of given answers after given sources is asked for:

    - An answer has the tokens of its own text, and the source those of its own, as `generate` reads
      and writes them: where a tokenizer keeps spaces, an answer begins with its space.
    - The end of the answer is scored with it, and counted in `n_token`, by every model that writes
      one; an empty answer is the end alone. Servers do not score it.
    - A causal model reads what is longer than its context in the windows of whole texts. A model
      with a decoder that has no position for the last token of an answer raises ValueError.
    - Tokens that are `<unk>` are scored as `<unk>`, and counted in `unknown`.
    - An example without a source asks for the probability of a whole text, which is then that of
      `log_prob(examples)`.
    """

    @abstractmethod
    def log_prob(
        self,
        examples: Sequence[Example],
        answers: Answers | None = None,
    ) -> Iterator[Prediction]:
        """Yield one prediction with `nats` of the first reference for each example, in any order.

        Args:
            answers: in place of the references. Then there is, in order, one prediction for each
                answer of each example, with the example's `id`, the answer as `output`, and as
                `nats` minus log p of the answer given the example's source.

        Raises:
            CannotError: the system cannot score such examples, or no given answers.
        """
