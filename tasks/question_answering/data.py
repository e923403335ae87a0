"""Questions, the passages they refer to, and their answers."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

from lslm_lightning.contracts import Example
from lslm_lightning.data.canaries import Canaries
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
    """Question about a passage. `source` joins both: the question on one line, then the passage.

    Attributes:
        references: answers; for an unanswerable question, only the empty text.
        starts: character offset in the passage of each reference; None if it does not occur there.
        plausible: character span [start, end) of a plausible but wrong answer to an unanswerable
            question; None if there is none.
    """

    asked: str = ""
    passage: str = ""
    starts: tuple[int | None, ...] = ()
    plausible: tuple[int, int] | None = None

    def with_content(self, content: bytes) -> "Question":
        """Return the question with another source, of which question and passage are parts; where
        the references occur in the passage is not known.
        """
        source = content.decode("utf-8", "surrogatepass")
        asked, _, passage = source.partition("\n")
        starts = (None,) * len(self.references)
        return replace(
            self, source=source, asked=asked, passage=passage, starts=starts, plausible=None
        )

    def answer_span(self) -> tuple[int, int] | None:
        """Return the character span [start, end) of the most frequent reference; of equally
        frequent references, the first. None if no reference occurs in the passage.
        """
        spans = Counter(
            (start, start + len(text))
            for text, start in zip(self.references, self.starts)
            if start is not None
        )
        return max(spans, key=spans.__getitem__, default=None)


def as_question(example: Example) -> Question:
    """Convert an example to a question. If it has only a source, the text up to the first line end
    or tab is the question, and the rest is the passage.

    The answer has the language of the source, since it is a part of the passage.
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
    """Question answering data: one question per row, with its passage and any number of equally
    right answers. A question without answers is unanswerable.

    An answer that does not begin at its offset in `starts` is replaced by its nearest occurrence in
    the passage. `counts` has the number of such answers, and of answers that do not occur in the
    passage.
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
        """Add to `counts`, and print, the number of answers that are not at the offsets stated in
        the corpus.
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
    """Questions for a sequence-to-sequence model. The source is the question followed by its
    passage; the target is the most frequent answer, or the empty text.

    If the source exceeds `max_source_length` tokens, the end of the passage is cut.

    Args:
        max_source_length: as in `PairData`; 400 by default.
        language: language code of the texts, which determines how answers are compared; by default
            the language of the corpus, or the language identified from the texts.
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
        canaries: Canaries | None = None,
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
            canaries=canaries,
        )
        self.given_language = language

    def to_pairs(self, row: JsonObject) -> list[tuple[str, str]]:
        example = self.to_example(row)
        [(answer, _)] = Counter(example.references).most_common(1)
        return [(example.source, answer)]


def find_offsets(
    passage: str, texts: Sequence[str], offsets: Sequence[int | None]
) -> tuple[int | None, ...]:
    """Return the character offset of each text in the passage, or None for a text that does not
    occur.

    Args:
        offsets: expected offset of each text. If a text occurs several times, its nearest
            occurrence is returned.
    """
    return tuple(
        nearest_occurrence(passage, text, offset or 0) if text else None
        for text, offset in zip(texts, offsets, strict=True)
    )


def stated_offsets(
    row: JsonObject, texts: str = "answers", starts: str = "starts"
) -> list[int | None]:
    """Return the character offsets that a row of the corpus states; None for each text without an
    offset.

    Args:
        texts: field of the row that has the texts.
        starts: field of the row that has their offsets.

    Raises:
        ValueError: the number of offsets differs from the number of texts, or an offset is no
            integer.
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
    """Return the first distinct ids as one text, for a message."""
    distinct = list(dict.fromkeys(ids))
    return ", ".join(distinct[:N_NAMED]) + (", ..." if len(distinct) > N_NAMED else "")
