"""Training data for extractive question answering: windows of passages with the start and end of
the answer.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from lslm_lightning.contracts import Example
from lslm_lightning.renamed import IN_CHECKPOINTS
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.training.budget_data import MAX_TOKENS, BudgetData
from lslm_lightning.training.data import EVAL_TOKENS, N_VALIDATION_EXAMPLE, rank_zero_print
from lslm_lightning.types import JsonObject
from tasks.question_answering.data import Question, QuestionData, as_question, is_answerable, named
from tasks.question_answering.extractive.windows import (
    AnswerWindowBatch,
    Passage,
    Window,
    WindowReader,
    WindowSizes,
)
from tasks.question_answering.offsets import overlapping_tokens, widen


class SpanWindows:
    """Windows with their targets: start and end of the answer, and whether the question has an
    answer. `windows[indices]` is a padded batch.
    """

    def __init__(
        self,
        reader: WindowReader,
        windows: Sequence[Window],
        targets: Sequence[tuple[int, int, bool]],
    ) -> None:
        self.reader = reader
        self.windows = windows
        self.targets = targets

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def lengths(self) -> np.ndarray:
        """Lengths (n_window, 1) in tokens."""
        return np.array([len(window.ids) for window in self.windows], dtype=np.int64).reshape(-1, 1)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> AnswerWindowBatch:
        return self.reader.batch(
            [self.windows[i] for i in indices], [self.targets[i] for i in indices]
        )


class SpanData(QuestionData, BudgetData[SpanWindows]):
    """Questions with passages that are read in windows, for extractive question answering.

    The target of a window is the answer if the window contains all of it, otherwise no answer.
    Windows of unanswerable questions have no answer either; if the task has an answerability head,
    their target is the plausible answer, if there is one. Training leaves out questions whose
    answers do not occur in the passage, and empty questions or passages. `counts` has the number of
    all these cases.

    With `whole_words`, training answers are widened to word boundaries.

    Args:
        max_tokens: as in `BudgetData`.
        max_length: set by the task, see `SpanTask`; leave it out here.
        stride: set by the task.
        max_question_length: set by the task.
        overlap_features: set by the task.
        whole_words: set by the task.
        language: as in `GenerativeData`.
    """

    derived = (*BudgetData.derived, "reader")

    def __init__(
        self,
        corpus: str,
        tokenizer: Recipe = BytePair(),  # noqa: B008 (frozen)
        columns: JsonObject | None = None,
        seed: int = 0,
        eval_batch_tokens: int = EVAL_TOKENS,
        n_validation_example: int = N_VALIDATION_EXAMPLE,
        num_workers: int = 0,
        *,
        max_tokens: int = MAX_TOKENS,
        max_length: int | None = None,
        stride: int | None = None,
        max_question_length: int | None = None,
        overlap_features: bool | None = None,
        whole_words: bool | None = None,
        language: str | None = None,
    ) -> None:
        super().__init__(
            corpus,
            tokenizer,
            columns,
            seed,
            eval_batch_tokens,
            n_validation_example,
            num_workers,
            max_tokens=max_tokens,
        )
        self.given_language = language
        given = {
            "max_length": max_length,
            "stride": stride,
            "max_question_length": max_question_length,
            "overlap_features": overlap_features,
            "whole_words": whole_words,
        }
        self.stated |= {name: value for name, value in given.items() if value is not None}
        usual = WindowSizes()
        self.max_length = usual.max_length if max_length is None else max_length
        self.stride = usual.stride if stride is None else stride
        self.max_question_length = (
            usual.max_question_length if max_question_length is None else max_question_length
        )
        self.overlap_features = overlap_features is not False
        self.whole_words = whole_words is not False

    @property
    def reading(self) -> WindowSizes:
        """Sizes of the windows in which passages are read."""
        return WindowSizes(self.max_length, self.stride, self.max_question_length)

    @cached_property
    def reader(self) -> WindowReader:
        """Reader that cuts passages into windows.

        Raises:
            ValueError: with these sizes, parts of passages would be in no window.
        """
        reader = WindowReader(self.tokenizer, self.reading, self.overlap_features, self.whole_words)
        self.reading.check(reader.frame)
        return reader

    def encode(self, split: str) -> SpanWindows:
        questions = self.examples(split)
        whole = [question for question in questions if question.asked and question.passage.strip()]
        rows = []
        targets = []
        lost = []
        n_without = 0
        n_cut_before = self.reader.n_cut
        for question, (passage, windows) in zip(whole, self.reader.read(whole), strict=True):
            has_answer = is_answerable(question)
            span = answer_tokens(question, passage)
            if has_answer and span is None:
                lost.append(question.id)
                continue
            for window in windows:
                end = window.first + window.n_passage
                if span is not None and window.first <= span[0] and span[1] < end:
                    shift = window.n_before - window.first
                    targets.append((span[0] + shift, span[1] + shift, has_answer))
                else:
                    elsewhere = -1 if span is None else 0
                    targets.append((elsewhere, elsewhere, has_answer))
                    n_without += has_answer
                rows.append(window)
        kept = {question.id for question in whole}
        empty = [question.id for question in questions if question.id not in kept]
        self.counts |= {
            f"{split}_windows": len(rows),
            f"{split}_windows_without_the_answer": n_without,
            f"{split}_answer_lost_left_out": len(lost),
            f"{split}_empty_left_out": len(empty),
            f"{split}_questions_cut": self.reader.n_cut - n_cut_before,
        }
        if not rows:
            raise ValueError(
                f"corpus {self.corpus_name}: no question of split {split} can be trained on; look "
                "at its answers and passages"
            )
        if left := [*empty, *lost]:
            rank_zero_print(
                f"{self.corpus_name}, {split}: {len(left):,} of {len(questions):,} questions "
                f"cannot be trained on and are left out ({named(left)})"
            )
        return SpanWindows(self.reader, rows, targets)

    def evaluation_batches(
        self, examples: Sequence[Example], rank: int = 0, world: int = 1
    ) -> list[list[Example]]:
        """Return the batches of questions for process `rank` of `world`, the longest first. The
        windows of a batch have at most `eval_batch_tokens` positions, padding included.
        """
        questions: list[Question] = [as_question(example) for example in examples]
        reader = WindowReader(
            self.tokenizer, self.reading, overlap_features=False, whole_words=False
        )
        sizes = [
            (max(len(w.ids) for w in windows), len(windows))
            for _, windows in reader.read(questions)
        ]
        batches: list[list[Example]] = []
        n_window = longest = 0
        for i in sorted(range(len(examples)), key=lambda i: (-sizes[i][0], -sizes[i][1], i))[
            rank::world
        ]:
            if not batches or (n_window + sizes[i][1]) * longest > self.eval_batch_tokens:
                batches.append([])
                n_window = 0
                longest = sizes[i][0]
            batches[-1].append(examples[i])
            n_window += sizes[i][1]
        return batches

    def batching(self) -> str:
        return (
            f"max_tokens {self.max_tokens}, {self.reading}, {IN_CHECKPOINTS['overlap_features']} "
            f"{self.overlap_features}, whole words {self.whole_words}, in {self.language}"
        )


def answer_tokens(question: Question, passage: Passage) -> tuple[int, int] | None:
    """Return the indices of the first and last token of the answer or, for an unanswerable
    question, of the plausible answer. None if there is no such span in the passage.
    """
    span = question.answer_span() or question.plausible
    tokens = span and overlapping_tokens(passage.offsets, *span)
    return widen(*tokens, passage.begins, passage.ends) if tokens else None
