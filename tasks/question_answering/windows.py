"""Questions and passages as windows that a network reads: `<s> question </s> part of the passage </s>`. B windows, S tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.text.tokenizer import Frame, Tokenizer
from lslm_lightning.training.batches import padded
from tasks.question_answering.data import Question
from tasks.question_answering.hints import Words, hints, of_tokens, sentence_share, words_of


@dataclass(frozen=True)
class Sizes:
    """How long passages are read, in tokens.

    Args:
        max_length: of a window, with what stands around question and passage.
        stride: how far each window begins behind the one before.
        max_question_length: of a question; the rest of a longer one is cut.
    """

    max_length: int = 384
    stride: int = 128
    max_question_length: int = 64

    def check(self, frame: Frame) -> None:
        """Refuse windows that leave something out.

        Raises:
            ValueError: a setting is out of range, or too long for the others.
        """
        for name in ("max_length", "stride", "max_question_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1 token; 384, 128 and 64 are usual")
        n_around = len(frame.before) + len(frame.between) + len(frame.behind)
        room = self.max_length - self.max_question_length - n_around
        if self.stride > room:
            raise ValueError(
                f"stride={self.stride} must be at most {room}, which is max_length={self.max_length} less"
                f" max_question_length={self.max_question_length} and {n_around} around both, or parts of passages would be in no window"
            )


class Passage(NamedTuple):
    """A text as tokens."""

    ids: list[int]
    offsets: list[tuple[int, int]]  # the characters [start, end) that each stands for
    words: Words | None  # where hints are wanted


class Window(NamedTuple):
    """What is read of a passage at once."""

    question: int  # its number
    ids: list[int]
    hint: np.ndarray  # (S,) int64; see `hints`
    n_before: int  # tokens before the first of the passage
    first: int  # which token of the passage that is
    n_passage: int  # how many of the passage there are


class WindowBatch(NamedTuple):
    """Padded windows; ids are int64, padding stands on the right."""

    source: Tensor  # (B, S)
    source_pad: Tensor  # (B, S) bool, True where padded
    kind: Tensor  # (B, S) int32, which of the two texts a token belongs to
    hint: Tensor  # (B, S) int32; see `hints`
    candidate: Tensor  # (B, S) bool, True of the passage, and of the first token, which stands for no answer
    start: Tensor  # (B,) int32, the first token of the answer; 0 of none
    end: Tensor  # (B,) int32, the last token of the answer; 0 of none
    n_token: int  # what is decided on: a start and an end in each window
    n_source_token: int


class Reader:
    """Cuts questions and passages into windows.

    Args:
        has_hints: look for what the two texts have in common; see `hints`.
    """

    def __init__(self, tokenizer: Tokenizer, sizes: Sizes, has_hints: bool) -> None:
        self.tokenizer, self.sizes, self.has_hints, self.frame = tokenizer, sizes, has_hints, tokenizer.frame()
        self.n_cut = 0  # questions that were longer than they may be

    def text(self, text: str, language: str) -> Passage:
        ids, offsets = self.tokenizer.encode_with_offsets(text)
        return Passage(ids, offsets, words_of(text, language) if self.has_hints else None)

    def read(self, questions: Sequence[Question]) -> Iterator[tuple[Passage, list[Window]]]:
        """Of each question its passage and all windows on it: at least one, also where the passage has no token."""
        known: dict[str, Passage] = {}
        for number, question in enumerate(questions):
            if question.passage not in known:
                known[question.passage] = self.text(question.passage, question.language)
            passage = known[question.passage]
            yield passage, list(self.windows(number, self.text(question.asked, question.language), passage))

    def windows(self, number: int, asked: Passage, passage: Passage) -> Iterator[Window]:
        """On one passage."""
        frame, longest = self.frame, self.sizes.max_question_length
        self.n_cut += len(asked.ids) > longest
        before = [*frame.before, *asked.ids[:longest], *frame.between]
        room = self.sizes.max_length - len(before) - len(frame.behind)
        of_question, of_passage = self.hints(asked, passage)
        around = np.zeros(len(before), dtype=np.int64)
        around[len(frame.before) : len(before) - len(frame.between)] = of_question[:longest]
        for first in range(0, max(1, len(passage.ids) - room + self.sizes.stride), self.sizes.stride):
            part = passage.ids[first : first + room]
            hint = np.concatenate([around, of_passage[first : first + room], np.zeros(len(frame.behind), dtype=np.int64)])
            yield Window(number, [*before, *part, *frame.behind], hint, len(before), first, len(part))

    def hints(self, asked: Passage, passage: Passage) -> tuple[np.ndarray, np.ndarray]:
        """Of each token of the question, and of the passage."""
        if asked.words is None or passage.words is None:
            return np.zeros(len(asked.ids), dtype=np.int64), np.zeros(len(passage.ids), dtype=np.int64)
        shares = sentence_share(asked.words, passage.words)
        sides = ((asked, passage), (passage, asked))
        first, second = (
            of_tokens(own.words, hints(own.words, other.words, share), own.offsets)
            for (own, other), share in zip(sides, shares, strict=True)
        )
        return first, second

    def batch(
        self, ids: Sequence[Sequence[int]], hint: Sequence[np.ndarray], parts: np.ndarray, spans: np.ndarray | None = None
    ) -> WindowBatch:
        """Windows as a batch.

        Args:
            parts: (B, 2) tokens before the passage, and of the passage.
            spans: (B, 2) first and last token of the answer; 0 of none.
        """
        source, n = padded(ids, self.tokenizer.pad_id), torch.tensor([len(row) for row in ids], dtype=torch.int64)
        place = torch.arange(source.size(1))
        before, n_passage = torch.from_numpy(np.asarray(parts, dtype=np.int64).reshape(-1, 2)).unbind(1)
        inside = (place >= before[:, None]) & (place < (before + n_passage)[:, None])
        first, second = self.frame.kinds
        kind = torch.where(place >= before[:, None], second, first)
        pad = place >= n[:, None]
        spans = np.zeros((len(ids), 2), dtype=np.int32) if spans is None else np.asarray(spans, dtype=np.int32).reshape(-1, 2)
        start, end = torch.from_numpy(spans).unbind(1)
        hint = padded(hint, 0).int()
        return WindowBatch(source, pad, kind.masked_fill(pad, 0).int(), hint, inside | (place == 0), start, end, 2 * len(ids), int(n.sum()))
