"""Passages of training and of test texts that a model completes verbatim.

Source: Carlini et al. 2023, "Quantifying memorization across neural language models".
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from lslm_lightning.auditing.copies import N_BYTE
from lslm_lightning.auditing.part import between
from lslm_lightning.auditing.shares import p_above
from lslm_lightning.auditing.subject import SPLIT, AuditSubject
from lslm_lightning.auditing.writing import completions, greedy_answers
from lslm_lightning.contracts import Example
from lslm_lightning.training.language_model import LanguageModel
from lslm_lightning.training.window_data import WindowData

WIDTHS = (32, 16, 8)  # tokens of a prompt and of what is to be completed, the first that fits
FEWEST = 20  # completions


class Completed(NamedTuple):
    """Numbers of passages whose second half the model writes verbatim after the first."""

    n_train: int
    n_asked: int
    n_test: int  # the same of test passages
    n_test_asked: int
    texts: list[str]  # passages of the training texts that were completed
    unit: str  # words for what was completed, such as "the next 32 tokens"

    @property
    def p(self) -> float:
        """One-sided p-value that the share is above that of test passages; nan without them."""
        if not self.n_asked or not self.n_test_asked:
            return float("nan")
        return p_above(self.n_train, self.n_asked, self.n_test, self.n_test_asked)


def completed_passages(
    subject: AuditSubject, task: LanguageModel, n: int, progress: Callable[[float], None]
) -> Completed:
    """Return how many training passages the model completes verbatim, and how many test passages.

    Args:
        n: number of passages of each.
        progress: told the share that is done.
    """
    data = subject.data
    assert isinstance(data, WindowData)
    room = (task.max_context or 2 * WIDTHS[0]) // 2
    splits = {"train": np.asarray(data.packed("train").ids)}
    if subject.test_examples:
        splits[SPLIT] = np.asarray(data.packed(SPLIT).ids)
    end = task.tokenizer.eos_id
    draw = np.random.default_rng(subject.settings.seed)
    for width in WIDTHS:
        passages = {name: drawn(ids, 2 * width, n, end, draw) for name, ids in splits.items()}
        if width <= room and len(passages["train"]) >= FEWEST:
            break
    n_found: dict[str, int] = dict.fromkeys(passages, 0)
    texts: list[str] = []
    total = sum(map(len, passages.values()))
    before = 0
    for name, rows in passages.items():
        share = len(rows) / max(1, total)
        prompts = [[end, *row[:width]] for row in rows.tolist()]
        told = between(progress, before / max(1, total), before / max(1, total) + share)
        answers = completions(task, prompts, width, told)
        before += len(rows)
        for row, answer in zip(rows.tolist(), answers, strict=True):
            if answer == row[width:]:
                n_found[name] += 1
                if name == "train":
                    texts.append(task.tokenizer.decode(row))
    return Completed(
        n_found["train"],
        len(passages["train"]),
        n_found.get(SPLIT, 0),
        len(passages.get(SPLIT, [])),
        texts,
        f"the next {width} tokens after {width} of a text",
    )


def drawn(ids: np.ndarray, width: int, n: int, end: int, draw: np.random.Generator) -> np.ndarray:
    """Return at most `n` different passages (n, width) of a row of ids, drawn at random from those
    that contain no end of a text.
    """
    is_end = np.concatenate([[0], np.cumsum(ids == end)])
    if len(ids) < width:
        return np.empty((0, width), ids.dtype)
    inside = is_end[width:] == is_end[:-width]
    starts = np.flatnonzero(inside)
    chosen = draw.permutation(starts)[:n] if len(starts) else starts
    return (
        ids[chosen[:, None] + np.arange(width)] if len(chosen) else np.empty((0, width), ids.dtype)
    )


def repeated_answers(subject: AuditSubject, n: int, progress: Callable[[float], None]) -> Completed:
    """Return how many training sources the model answers exactly with their training target, and
    how many test sources with their reference.
    """
    data = subject.data
    assert data is not None
    draw = np.random.default_rng(subject.settings.seed)
    examples = {name: chosen_examples(data.examples(name), n, draw) for name in ("train", SPLIT)}
    whole = [*chain(*examples.values())]
    answers = greedy_answers(subject.task, whole, progress)
    is_same = [
        answer.split() == e.references[0].split() for e, answer in zip(whole, answers, strict=True)
    ]
    n_train = len(examples["train"])
    texts = [e.references[0] for e, same in zip(whole, is_same, strict=True) if same]
    return Completed(
        sum(is_same[:n_train]),
        n_train,
        sum(is_same[n_train:]),
        len(whole) - n_train,
        texts[: sum(is_same[:n_train])],
        f"the whole answer of at least {N_BYTE} bytes to a source",
    )


def chosen_examples(
    examples: Sequence[Example], n: int, draw: np.random.Generator
) -> list[Example]:
    """Return at most `n` examples, drawn at random from those with a reference of `N_BYTE` bytes or
    more that is no part of its source.
    """
    long = [
        e
        for e in examples
        if e.references
        and len(e.references[0].encode()) >= N_BYTE
        and e.references[0] not in e.source
    ]
    return [long[i] for i in draw.permutation(len(long))[:n]]
