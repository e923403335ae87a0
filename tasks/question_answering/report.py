"""Report sections of question answering: scores by kind of question, calibration, and answers
marked in their passages.
"""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.buckets import cut, quartiles
from lslm_lightning.evaluation.comparison import THIS
from lslm_lightning.localization import Term, verbatim
from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
from lslm_lightning.reports.blocks import Cell, Heading, Section, Table, Text
from lslm_lightning.reports.marking import MarkedText
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import base_language
from tasks.question_answering import calibration
from tasks.question_answering.data import Question, as_question, is_answerable
from tasks.question_answering.offsets import nearest_occurrence

N_MARKED = 12
ENGLISH = {
    "how many": "how many|how much",
    "who": "who|whom|whose",
    **{word: word for word in ("what", "which", "when", "where", "why", "how")},
}
CHINESE = {
    "为什么": "为什么|为何|何故",
    "何时": "什么时候|何时|哪一?年|几时",
    "多少": "多少|几",
    "谁": "谁",
    "哪": "哪",
    "怎么": "怎|如何",
    "什么": "什么|何",
}
OTHER: str = Term("other")


def sections(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Section]:
    """Return the sections of a run's report."""
    by_id = {p.id: p for p in predictions}
    own = [by_id[e.id] for e in examples]
    columns: dict[str, np.ndarray] = {
        Term(metric.name): rows_of(metric, examples, own)
        for metric in (ExactMatch(examples[0].language), TokenF1(examples[0].language))
    }
    found = [
        answered(examples, {THIS: own}),
        breakdown(examples, columns, "exact match and F1"),
    ]
    return [*found, *calibration_section(examples, {THIS: own}), marked(examples, own)]


def compared(
    examples: Sequence[Example], outputs: Mapping[str, Sequence[Prediction]]
) -> list[Section]:
    """Return the sections of an evaluation: scores by kind of question, and the calibration of
    systems that give probabilities.
    """
    ids = {e.id for e in examples}
    every = {name: {p.id: p for p in own if p.id in ids} for name, own in outputs.items()}
    systems = {
        name: [own[e.id] for e in examples]
        for name, own in every.items()
        if all(p.output is not None for p in own.values())
    }
    if not systems:
        return []
    metric = TokenF1(examples[0].language)
    columns = {name: rows_of(metric, examples, own) for name, own in systems.items()}
    return [
        answered(examples, systems),
        breakdown(examples, columns, "F1"),
        *calibration_section(examples, systems),
    ]


def rows_of(
    metric: ExactMatch | TokenF1, examples: Sequence[Example], answers: Sequence[Prediction]
) -> np.ndarray:
    """Return the statistics (N, 2) of the answers in a metric."""
    return metric.rows(examples, answers)


def answered(examples: Sequence[Example], systems: Mapping[str, Sequence[Prediction]]) -> Section:
    """Return a section with scores on questions with an answer and without one, as SQuAD's script
    reports them (HasAns, NoAns).
    """
    exact = ExactMatch(examples[0].language)
    f1 = TokenF1(examples[0].language)
    has = np.array([is_answerable(e) for e in examples])
    rows: list[list[Cell]] = []
    for name, own in systems.items():
        scores = [rows_of(metric, examples, own)[:, 0] for metric in (exact, f1)]
        given = np.array([bool(exact.rules.plain(p.output or "")) for p in own])
        for kind, mask in (("with an answer", has), ("without one", ~has)):
            if mask.any():
                rows.append(
                    [
                        name,
                        Term(kind),
                        int(mask.sum()),
                        *(100 * float(s[mask].mean()) for s in scores),
                        100 * float(given[mask].mean()),
                    ]
                )
    columns: list[Heading | str] = [
        "system",
        "questions",
        "number",
        Heading("exact match", "%", True),
        Heading("F1", "%", True),
        Heading("answered", "%"),
    ]
    return Section("Questions with and without an answer", [Table(columns, rows)])


def breakdown(examples: Sequence[Example], columns: Mapping[str, np.ndarray], what: str) -> Section:
    """Return a section with scores by question word, by length of the answer, and by length of the
    passage.

    Args:
        columns: F1 statistics (N, 2) by system.
        what: name of the score, for the title.
    """
    metric = TokenF1(examples[0].language)
    questions = [as_question(e) for e in examples]
    has = np.array([is_answerable(q) for q in questions])
    words = [question_word(q.asked, q.language) for q in questions]
    by_word = {
        word: np.array([own == word for own in words]) for word in (*ENGLISH, *CHINESE, OTHER)
    }
    length = np.array([len(metric.counted(q.references[0])) for q in questions])
    by_length = {"no answer": ~has, **quartiles(length, "words", among=has)}
    passage = quartiles(np.array([len(segment(q.passage)) for q in questions]), "words")
    unit = "characters in scripts without spaces."
    cuts = [
        cut("Question word", "The first known one in the question.", by_word, metric, columns),
        cut(
            "Length of the answer",
            f"Words of the first reference; {unit}",
            by_length,
            metric,
            columns,
        ),
        cut("Length of the passage", f"Words; {unit}", passage, metric, columns),
    ]
    tables = []
    for found in filter(None, cuts):
        rows: list[list[Cell]] = [
            [
                bucket.name if found is cuts[0] else Term(bucket.name),
                len(bucket.indices),
                *bucket.scores.values(),
            ]
            for bucket in found.buckets
        ]
        names = [found.title.lower(), "questions", *map(verbatim, columns)]
        tables.append(Table(names, rows, found.title, [found.note]))
    return Section(
        f"Breakdown by {what}",
        tables or [Text("There are too few questions for a breakdown.")],
    )


def question_word(text: str, language: str) -> str:
    """Return the question word of a question: in Chinese the first entry of `CHINESE` that occurs,
    otherwise the first known word of the question; `OTHER` if there is none.
    """
    if base_language(language) == "zh":
        return next((word for word, pattern in CHINESE.items() if re.search(pattern, text)), OTHER)
    found = re.search(rf"\b(?:{'|'.join(ENGLISH.values())})\b", text.lower())
    return next(
        (word for word, pattern in ENGLISH.items() if found and re.fullmatch(pattern, found[0])),
        OTHER,
    )


def calibration_section(
    examples: Sequence[Example], systems: Mapping[str, Sequence[Prediction]]
) -> list[Section]:
    """Return a section with the calibration of the systems that give probabilities, in a list; an
    empty list if no system does.
    """
    exact = ExactMatch(examples[0].language)
    found = {}
    for name, own in systems.items():
        nats = [p.nats for p in own if p.nats is not None]
        if len(nats) == len(own):
            confidence = np.array([math.exp(-value) for value in nats])
            found[name] = calibration.calibrate(confidence, rows_of(exact, examples, own)[:, 0])
    return [calibration.section(found)] if found else []


def marked(examples: Sequence[Example], answers: Sequence[Prediction]) -> Section:
    """Return a section with some passages, evenly spaced, in which the expected and the given
    answer are marked.
    """
    n = min(N_MARKED, len(examples))
    chosen = [i * len(examples) // n for i in range(n)]
    note = "Underlined: the right answer. Tinted: the given answer."
    return Section(
        "Answers in their passages",
        [Text(note), *(in_passage(as_question(examples[i]), answers[i]) for i in chosen)],
    )


def in_passage(question: Question, answer: Prediction) -> MarkedText:
    """Return a passage with the expected and the given answer marked. If the given answer occurs
    several times, the occurrence nearest to the expected answer is marked.
    """
    wanted = question.answer_span()
    output = answer.output or ""
    start = (
        nearest_occurrence(question.passage, output, wanted[0] if wanted else 0) if output else None
    )
    given = None if start is None else (start, start + len(output))
    lacking = (
        f"Right answer, not in the passage: {question.references[0]}."
        if is_answerable(question)
        else "The passage has no answer."
    )
    notes = [] if wanted else [lacking]
    if not given:
        notes.append(
            f"Given answer, not in the passage: {output}." if output else "No answer was given."
        )
    if answer.nats is not None:
        notes.append(f"Confidence {100 * math.exp(-answer.nats):.0f} %.")
    return MarkedText(question.passage, wanted, given, question.asked, notes, question.language)
