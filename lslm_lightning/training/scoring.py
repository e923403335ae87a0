"""From the probabilities of tokens to those of whole texts."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from time import perf_counter
from typing import NamedTuple, TypeAlias

import numpy as np

from lslm_lightning.contracts import Answers, Example, Prediction, pair_answers, passages_of
from lslm_lightning.ngram.spelling import ORDER, Spelling
from lslm_lightning.text.tokenizer import Tokenizer

SPELLED = ("words", "characters")
UNKNOWN = "<unk>"

TokenNats: TypeAlias = Callable[[Sequence[Sequence[int]], Sequence[int] | None], list[np.ndarray]]
"""`token_nats(rows, n_given) -> nats`; see `TextScorer.token_nats`."""


def texts(examples: Sequence[Example]) -> list[tuple[list[Example], str]]:
    """Passages that follow one another, and the text that they make."""
    found = [list(group) for _, group in groupby(examples, key=lambda e: e.id.partition("#")[0])]
    return [(passages, "".join(e.references[0] for e in passages)) for passages in found]


class Scored(NamedTuple):
    """A text of n tokens with their probabilities, the end of the text among them."""

    text: str
    offsets: Sequence[tuple[int, int]]  # characters of each token, the end aside
    ids: Sequence[int]  # n, the end included
    nats: np.ndarray  # (n,) float64
    contexts: np.ndarray  # (n,) tokens that each was predicted from


# a base of ABC would give tasks another layout than FSDP2's classes have
class TextScorer(metaclass=ABCMeta):
    """What gives each token of a text a probability; a text is its ids with `</s>` before the first
    and behind the last.
    """

    tokenizer: Tokenizer

    @abstractmethod
    def token_nats(
        self, rows: Sequence[Sequence[int]], n_given: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        """Minus log probability of each id but the first of each row, float64.

        Args:
            n_given: for each row the number of ids at its start whose nats nobody will read; what
                stands for them may be anything. By default 1.
        """

    @abstractmethod
    def contexts(self, ids: Sequence[int]) -> np.ndarray:
        """From how many tokens each id of a row but the first is predicted: (n - 1,)."""

    @cached_property
    def spelling(self) -> Spelling | None:
        """How tokens that are `<unk>` are spelled, learned from the words (or characters) of the
        tokenizer; None where none is needed.
        """
        return (
            Spelling([*self.tokenizer.entries().values()])
            if self.tokenizer.unk_id is not None and self.tokenizer.kind in SPELLED
            else None
        )

    @property
    def signature_of_spelling(self) -> str:
        """What of it belongs in the signatures of scores."""
        return "" if self.spelling is None else f"|spelling:bytes-{ORDER}"

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Nats of the first reference of each example; passages of one text ("text#0", "text#1",
        ...) after those before them. With `answers`, those of each answer after its source; see
        `contracts.Scorer`.
        """
        if answers is None:
            yield from self.scored(examples, self.token_nats)
        else:
            yield from self.scored_answers(examples, answers, self.token_nats)

    def rows(self, examples: Sequence[Example]) -> list[list[int]]:
        """The ids of each text of which the examples are passages."""
        return [
            self._row(ids)
            for ids in self.tokenizer.encode_batch([text for _, text in texts(examples)])
        ]

    def _row(self, ids: Sequence[int]) -> list[int]:
        return [self.tokenizer.eos_id, *ids, self.tokenizer.eos_id]

    def scored(self, examples: Sequence[Example], token_nats: TokenNats) -> Iterator[Prediction]:
        """`log_prob` by the nats that something else gives the tokens of this tokenizer."""
        began = perf_counter()
        whole = texts(examples)
        encoded = [self.tokenizer.encode_with_offsets(text) for _, text in whole]
        rows = [self._row(ids) for ids, _ in encoded]
        nats = token_nats(rows, None)
        seconds = (perf_counter() - began) / max(1, len(examples))
        for (passages, text), (_, offsets), row, values in zip(
            whole, encoded, rows, nats, strict=True
        ):
            scored = Scored(text, offsets, row[1:], values, self.contexts(row))
            yield from self._predictions(passages, scored, seconds * len(passages))

    def scored_answers(
        self, examples: Sequence[Example], answers: Answers, token_nats: TokenNats
    ) -> Iterator[Prediction]:
        """`log_prob` of given answers by the nats that something else gives the tokens of this
        tokenizer.
        """
        began = perf_counter()
        pairs = pair_answers(examples, answers)
        if not pairs:
            return
        sources = self.tokenizer.encode_batch([example.source for example, _ in pairs])
        encoded = [self.tokenizer.encode_with_offsets(answer) for _, answer in pairs]
        rows = [
            self._row([*source, *ids]) for source, (ids, _) in zip(sources, encoded, strict=True)
        ]
        n_given = [1 + len(source) for source in sources]
        nats = token_nats(rows, n_given)
        seconds = (perf_counter() - began) / max(1, len(pairs))
        for (example, answer), (_, offsets), row, n, values in zip(
            pairs, encoded, rows, n_given, nats, strict=True
        ):
            contexts = self.contexts(row)[n - 1 :]
            scored = Scored(answer, offsets, row[n:], values[n - 1 :], contexts)
            alone = Example(example.id, "", (answer,), example.language)
            for prediction in self._predictions([alone], scored, seconds):
                yield replace(prediction, output=answer)

    def _predictions(
        self, passages: Sequence[Example], scored: "Scored", seconds: float
    ) -> Iterator[Prediction]:
        """Predictions for the passages that make a scored text."""
        text = scored.text
        starts = np.array([*(start for start, _ in scored.offsets), len(text)])
        unknown = np.equal(
            scored.ids, -1 if self.tokenizer.unk_id is None else self.tokenizer.unk_id
        )
        spans = [scored.offsets[i] for i in np.flatnonzero(unknown)]
        spelling = None if self.spelling is None else np.zeros(len(unknown))
        if spelling is not None:
            spelling[unknown] = self.spelling.nats([text[start:end] for start, end in spans])
        changed = not self._spells(text, scored.ids, spans)
        yield from passages_of(
            passages, starts, scored.nats, scored.contexts, unknown, changed, spelling, seconds
        )

    def _spells(self, text: str, ids: Sequence[int], unknown: Sequence[tuple[int, int]]) -> bool:
        """Whether the ids stand for the whole text, `<unk>` for the spans that are unknown, a space
        at its start aside.

        Else they pay for less than is there.
        """
        if self.tokenizer.lossless:
            return True
        ends = [0, *(end for _, end in unknown)]
        known = [
            text[end:start]
            for end, (start, _) in zip(ends, [*unknown, (len(text), 0)], strict=True)
        ]
        return self.tokenizer.decode(ids) in (
            (shown := UNKNOWN.join(known)),
            shown.removeprefix(" "),
        )

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        return list(self.log_prob(examples))
