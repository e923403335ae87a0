"""Examples of an evaluation set, and predictions, the answers of systems to examples."""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, slots=True)
class Example:
    """One question of an evaluation set, in plain text.

    Attributes:
        id: identifier that is unique within the evaluation set and never changes.
        source: input of a system; empty if a text itself is to be scored. For a modality other than
            "text", only a name, such as that of a recording.
        references: accepted answers.
        language: language of the references, a BCP 47 code such as "en" or "zh".
        source_language: language of the source.
        question: prompt with the same content, possibly with few-shot examples, for systems that
            follow instructions.
        modality: kind of input; for any but "text", `text` is empty.
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
        """Source text, or "" if the modality is not text."""
        return self.source if self.modality == "text" else ""

    @property
    def text_id(self) -> str:
        """Identifier of the text of which the example is a passage: its id up to "#"."""
        return self.id.partition("#")[0]

    @property
    def medium(self) -> str:
        """Deprecated name of `modality`, used in the last release."""
        return self.modality

    def content(self) -> bytes:
        """Return the bytes that a system reads: the source in UTF-8.

        A subclass for another modality returns the contents of a file.

        Raises:
            ValueError, OSError: the file cannot be read.
        """
        return self.source.encode("utf-8", "surrogatepass")

    def with_content(self, content: bytes) -> "Example":
        """Return the example with another content; see `content`.

        A subclass for another modality keeps its source, which is a name.
        """
        return replace(self, source=content.decode("utf-8", "surrogatepass"))

    @property
    def length(self) -> int:
        """Size of the input, by which examples of similar size are batched.

        It is the number of characters of the text; a subclass for another modality may define it
        otherwise.
        """
        return len(self.text)

    def __init_subclass__(cls) -> None:
        """Rename the field `medium` of a subclass written for the last release to `modality`, with
        a warning.
        """
        old, new = "medium", "modality"
        annotations = vars(cls).get("__annotations__", {})
        if old in annotations and old in vars(cls):
            annotations[new] = annotations.pop(old)
            setattr(cls, new, vars(cls)[old])
            delattr(cls, old)
            warnings.warn(
                f"{cls.__name__}.{old} is now called {new}; rename it: the next release does not "
                "read the old name",
                FutureWarning,
                stacklevel=2,
            )


class Token(NamedTuple):
    """One token of a scored text.

    Attributes:
        start: character offset at which the token starts.
        nats: negative log probability.
        context: number of tokens from which the token was predicted.
    """

    start: int
    nats: float
    context: int


class Alternative(NamedTuple):
    """Answer that a system considered, with its negative log probability in nats."""

    output: str
    nats: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Answer of a system to the example with the same id.

    Attributes:
        output: text of a generator, or the given answer that a scorer scored.
        nats: negative log probability, from scorers and from generators that know it.
        n_token: number of tokens generated or scored, including the end of text.
        seconds: wall time; the time of a batch is divided evenly among its examples.
        unknown: number of tokens that the system could represent only as `<unk>`.
        spelling: nats of spelling out these tokens, if the system does so; the whole text then
            costs `nats` plus `spelling`.
        tokens: tokens in order, whose costs add up to `nats`, if the system reports them. The costs
            are rounded, for figures. Several tokens may start at the same character.
        alternatives: best answers that a generator considered, best first, including `output`.
        finish_reason: reason why the answer ends, if known: "stop" (the model ended it), "length"
            (it was cut at the maximum number of tokens), "reasoning" (all tokens went into
            reasoning), "content_filter", "refusal", "tool_calls", or a server's own reason.
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
        """Return this object unchanged; Lightning calls the method to move outputs of
        `Trainer.predict` to the CPU.
        """
        return self


def by_text(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Yield the consecutive examples that are passages of one text, text by text."""
    for _, passages in groupby(examples, key=attrgetter("text_id")):
        yield list(passages)


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
    """Yield one prediction for each passage of a text, from the statistics of the text's n tokens.

    Args:
        text: examples whose first references are the consecutive passages; joined, they are the
            text.
        starts: (n,) character offset in the text at which each token begins; the length of the text
            for an end-of-text token.
        nats: (n,) float64, negative log probability of each token.
        contexts: (n,) number of tokens from which each token was predicted.
        unknown: (n,) bool, True for `<unk>`.
        changed: whether the tokens decode to a different text, so that bits per byte are undefined;
            this counts as an unknown token of each passage.
        spelling: (n,) float64, nats of spelling out unknown words; see `Prediction`.
        seconds: wall time for all passages together.
    """
    ends = np.cumsum([len(example.references[0]) for example in text])
    owner = np.searchsorted(ends, starts, side="right").clip(max=len(text) - 1)
    for i, example in enumerate(text):
        mask = owner == i
        begins = starts[mask] - (ends[i] - len(example.references[0]))
        rounded = zip(begins, nats[mask], contexts[mask], strict=True)
        yield Prediction(
            example.id,
            nats=math.fsum(nats[mask]),
            n_token=int(mask.sum()),
            seconds=seconds / len(text),
            unknown=int(unknown[mask].sum() + changed),
            spelling=None if spelling is None or changed else math.fsum(spelling[mask]),
            tokens=tuple(
                Token(int(start), round(float(n), 4), int(context)) for start, n, context in rounded
            ),
        )
