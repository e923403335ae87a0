"""The vocabulary of evaluation. A newcomer's first file.

An *example* is one question of an exam; a *system* answers it with a *prediction*; a *metric* turns
answers into additive statistics and their sum into a number; a *score* is that number with all that
is needed to believe it.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True, slots=True)
class Example:
    """One question of an exam, in plain text.

    `source` is what a system reads (empty when a text itself is to be scored), `references` are the
    accepted answers in `language`, a BCP 47 code such as "en" or "zh". `id` is unique within the
    exam and never changes. `question` asks the same in words, with worked examples where there are
    some, for systems that follow instructions. `medium` says what is read: of any but "text",
    `source` is only the name ("sound" in a file, say), and `text` is empty.
    """

    id: str
    source: str
    references: tuple[str, ...]
    language: str = "en"
    source_language: str = "en"
    question: str = ""
    medium: str = "text"

    @property
    def text(self) -> str:
        """The source, where it is text."""
        return self.source if self.medium == "text" else ""

    def content(self) -> bytes:
        """Bytes of what a system reads: the source in UTF-8; a subclass for another medium returns
        its file.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        return self.source.encode("utf-8", "surrogatepass")

    @property
    def length(self) -> int:
        """How much there is to read: characters, or in another medium what grows with it. Examples
        of like length go well together.
        """
        return len(self.text)


class Token(NamedTuple):
    """One token of a scored text: the character at which it starts, its nats, and how many tokens
    it was predicted from.
    """

    start: int
    nats: float
    context: int


class Alternative(NamedTuple):
    """An answer that a system weighed, and minus its log probability among all of them."""

    output: str
    nats: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A system's answer to the example of the same id: `output` from generators, `nats` (minus log
    probability) from scorers.

    `n_token` is the number of tokens written or scored, end of text included; `seconds` its wall
    time, a batch shared evenly. `unknown` counts tokens the system could only call `<unk>`;
    `spelling` are the nats that these cost besides, letter by letter, where they pay for it: then
    `nats` and `spelling` together are the price of the whole text. `tokens` are those that `nats`
    is the sum of, in order, where the system can tell them apart: rounded, for pictures; several
    may start at one character. A generator that knows how sure it is of its `output` says so by
    `nats`; `alternatives` are then the best of what it weighed, the best first, its `output` among
    them. `finish_reason` says why an answer ends, where that is known: "stop" (the model ended it),
    "length" (it was cut at the most tokens that were allowed), "reasoning" (all its tokens went
    into reasoning, none into an answer), "content_filter", "refusal", "tool_calls", or a word of a
    server's own.
    """

    id: str
    output: str | None = None
    nats: float | None = None
    n_token: int = 0
    seconds: float = 0.0
    unknown: int = 0
    spelling: float | None = None
    tokens: tuple[Token, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    finish_reason: str | None = None

    def to(self, *arguments: object, **settings: object) -> "Prediction":
        """Return this: Lightning moves what `Trainer.predict` returns to the CPU, and would refuse
        what it cannot.
        """
        return self


def passages_of(
    text: Sequence[Example],
    starts: np.ndarray,
    nats: np.ndarray,
    contexts: np.ndarray,
    unknown: np.ndarray,
    changed: bool = False,
    spelling: np.ndarray | None = None,
    seconds: float = 0.0,
) -> Iterator[Prediction]:
    """Predictions for consecutive passages of one text, whose first references joined are the text,
    from its tokens.

    Args:
        starts: (n,) the character of the text at which each token begins; an end of text begins
            behind the last.
        nats: (n,) float64. contexts: (n,) tokens that each was predicted from. unknown: (n,) bool,
            True of `<unk>`.
        changed: the tokens spell another text, so that no number of bytes can be told of them.
        spelling: (n,) float64, what tokens cost besides, if unknown ones are spelled; see
            `Prediction`.
        seconds: of all passages.
    """
    ends = np.cumsum([len(example.references[0]) for example in text])
    owner = np.searchsorted(ends, starts, side="right").clip(max=len(text) - 1)
    for i, example in enumerate(text):
        own = owner == i
        begins = starts[own] - (ends[i] - len(example.references[0]))
        rounded = zip(begins, nats[own], contexts[own], strict=True)
        yield Prediction(
            example.id,
            nats=math.fsum(nats[own]),
            n_token=int(own.sum()),
            seconds=seconds / len(text),
            unknown=int(unknown[own].sum() + changed),
            spelling=None if spelling is None or changed else math.fsum(spelling[own]),
            tokens=tuple(
                Token(int(start), round(float(n), 4), int(context)) for start, n, context in rounded
            ),
        )


Mode = Literal["generate", "log_prob"]  # what an exam wants of a system; the names of its methods


class CannotError(ValueError):
    """A system cannot answer exams of this kind: a dash in the table, with this reason."""


class OutputsError(ValueError):
    """Answers in a file cannot be read, or are not those to these examples: the system fails, and
    the others keep their scores.
    """


@runtime_checkable
class Generator(Protocol):
    """A system that can write an answer. One that reads another medium than text says so as
    `reads`; None reads nothing of a source.
    """

    name: str

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """One prediction with `output` for each example, in any order."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A system that can give the probability of an answer.

    One that has settings to be found on the validation split has a `tune`, which is given a
    function that reads it.

    Examples whose ids agree up to "#" ("play#0", "play#1", ...) are consecutive passages of one
    text, given together and in order: each is scored after those before it, and the end of the text
    belongs to the last.
    """

    name: str

    def log_prob(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """One prediction with `nats` of the first reference for each example, in any order."""
        ...


LABELS = {  # of the metrics whose names papers write otherwise
    "bits_per_byte": "bits per byte",
    "bleu": "BLEU",
    "cer": "CER",
    "chrf": "chrF",
    "exact_match": "exact match",
    "f1": "F1",
    "nats_per_token": "nats per token",
    "ter": "TER",
    "wer": "WER",
    "word_perplexity": "word perplexity",
}


def metric_label(name: str) -> str:
    """Return a metric's name as papers write it: "BLEU" of "bleu", "test/ROUGE-L" of "test/rougeL".

    `Metric.name` is the key by which files, options and MLflow know a metric; this is what people
    read. A metric of a user's own keeps its name.
    """
    split, slash, key = name.rpartition("/")
    if found := re.fullmatch(r"rouge(\d|L|Lsum)(?:-(\w+))?", key):
        label = f"ROUGE-{found[1]}" + (f" ({found[2]})" if found[2] else "")
    else:
        stem = key.rstrip("+")  # of chrF++
        label = LABELS.get(stem.lower(), stem) + key[len(stem) :]
    return split + slash + label


def metric_key(name: str, known: Iterable[str]) -> str:
    """Return the key among `known` that `name` stands for: itself, or what people read for it.

    "BLEU" and "test/BLEU" stand for "bleu" and "test/bleu"; a name that stands for none is
    returned.
    """
    return next((key for key in known if name in (key, metric_label(key))), name)


class Metric(ABC):
    """Additive statistics and one formula: the score of a corpus is `score(sum of statistics)`,
    never a mean of scores.

    `unit` is what stands behind the number ("%", "bits/byte", ""), `signature` all that changes it
    besides the answers. `counts_tokens` says that it divides by the tokens of the system that
    answers, so that only systems with one tokenizer compare.
    """

    name: str
    unit: str
    higher_is_better: bool
    counts_tokens = False

    @property
    @abstractmethod
    def signature(self) -> str:
        """Tokenizer, normalization, version...: two scores compare only when their signatures are
        equal.
        """

    @abstractmethod
    def statistics(self, answer: Prediction, references: Sequence[str]) -> np.ndarray:
        """What this answer adds to the corpus: a float64 vector of fixed length."""

    @abstractmethod
    def score(self, total: np.ndarray) -> float:
        """The number for summed statistics; nan where it is not defined."""

    def score_alone(self, statistics: np.ndarray) -> float:
        """The number for one example, to be read beside others; as `score`, unless that means
        something on a corpus only.
        """
        return self.score(statistics)

    def counted(self, text: str) -> list[str] | None:
        """The words or characters of `text` that count; None of a metric that reads no text, or all
        of it.
        """
        return None


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's number with what is needed to read it; `low` and `high` bound its 95 % confidence
    interval, where one was computed.
    """

    metric: str
    value: float
    unit: str
    higher_is_better: bool
    signature: str
    n_example: int
    low: float | None = None
    high: float | None = None
