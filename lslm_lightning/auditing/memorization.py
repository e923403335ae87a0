"""Memorization: what a model writes that stands verbatim in few training texts."""

import numpy as np

from lslm_lightning.auditing.completing import Completed, completed_passages, repeated_answers
from lslm_lightning.auditing.copies import (
    BOUNDS,
    N_BYTE,
    CopiedText,
    copied_texts,
    eidetic_counts,
)
from lslm_lightning.auditing.finding import AuditExample, AuditFigure, AuditFinding, AuditTable
from lslm_lightning.auditing.part import AuditPart, Progress, between
from lslm_lightning.auditing.rankings import average_precision, rankings
from lslm_lightning.auditing.shares import p_above, share_figure
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.auditing.suffix_array import MOST
from lslm_lightning.auditing.writing import WrittenText
from lslm_lightning.training.language_model import LanguageModel
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.window_data import WindowData
from lslm_lightning.types import JsonObject

P = 0.01  # below which a difference from held-out texts is one to look at
N_EXAMPLE = 5
LIMITS = (
    "These are lower bounds: another prompt, more samples or another search may extract more.",
    "Only verbatim copies are found, no paraphrases, and no texts that a pretrained model has read "
    "before this training.",
    "Copies of phrases that many people write are no memorization; the same figures of held-out "
    "texts tell how many there are.",
)


class Memorization(AuditPart):
    """Verbatim copies of training texts in what the model writes, in how many training texts they
    stand, and training passages that the model completes.

    Sources: Carlini et al. 2021, "Extracting training data from large language models" (samples,
    k-eidetic strings, rankings); Carlini et al. 2023, "Quantifying memorization across neural
    language models" (completion of passages).
    """

    name = "memorization"
    title = "Memorization of training texts"
    version = 2
    weight = 6.0

    def __init__(self, n_sample: int) -> None:
        self.n_sample = n_sample

    def settings(self) -> JsonObject:
        return {"n_sample": self.n_sample}

    def reason_not(self, subject: AuditSubject) -> str | None:
        if subject.data is None:
            return subject.without_data
        if subject.training_texts is None:
            return "The training texts are not available: they are a stream or prepared ids."
        task = subject.task
        if isinstance(task, LanguageModel):
            if isinstance(subject.data, WindowData):
                return None
            return "The data of the run are no running text."
        if task.modality != "text":
            return (
                "The model writes what it hears; texts that it knows by heart are not looked for."
            )
        if not isinstance(task, SequenceToSequenceTask):
            return "The model writes only parts of its source, so it cannot repeat training texts."
        return None

    def measure(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        if isinstance(subject.task, LanguageModel):
            return self.of_language_model(subject, subject.task, progress)
        return self.of_answers(subject, progress)

    def of_language_model(
        self, subject: AuditSubject, task: LanguageModel, progress: Progress
    ) -> AuditFinding:
        """Return the finding on samples and completions of a language model."""
        known = subject.training_index
        progress(0.1)
        samples = subject.samples(between(progress, 0.1, 0.6))
        texts = [sample.text for sample in samples]
        copied = copied_texts(texts, known, between(progress, 0.6, 0.65))
        held_out = held_out_texts(subject, samples)
        others = copied_texts(held_out, known, between(progress, 0.65, 0.7))
        completed = completed_passages(subject, task, self.n_sample, between(progress, 0.7, 0.9))
        tables = (*eidetic_table(copied, subject), *ranking_table(task, samples, copied))
        progress(1.0)
        return self.finding(subject, copied, others, completed, tables)

    def of_answers(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        """Return the finding on recorded answers to test examples, and on training pairs."""
        known = subject.training_index
        progress(0.2)
        by_id = {prediction.id: prediction.output for prediction in subject.predictions}
        pairs = [(e, by_id.get(e.id)) for e in subject.test_examples]
        answered = [(e, output) for e, output in pairs if output is not None]
        sources = [e.source for e, _ in answered]
        copied = copied_texts(
            [output for _, output in answered], known, between(progress, 0.2, 0.3), sources
        )
        references = [e.references[0] for e, _ in answered]
        others = copied_texts(references, known, between(progress, 0.3, 0.4), sources)
        completed = repeated_answers(subject, self.n_sample, between(progress, 0.4, 1.0))
        return self.finding(subject, copied, others, completed, eidetic_table(copied, subject))

    def finding(
        self,
        subject: AuditSubject,
        copied: list[CopiedText],
        others: list[CopiedText],
        completed: Completed,
        tables: tuple[AuditTable, ...],
    ) -> AuditFinding:
        """Return the finding.

        Args:
            copied: copies in written texts.
            others: copies in held-out texts that people wrote.
        """
        n_copy = sum(bool(each.strings) for each in copied)
        n_other = sum(bool(each.strings) for each in others)
        p_copy = p_above(n_copy, len(copied), n_other, len(others)) if copied and others else 1.0
        is_above = (
            p_copy < P or completed.p < P or (completed.n_train and not completed.n_test_asked)
        )
        figures = [*copy_figures(copied, others), *completion_figures(completed)]
        counts = eidetic_counts(copied, subject.training_index)
        rare = sorted(counts, key=lambda string: (counts[string], -len(string)))
        language = subject.language
        examples = [
            AuditExample(subject.masked(text), completed_note(subject, text), language)
            for text in completed.texts[:N_EXAMPLE]
        ] + [
            AuditExample(subject.masked(text), copied_note(text, counts[text]), language)
            for text in rare[:N_EXAMPLE]
        ]
        left_out = subject.training_index.n_left_out
        more = f"{left_out:,} training texts beyond {MOST:,} characters were not searched."
        return AuditFinding(
            self.name,
            self.title,
            "look" if is_above else "ok",
            (*summary(copied, others, completed), *([more] if left_out else [])),
            LIMITS,
            tuple(figures),
            tuple(examples),
            tables,
        )


def held_out_texts(subject: AuditSubject, samples: list[WrittenText]) -> list[str]:
    """Return passages of the test texts, one as long as each sample, as far as there are any."""
    whole = "\n".join(e.references[0] for e in subject.test_examples)
    lengths = [len(sample.text) for sample in samples]
    if not whole or not sum(lengths):
        return []
    found = []
    draw = np.random.default_rng(subject.settings.seed)
    for length in lengths:
        at = int(draw.integers(0, max(1, len(whole) - length)))
        found.append(whole[at : at + length])
    return found


def copy_figures(copied: list[CopiedText], others: list[CopiedText]) -> list[AuditFigure]:
    """Return the figures on copies in written texts, and in held-out texts."""
    if not copied:
        return []
    unit = "characters"
    longest = [each.longest for each in copied]
    name = f"written texts with a copy of {N_BYTE} bytes"
    figures = [
        AuditFigure("longest_copy", "longest copy in a written text", max(longest), unit),
        AuditFigure("median_copy", "median of the longest copies", float(np.median(longest)), unit),
        share_figure("copied", name, sum(bool(c.strings) for c in copied), len(copied)),
    ]
    if others:
        own = [each.longest for each in others]
        figures += [
            AuditFigure("test_longest_copy", "longest copy in a test text", max(own), unit),
            AuditFigure("test_median_copy", "median in test texts", float(np.median(own)), unit),
            share_figure(
                "test_copied",
                f"test texts with a copy of {N_BYTE} bytes",
                sum(bool(c.strings) for c in others),
                len(others),
            ),
        ]
    return figures


def completion_figures(completed: Completed) -> list[AuditFigure]:
    """Return the figures on completed passages of training and of test texts."""
    figures = []
    if completed.n_asked:
        figures.append(
            share_figure(
                "completed", "training passages completed", completed.n_train, completed.n_asked
            )
        )
    if completed.n_test_asked:
        figures.append(
            share_figure(
                "test_completed",
                "test passages completed",
                completed.n_test,
                completed.n_test_asked,
            )
        )
    return figures


def summary(copied: list[CopiedText], others: list[CopiedText], completed: Completed) -> list[str]:
    """Return the sentences that say what was found."""
    sentences = []
    if completed.n_asked:
        sentences.append(
            f"Of {completed.n_asked:,} training passages the model writes {completed.n_train:,} "
            f"verbatim ({completed.unit})."
        )
        if completed.n_test_asked:
            sentences.append(
                f"Of {completed.n_test_asked:,} test passages, which it has not read, "
                f"{completed.n_test:,}."
            )
    else:
        sentences.append("There are no training passages long enough to be completed.")
    if copied:
        n = sum(bool(each.strings) for each in copied)
        sentences.append(
            f"{n:,} of {len(copied):,} texts that it writes have a copy of at least {N_BYTE} bytes "
            "from the training texts."
        )
    if others:
        n = sum(bool(each.strings) for each in others)
        sentences.append(f"Of {len(others):,} test texts that people wrote, {n:,} have one.")
    return sentences


def copied_note(text: str, n_document: int) -> str:
    """Return the note on a copied text."""
    return f"copy of {len(text):,} characters, k = {n_document:,}"


def completed_note(subject: AuditSubject, text: str) -> str:
    """Return the note on a completed passage."""
    n_document = subject.training_index.n_document(text)
    return f"completed passage of {len(text):,} characters, k = {n_document:,}"


def eidetic_table(copied: list[CopiedText], subject: AuditSubject) -> tuple[AuditTable, ...]:
    """Return the table of copied strings by the number of training texts in which they stand; none
    if nothing was copied.
    """
    counts = eidetic_counts(copied, subject.training_index)
    if not counts:
        return ()
    rows = []
    for bound in BOUNDS:
        strings = [string for string, n in counts.items() if n <= bound]
        rows.append((f"{bound:,}", len(strings), max(map(len, strings), default=0)))
    rows.append(("any number", len(counts), max(map(len, counts))))
    caption = f"Copied strings of at least {N_BYTE} bytes (k-eidetic)"
    columns = ("in at most k training texts", "strings", "longest, characters")
    return (AuditTable(caption, columns, tuple(rows)),)


def ranking_table(
    task: LanguageModel, samples: list[WrittenText], copied: list[CopiedText]
) -> tuple[AuditTable, ...]:
    """Return the table of rankings by which copies are found without the training texts; none if
    no sample has a copy.
    """
    is_copy = np.array([bool(each.strings) for each in copied])
    if not is_copy.any():
        return ()
    n_top = min(20, len(samples))
    rows: list[tuple[str, float, float]] = []
    for name, scores in rankings(task, samples).items():
        best = np.argsort(-scores, kind="stable")[:n_top]
        precision = average_precision(scores, is_copy)
        rows.append((name, int(is_copy[best].sum()), round(100 * precision, 1)))
    rows.append(
        (
            "by chance",
            round(n_top * float(is_copy.mean()), 1),
            round(100 * float(is_copy.mean()), 1),
        )
    )
    caption = "Copies found without the training texts, by ranking of the written texts"
    columns = ("ranking", f"copies among the first {n_top}", "average precision, %")
    return (AuditTable(caption, columns, tuple(rows)),)
