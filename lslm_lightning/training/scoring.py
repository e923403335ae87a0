"""From the probabilities of tokens to those of whole texts."""

from abc import ABCMeta, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import groupby
from time import perf_counter

import numpy as np

from lslm_lightning.contracts import Example, Prediction, passages_of
from lslm_lightning.text.tokenizer import Tokenizer


class TextScorer(metaclass=ABCMeta):  # a base of ABC would give tasks another layout than FSDP2's classes have
    """What gives each token of a text a probability; a text is its ids with `</s>` before the first and behind the last."""

    tokenizer: Tokenizer

    @abstractmethod
    def token_nats(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Minus log probability of each id but the first of each row, float64."""

    @abstractmethod
    def contexts(self, ids: Sequence[int]) -> np.ndarray:
        """From how many tokens each id of a row but the first is predicted: (n - 1,)."""

    def spelling_nats(self, text: str, starts: np.ndarray, unknown: np.ndarray) -> np.ndarray | None:
        """What the tokens of a text that are `<unk>` cost besides, for their spelling: (number of them,); None where they do not pay.

        Args:
            starts: (n,) the character at which each token begins.
            unknown: (n,) bool.
        """
        return None

    def log_prob(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Nats of the first reference of each example; passages of one text ("text#0", "text#1", ...) after those before them."""
        began = perf_counter()
        texts = [list(group) for _, group in groupby(examples, key=lambda e: e.id.partition("#")[0])]
        encoded = [self.tokenizer.encode_with_offsets("".join(e.references[0] for e in text)) for text in texts]
        rows = [[self.tokenizer.eos_id, *ids, self.tokenizer.eos_id] for ids, _ in encoded]
        nats = self.token_nats(rows)
        seconds = (perf_counter() - began) / max(1, len(examples))
        for text, (_, offsets), row, values in zip(texts, encoded, rows, nats, strict=True):
            whole = "".join(e.references[0] for e in text)
            starts = np.array([*(start for start, _ in offsets), len(whole)])
            unknown = np.equal(row[1:], -1 if self.tokenizer.unk_id is None else self.tokenizer.unk_id)
            changed = not self._spells(whole, row)
            yield from passages_of(text, starts, values, self.contexts(row), unknown, changed, seconds * len(text))

    def _spells(self, text: str, ids: Sequence[int]) -> bool:
        """Whether the ids stand for the whole text, a space at its start aside: else they pay for less than is there."""
        return self.tokenizer.lossless or self.tokenizer.decode(ids) in (text, text.removeprefix(" "))

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        return list(self.log_prob(examples))
