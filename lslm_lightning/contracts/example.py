"""Examples of an evaluation set, and predictions: a system's answers to them."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, slots=True)
class Example:
    """One question of an evaluation set, in plain text.

    `source` is what a system reads (empty when a text itself is to be scored), `references` are the
    accepted answers in `language`, a BCP 47 code such as "en" or "zh". `id` is unique within the
    evaluation set and never changes. `question` asks the same in words, with worked examples where
    there are some, for systems that follow instructions. `modality` says what is read: of any but
    "text", `source` is only the name ("sound" in a file, say), and `text` is empty.
    """

    id: str
    source: str
    references: tuple[str, ...]
    language: str = "en"
    source_language: str = "en"
    question: str = ""
    modality: str = "text"

    @property
    def text(self) -> str:
        """The source, where it is text."""
        return self.source if self.modality == "text" else ""

    @property
    def medium(self) -> str:
        """The modality, by its name of the last release."""
        return self.modality

    def content(self) -> bytes:
        """Bytes of what a system reads: the source in UTF-8; a subclass for another modality
        returns its file.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        return self.source.encode("utf-8", "surrogatepass")

    @property
    def length(self) -> int:
        """How much there is to read: characters, or in another modality what grows with it.
        Examples of like length go well together.
        """
        return len(self.text)

    def __init_subclass__(cls) -> None:
        """Read the field `medium` of a subclass written for the last release as `modality`."""
        own = vars(cls).get("__annotations__", {})
        if "medium" in own and "medium" in vars(cls):
            own["modality"] = own.pop("medium")
            cls.modality = cls.medium
            del cls.medium
            warnings.warn(
                f"{cls.__name__}.medium is now called modality; rename it: the next release does "
                "not read the old name",
                FutureWarning,
                stacklevel=2,
            )


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
    probability) from scorers, with the answer as `output` where that was given.

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
