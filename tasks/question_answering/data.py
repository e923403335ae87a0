"""Questions, the passages that they are asked of, and their answers."""

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
    """A question of a passage. `source` is both as one text: the question in one line, then the
    passage.

    The references of a question that the passage does not answer are the empty text alone. `starts`
    are the characters of the passage at which each reference begins, None of one that is not in it.
    `plausible` are those [start, end) of what only looks like the answer to a question without one,
    where somebody has marked it.
    """

    asked: str = ""
    passage: str = ""
    starts: tuple[int | None, ...] = ()
    plausible: tuple[int, int] | None = None

    def found(self) -> tuple[int, int] | None:
        """The characters [start, end) of the reference that most annotators agree on, of equals the
        first; None of no place.
        """
        spans = Counter(
            (start, start + len(text))
            for text, start in zip(self.references, self.starts)
            if start is not None
        )
        return max(spans, key=spans.__getitem__, default=None)


def as_question(example: Example) -> Question:
    """An example of which only the source is known: the question up to the first line end or tab,
    then the passage.

    The answer is in the language of the source, for it stands there.
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
    """Whether there is something to answer."""
    return any(example.references)


class QuestionData(TaskData):
    """A question a row, with its passage and its answers: none, one, or several that are equally
    right.

    Answers that do not begin where `starts` says are searched in the passage, and the nearest place
    is taken. How many there were, and how many are not in their passage at all, is in `counts`.

    Args:
        language: code of the texts' language, which decides what of an answer counts; by default
            what the corpus says, or what its script tells.
    """

    fields = ("context", "question", "answers")
    source_fields = ("question", "context")

    def __init__(self, *args: Any, language: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.given_language = language

    @cached_property
    def language(self) -> str:
        """Of questions and passages; see `language_of`."""
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
        """Write down, and say, where answers were not where they should be."""
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
        """Each passage once, and all questions."""
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
    """Questions with their passages as one text to read, and to write the answer that most
    annotators agree on, or nothing.

    The passage comes last, and is what is cut where both are longer than `max_source_length`
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
    """The character at which each text begins in the passage, of several places that nearest to
    where it should; None of one without.
    """
    return tuple(
        nearest(passage, text, begin or 0) if text else None
        for text, begin in zip(texts, begins, strict=True)
    )


def starts_of(
    row: Mapping[str, Any], texts: str = "answers", starts: str = "starts"
) -> list[int | None]:
    """Where a row says that each of its `texts` begins; None where it does not say.

    Raises:
        ValueError: there is not one for each, or one is no number.
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
    """The first of these ids."""
    distinct = list(dict.fromkeys(ids))
    return ", ".join(distinct[:NAMED]) + (", ..." if len(distinct) > NAMED else "")
