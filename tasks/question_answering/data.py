"""Questions, the passages that they are about, and their answers."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from lslm_lightning.contracts import Example
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.training.budget_data import MAX_TOKENS
from lslm_lightning.training.data import (
    EVAL_TOKENS,
    N_VALIDATION_EXAMPLE,
    TaskData,
    rank_zero_print,
)
from lslm_lightning.training.pair_data import PairData
from lslm_lightning.types import JsonObject
from tasks.question_answering import prompt
from tasks.question_answering.offsets import nearest_occurrence

N_NAMED = 5  # ids that a message lists at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Example):
    """Question about a passage. `source` is both as one text: the question on one line, then the
    passage.

    The only reference of an unanswerable question is the empty text. `starts` are the character
    offsets in the passage at which the references begin, None for one that does not occur in it.
    `plausible` is the span [start, end) of a plausible but wrong answer to an unanswerable
    question, if one is annotated.
    """

    asked: str = ""
    passage: str = ""
    starts: tuple[int | None, ...] = ()
    plausible: tuple[int, int] | None = None

    def answer_span(self) -> tuple[int, int] | None:
        """Return the characters [start, end) of the reference that most annotators agree on, the
        first of several; None if no reference occurs in the passage.
        """
        spans = Counter(
            (start, start + len(text))
            for text, start in zip(self.references, self.starts)
            if start is not None
        )
        return max(spans, key=spans.__getitem__, default=None)


def as_question(example: Example) -> Question:
    """Convert an example with only a source to a question: the text up to the first line end or tab
    is the question, the rest the passage.

    The answer has the language of the source, since it is a part of it.
    """
    if isinstance(example, Question):
        return example
    first_line, passage = (*re.split(r"[\n\t]", example.source, maxsplit=1), "")[:2]
    asked = " ".join(first_line.split())
    language = example.source_language
    return Question(
        example.id,
        f"{asked}\n{passage}",
        example.references,
        language,
        language,
        asked=asked,
        passage=passage,
    )


def is_answerable(example: Example) -> bool:
    """Return whether the question has an answer."""
    return any(example.references)


class QuestionData(TaskData):
    """One question per row, with its passage and its answers: none, one, or several that are
    equally right.

    An answer that does not begin at the offset in `starts` is searched in the passage, and its
    nearest occurrence is used. `counts` has the number of such answers, and of those that do not
    occur in their passage.
    """

    fields = ("context", "question", "answers")
    source_fields = ("question", "context")

    @cached_property
    def language(self) -> str:
        """Language code of questions and passages; see `language_of`."""
        return self.language_of(
            (row["context"] for row in self.rows(self.language_split)), self.given_language
        )

    def to_example(self, row: JsonObject) -> Question:
        asked = " ".join(row["question"].split())
        passage = row["context"]
        texts = row["answers"]
        starts = find_offsets(passage, texts, stated_offsets(row))
        wrong = row.get("plausible", [])
        offsets = find_offsets(passage, wrong, stated_offsets(row, "plausible", "plausible_starts"))
        spans = (
            (at, at + len(text)) for text, at in zip(wrong, offsets, strict=True) if at is not None
        )
        plausible = None if any(texts) else next(spans, None)
        return Question(
            row["id"],
            f"{asked}\n{passage}",
            tuple(texts) or ("",),
            self.language,
            self.language,
            asked=asked,
            passage=passage,
            starts=starts or (None,),
            plausible=plausible,
        )

    def examples(self, split: str) -> Sequence[Question]:
        is_known = split in self._examples
        questions = cast(Sequence[Question], super().examples(split))
        if not is_known:
            self._count(split, questions)
        return questions

    def _count(self, split: str, questions: Sequence[Question]) -> None:
        """Record in `counts`, and print, how many answers are not at the offsets that their rows
        state.
        """
        repaired = []
        lost = []
        n_answer = 0
        for question, row in zip(questions, self.rows(split), strict=True):
            for text, stated, start in zip(
                row["answers"], stated_offsets(row), question.starts, strict=False
            ):
                if not text:
                    continue
                n_answer += 1
                if start is None:
                    lost.append(question.id)
                elif stated not in (None, start):
                    repaired.append(question.id)
        self.counts |= {
            f"{split}_questions": len(questions),
            f"{split}_without_answer": sum(not is_answerable(q) for q in questions),
            f"{split}_starts_repaired": len(repaired),
            f"{split}_answers_not_in_passage": len(lost),
            f"{split}_plausible": sum(q.plausible is not None for q in questions),
        }
        for ids, fault in (
            (repaired, "do not begin at their stated offsets and were found elsewhere"),
            (lost, "do not occur in their passages"),
        ):
            if ids:
                rank_zero_print(
                    f"{self.corpus_name}, {split}: {len(ids):,} of {n_answer:,} answers {fault} "
                    f"({named(ids)})"
                )

    def training_texts(self) -> Iterable[str]:
        """Yield each passage once, and all questions."""
        passages = set()
        for row in self.rows("train"):
            if row["context"] not in passages:
                passages.add(row["context"])
                yield row["context"]
            yield " ".join(row["question"].split())

    def text_key(self) -> str:
        return "passages questions"

    prompt_version = prompt.VERSION

    def question(self, example: Example, shots: Sequence[Example]) -> str:
        return prompt.question(example, shots)


class GenerativeData(QuestionData, PairData):
    """Questions with their passages as one source text, and as target the answer that most
    annotators agree on, or the empty text.

    The passage is last in the source, so it is cut if both are longer than `max_source_length`
    tokens.

    Args:
        max_source_length: see `PairData`; 400 by default.
        language: code of the texts' language, which decides how answers are compared; by default
            that of the corpus, or the one identified from the texts.
    """

    usual_source_length = 400
    may_be_empty = True

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
        max_source_length: int | None = None,
        max_target_length: int = 40,
        truncate: bool = True,
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
            max_source_length=max_source_length,
            max_target_length=max_target_length,
            truncate=truncate,
        )
        self.given_language = language

    def to_pairs(self, row: JsonObject) -> list[tuple[str, str]]:
        example = self.to_example(row)
        [(answer, _)] = Counter(example.references).most_common(1)
        return [(example.source, answer)]


def find_offsets(
    passage: str, texts: Sequence[str], offsets: Sequence[int | None]
) -> tuple[int | None, ...]:
    """Return the character offset of each text in the passage, of several occurrences the nearest
    to its entry in `offsets`; None for a text that does not occur.
    """
    return tuple(
        nearest_occurrence(passage, text, offset or 0) if text else None
        for text, offset in zip(texts, offsets, strict=True)
    )


def stated_offsets(
    row: JsonObject, texts: str = "answers", starts: str = "starts"
) -> list[int | None]:
    """Return the character offsets that a row states for its `texts`; None for each one without.

    Raises:
        ValueError: there are more or fewer offsets than texts, or one is no number.
    """
    n = len(row.get(texts, ()))
    offsets = row.get(starts)
    if offsets is None:
        return [None] * n
    if len(offsets) != n or not all(re.fullmatch(r"-?[0-9]+|", offset) for offset in offsets):
        raise ValueError(
            f"{row['id']}: {starts}={offsets} must be one number for each of its {n} {texts}; "
            f"correct it, or remove the field {starts}"
        )
    return [int(offset) if offset else None for offset in offsets]


def named(ids: list[str]) -> str:
    """Return the first few distinct ids as one text."""
    distinct = list(dict.fromkeys(ids))
    return ", ".join(distinct[:N_NAMED]) + (", ..." if len(distinct) > N_NAMED else "")
