"""Windows of question and passage: `<s> question </s> part of the passage </s>`.

Axes: B windows, S tokens.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.text.chinese import segment_with_offsets
from lslm_lightning.text.tokenizer import Frame, Tokenizer
from lslm_lightning.training.batches import padded
from tasks.question_answering.data import Question
from tasks.question_answering.extractive.features import (
    AnalyzedWords,
    analyze_words,
    sentence_share,
    token_features,
    word_features,
)

# tokenized passages that are cached: questions about one passage are mostly consecutive
CACHE_SIZE = 64


@dataclass(frozen=True)
class WindowSizes:
    """Sizes, in tokens, of the windows in which passages are read.

    Args:
        max_length: largest length of a window, special tokens included.
        stride: distance between the starts of consecutive windows.
        max_question_length: largest length of a question; the rest of a longer one is cut.
    """

    max_length: int = 384
    stride: int = 128
    max_question_length: int = 64

    def __str__(self) -> str:
        """Return the sizes in the form stored in checkpoints, under the first name of this class,
        "Sizes".
        """
        return repr(self).replace(type(self).__name__, "Sizes", 1)

    def check(self, frame: Frame) -> None:
        """Check that every token of a passage is in some window.

        Args:
            frame: special tokens around question and passage.

        Raises:
            ValueError: a size is below 1, or the stride is too large for the other sizes.
        """
        for name in ("max_length", "stride", "max_question_length"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be at least 1 token; 384, 128 and 64 are "
                    "usual"
                )
        n_around = len(frame.before) + len(frame.between) + len(frame.behind)
        room = self.max_length - self.max_question_length - n_around
        if self.stride > room:
            raise ValueError(
                f"stride={self.stride} must be at most {room}, which is "
                f"max_length={self.max_length} less "
                f"max_question_length={self.max_question_length} and {n_around} special tokens; "
                "with a larger one parts of passages would be in no window"
            )


class Passage(NamedTuple):
    """Tokenized text (a passage or a question)."""

    ids: list[int]
    offsets: list[tuple[int, int]]  # the characters [start, end) of each token
    words: AnalyzedWords | None  # None without word-overlap features
    begins: np.ndarray  # (T,) bool, True for tokens with which an answer may begin
    ends: np.ndarray  # (T,) bool, True for tokens with which an answer may end


class Window(NamedTuple):
    """Question and part of a passage, read as one sequence."""

    question: int  # index of the question
    ids: np.ndarray  # (S,) int32
    features: np.ndarray  # (S,) int32; see `features.word_features`
    n_before: int  # tokens before the part of the passage
    first: int  # index in the passage of the first token of the part
    n_passage: int  # tokens of the part of the passage
    # (S,) bool, True for tokens with which an answer may begin; the first token of all stands for
    # no answer
    begins: np.ndarray
    ends: np.ndarray  # (S,) bool, True for tokens with which an answer may end


class AnswerWindowBatch(NamedTuple):
    """Padded windows; ids are int64, padding is on the right."""

    source: Tensor  # (B, S)
    source_pad: Tensor  # (B, S) bool, True where padded
    kind: Tensor  # (B, S) int32, number of the text (question or passage) of each token
    features: Tensor  # (B, S) int32; see `features.word_features`
    # (B, S) bool, True for the passage, and for the first token, which stands for no answer
    of_passage: Tensor
    # (B, S, 2) bool, True for tokens with which an answer may begin, and end; always for the first
    # token
    candidate: Tensor
    # (B,) int32, first token of the answer or plausible answer; 0 if it is in another window, -1
    # if there is none
    start: Tensor
    end: Tensor  # (B,) int32, last token of it
    # (B,) bool, True if the question has an answer, in this window or another
    has_answer: Tensor
    n_token: int  # targets: a start and an end in each window
    n_source_token: int


class WindowReader:
    """Reader that cuts questions and passages into windows.

    Args:
        overlap_features: compute word-overlap features (`features.word_features`).
        whole_words: restrict answers to begin and end at word boundaries of `text.chinese.segment`.
    """

    def __init__(
        self, tokenizer: Tokenizer, sizes: WindowSizes, overlap_features: bool, whole_words: bool
    ) -> None:
        self.tokenizer = tokenizer
        self.sizes = sizes
        self.frame = tokenizer.frame()
        self.overlap_features = overlap_features
        self.whole_words = whole_words
        self.n_cut = 0  # questions that were cut

    def text(self, text: str, language: str) -> Passage:
        """Tokenize a text."""
        ids, offsets = self.tokenizer.encode_with_offsets(text)
        offsets = include_combining_marks(text, offsets)
        edges = word_edges(text, offsets) if self.whole_words else character_edges(offsets)
        return Passage(
            ids, offsets, analyze_words(text, language) if self.overlap_features else None, *edges
        )

    def read(self, questions: Sequence[Question]) -> Iterator[tuple[Passage, list[Window]]]:
        """Yield the tokenized passage and all windows of each question. There is at least one
        window, even for an empty passage.
        """
        known: dict[str, Passage] = {}
        for number, question in enumerate(questions):
            if question.passage not in known:
                if len(known) == CACHE_SIZE:
                    known.clear()
                known[question.passage] = self.text(question.passage, question.language)
            passage = known[question.passage]
            yield (
                passage,
                list(self.windows(number, self.text(question.asked, question.language), passage)),
            )

    def windows(self, number: int, asked: Passage, passage: Passage) -> Iterator[Window]:
        """Yield the windows of a question on its passage.

        Args:
            number: index of the question.
            asked: tokenized question.
        """
        frame = self.frame
        longest = self.sizes.max_question_length
        self.n_cut += len(asked.ids) > longest
        before = [*frame.before, *asked.ids[:longest], *frame.between]
        room = self.sizes.max_length - len(before) - len(frame.behind)
        of_question, of_passage = self.overlap(asked, passage)
        for first in range(
            0, max(1, len(passage.ids) - room + self.sizes.stride), self.sizes.stride
        ):
            part = passage.ids[first : first + room]
            ids = np.array([*before, *part, *frame.behind], dtype=np.int32)
            features = np.zeros(len(ids), dtype=np.int32)
            features[len(frame.before) : len(before) - len(frame.between)] = of_question[:longest]
            features[len(before) : len(before) + len(part)] = of_passage[first : first + room]
            edges = np.zeros((2, len(features)), dtype=bool)
            edges[:, 0] = True
            edges[:, len(before) : len(before) + len(part)] = [
                side[first : first + room] for side in (passage.begins, passage.ends)
            ]
            yield Window(number, ids, features, len(before), first, len(part), *edges)

    def overlap(self, asked: Passage, passage: Passage) -> tuple[np.ndarray, np.ndarray]:
        """Return the word-overlap features of the tokens of the question and of the passage; zeros
        if `overlap_features` is False.
        """
        if asked.words is None or passage.words is None:
            return np.zeros(len(asked.ids), dtype=np.int64), np.zeros(
                len(passage.ids), dtype=np.int64
            )
        shares = sentence_share(asked.words, passage.words)
        sides = (
            (asked.words, passage.words, asked.offsets),
            (passage.words, asked.words, passage.offsets),
        )
        first, second = (
            token_features(own, word_features(own, other, share), offsets)
            for (own, other, offsets), share in zip(sides, shares, strict=True)
        )
        return first, second

    def batch(
        self, windows: Sequence[Window], targets: Sequence[tuple[int, int, bool]] | None = None
    ) -> AnswerWindowBatch:
        """Return a padded batch of windows.

        Args:
            targets: for each window (start, end, whether the question has an answer), as in
                `AnswerWindowBatch`.
        """
        source = padded([window.ids for window in windows], self.tokenizer.pad_id)
        sizes = np.array(
            [(len(w.ids), w.n_before, w.n_before + w.n_passage) for w in windows], dtype=np.int64
        ).reshape(-1, 3)
        n, before, behind = torch.from_numpy(sizes)[:, :, None].unbind(1)  # (B, 1) each
        position = torch.arange(source.size(1))
        pad = position >= n
        inside = (position >= before) & (position < behind)
        kind = (
            torch.where(position >= before, self.frame.kinds[1], self.frame.kinds[0])
            .masked_fill(pad, 0)
            .int()
        )
        features = padded([window.features for window in windows], 0).int()
        candidate = torch.stack(
            [
                padded(side, 0).bool()
                for side in ([w.begins for w in windows], [w.ends for w in windows])
            ],
            -1,
        )
        start, end, has_answer = (
            torch.tensor(targets or [(-1, -1, False)] * len(windows), dtype=torch.int32)
            .reshape(-1, 3)
            .unbind(1)
        )
        of_passage = inside | (position == 0)
        n_token = 2 * len(windows)
        return AnswerWindowBatch(
            source,
            pad,
            kind,
            features,
            of_passage,
            candidate,
            start,
            end,
            has_answer.bool(),
            n_token,
            int(n.sum()),
        )


def include_combining_marks(text: str, offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Extend the character span of each token by the combining marks that follow it and belong to
    no token.

    A tokenizer that strips accents, as BERT's does, would otherwise end a word before them.
    """
    found = []
    following = len(text)
    for start, end in reversed(offsets):
        until = end
        while until < following and unicodedata.category(text[until])[0] == "M":
            until += 1
        found.append((start, until))
        following = start
    return found[::-1]


def character_edges(offsets: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays (T,) bool: whether each token begins, and whether it ends, at the border of
    a character. Several tokens may share one character.
    """
    new = [first != second for first, second in pairwise(offsets)]
    return np.array([True, *new][: len(offsets)], dtype=bool), np.array(
        [*new, True][: len(offsets)], dtype=bool
    )


def word_edges(text: str, offsets: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays (T,) bool: whether each token begins, and whether it ends, at the border of
    a word or punctuation mark. White space at the edges of tokens is ignored.
    """
    spans = [span for _, span in segment_with_offsets(text)]
    firsts = {start for start, _ in spans}
    lasts = {end for _, end in spans}
    visible = [visible_part(text, *span) for span in offsets]
    of_characters = character_edges(offsets)
    begins = np.array([start in firsts and start < end for start, end in visible], dtype=bool)
    ends = np.array([end in lasts and start < end for start, end in visible], dtype=bool)
    return begins & of_characters[0], ends & of_characters[1]


def visible_part(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the character span [start, end) without white space at its edges."""
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
