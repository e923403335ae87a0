"""Examples of an evaluation set, and predictions: the answers of a system to them."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, slots=True)
class Example:
    """One question of an evaluation set, in plain text.

    `source` is the input of a system (empty when a text itself is to be scored); `references` are
    the accepted answers in `language`, a BCP 47 code such as "en" or "zh". `id` is unique within
    the evaluation set and never changes. `question` is a prompt with the same content, with
    few-shot examples where there are some, for systems that follow instructions. `modality` is the
    kind of input: for any but "text", `source` is only a name (of a recording in a file, say), and
    `text` is empty.
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
        """Source text, or "" where the modality is not text."""
        return self.source if self.modality == "text" else ""

    @property
    def medium(self) -> str:
        """Deprecated name of `modality`, of the last release."""
        return self.modality

    def content(self) -> bytes:
        """Return the bytes that a system reads: the source in UTF-8; a subclass for another
        modality returns its file.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        return self.source.encode("utf-8", "surrogatepass")

    @property
    def length(self) -> int:
        """Size of the input, for batching examples of similar size: characters of the text, or a
        number of the subclass's own in another modality.
        """
        return len(self.text)

    def __init_subclass__(cls) -> None:
        """Read the field `medium` of a subclass written for the last release as `modality`."""
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
    """One token of a scored text: the character offset at which it starts, its negative log
    probability in nats, and the number of tokens that it was predicted from.
    """

    start: int
    nats: float
    context: int


class Alternative(NamedTuple):
    """An answer that a system considered, and the negative log probability of it among all of them,
    in nats.
    """

    output: str
    nats: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A system's answer to the example with the same id: `output` from generators, `nats` (negative
    log probability) from scorers, together with the answer as `output` where that was given.

    `n_token` is the number of tokens generated or scored, end of text included; `seconds` the wall
    time, where the time of a batch is divided evenly. `unknown` counts tokens that the system could
    only represent as `<unk>`; `spelling` is the additional cost in nats of spelling these out,
    where the system does so: then `nats` and `spelling` together are the cost of the whole text.
    `tokens` are those that `nats` is the sum of, in order, where the system reports them; they are
    rounded, for figures, and several may start at one character. A generator that knows the
    probability of its `output` reports it as `nats`; `alternatives` are then the best answers that
    it considered, best first, its `output` among them. `finish_reason` says why an answer ends,
    where that is known: "stop" (the model ended it), "length" (it was cut at the maximum number of
    tokens), "reasoning" (all its tokens went into reasoning, none into an answer),
    "content_filter", "refusal", "tool_calls", or a server's own reason.
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
        """Return this object unchanged; Lightning calls it to move the outputs of `Trainer.predict`
        to the CPU.
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
    """Yield one prediction for each of several consecutive passages of one text, from the
    statistics of the text's tokens. The first references of the passages, joined, are the text.

    Args:
        starts: (n,) character offset in the text at which each token begins; that of an end of text
            is the length of the text.
        nats: (n,) float64, negative log probability of each token. contexts: (n,) number of tokens
            that each was predicted from. unknown: (n,) bool, True for `<unk>`.
        changed: whether the tokens decode to another text, so that bits per byte are undefined; it
            counts as an unknown token of each passage.
        spelling: (n,) float64, additional nats of tokens whose unknown words are spelled out; see
            `Prediction`.
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
