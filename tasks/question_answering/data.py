"""Questions, the passages that they are about, and their answers."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lslm_lightning.contracts import Example
from lslm_lightning.training.data import TaskData, say
from lslm_lightning.training.pair_data import PairData
from tasks.question_answering import prompt
from tasks.question_answering.places import nearest

NAMED = 5  # questions that a line about many names


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

    def found(self) -> tuple[int, int] | None:
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
    words, passage = (*re.split(r"[\n\t]", example.source, maxsplit=1), "")[:2]
    asked = " ".join(words.split())
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

    Args:
        language: code of the texts' language, which decides how answers are compared; by default
            that of the corpus, or the one identified from the texts.
    """

    fields = ("context", "question", "answers")
    source_fields = ("question", "context")

    def __init__(self, *args: Any, language: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.given_language = language

    @cached_property
    def language(self) -> str:
        """Language code of questions and passages; see `language_of`."""
        return self.language_of(
            (row["context"] for row in self.rows(self.telling_split)), self.given_language
        )

    def to_example(self, row: Mapping[str, Any]) -> Question:
        asked = " ".join(row["question"].split())
        passage = row["context"]
        texts = row["answers"]
        starts = places_in(passage, texts, starts_of(row))
        looks = row.get("plausible", [])
        places = zip(
            looks,
            places_in(passage, looks, starts_of(row, "plausible", "plausible_starts")),
            strict=True,
        )
        plausible = (
            None
            if any(texts)
            else next(((at, at + len(text)) for text, at in places if at is not None), None)
        )
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

    def examples(self, split: str) -> list[Question]:
        known = split in self._examples
        found = super().examples(split)
        if not known:
            self._count(split, found)
        return found

    def _count(self, split: str, questions: list[Question]) -> None:
        """Record in `counts`, and print, how many answers are not at the offsets that their rows
        state.
        """
        repaired = []
        lost = []
        n_answer = 0
        for question, row in zip(questions, self.rows(split), strict=True):
            for text, said, found in zip(
                row["answers"], starts_of(row), question.starts, strict=False
            ):
                if not text:
                    continue
                n_answer += 1
                if found is None:
                    lost.append(question.id)
                elif said not in (None, found):
                    repaired.append(question.id)
        self.counts |= {
            f"{split}_questions": len(questions),
            f"{split}_without_answer": sum(not is_answerable(q) for q in questions),
            f"{split}_starts_repaired": len(repaired),
            f"{split}_answers_not_in_passage": len(lost),
            f"{split}_plausible": sum(q.plausible is not None for q in questions),
        }
        for ids, words in (
            (repaired, "do not begin where they should and were found elsewhere"),
            (lost, "are not in their passage"),
        ):
            if ids:
                say(
                    f"{self.corpus_name}, {split}: {len(ids):,} of {n_answer:,} answers {words} "
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

    def question(self, example: Example, shots: Any) -> str:
        return prompt.question(example, shots)


class GenerativeData(QuestionData, PairData):
    """Questions with their passages as one source text, and as target the answer that most
    annotators agree on, or the empty text.

    The passage is last in the source, so it is cut if both are longer than `max_source_length`
    tokens.
    """

    may_be_empty = True

    def __init__(
        self,
        *args: Any,
        max_source_length: int = 400,
        max_target_length: int = 40,
        truncate: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            max_source_length=max_source_length,
            max_target_length=max_target_length,
            truncate=truncate,
            **kwargs,
        )

    def to_pairs(self, row: Mapping[str, Any]) -> list[tuple[str, str]]:
        example = self.to_example(row)
        [(answer, _)] = Counter(example.references).most_common(1)
        return [(example.source, answer)]


def places_in(
    passage: str, texts: Sequence[str], begins: Sequence[int | None]
) -> tuple[int | None, ...]:
    """Return the character offset of each text in the passage, of several occurrences the nearest
    to its offset in `begins`; None for a text that does not occur.
    """
    return tuple(
        nearest(passage, text, begin or 0) if text else None
        for text, begin in zip(texts, begins, strict=True)
    )


def starts_of(
    row: Mapping[str, Any], texts: str = "answers", starts: str = "starts"
) -> list[int | None]:
    """Return the character offsets that a row states for its `texts`; None for each one without.

    Raises:
        ValueError: there are more or fewer offsets than texts, or one is no number.
    """
    n = len(row.get(texts, ()))
    begins = row.get(starts)
    if begins is None:
        return [None] * n
    if len(begins) != n or not all(re.fullmatch(r"-?[0-9]+|", begin) for begin in begins):
        raise ValueError(
            f"{row['id']}: {starts}={begins} must be one number for each of its {n} {texts}; "
            f"correct it, or leave out {starts}"
        )
    return [int(begin) if begin else None for begin in begins]


def named(ids: list[str]) -> str:
    """Return the first few distinct ids as one text."""
    distinct = list(dict.fromkeys(ids))
    return ", ".join(distinct[:NAMED]) + (", ..." if len(distinct) > NAMED else "")
