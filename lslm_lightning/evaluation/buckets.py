"""Breakdown of scores by properties of the examples."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

from lslm_lightning.contracts import Example, Metric
from lslm_lightning.evaluation.scoring import naming
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import base_language

SMALLEST = 10  # examples; the score of fewer says nothing
# where a capital letter inside a sentence means a name; German nouns all have one
NAMES_BY_CAPITALS = ("en", "fr", "es", "it", "pt", "nl")

Unit = TypeVar("Unit", str, tuple[str, str])


@dataclass(frozen=True, slots=True)
class Bucket:
    """Group of examples with a common property, and the score of each system on the group."""

    name: str
    indices: np.ndarray  # (n,) int64
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Buckets:
    """Groups of the examples of an evaluation set by one property; `note` explains the property."""

    title: str
    note: str
    buckets: Sequence[Bucket]


def cut(
    title: str,
    note: str,
    groups: Mapping[str, np.ndarray],
    metric: Metric,
    rows: Mapping[str, np.ndarray],
    smallest: int = SMALLEST,
) -> Buckets | None:
    """Return the scores of each system on each group of examples.

    Groups with fewer than `smallest` examples are left out. The result is None if fewer than two
    groups remain.

    Args:
        title: name of the property by which examples are grouped.
        note: explanation of the property.
        groups: mask (N,) of each group, by name.
        rows: statistics (N, D) of `metric` for each system, by name.
    """
    buckets = []
    for name, mask in groups.items():
        indices = np.flatnonzero(mask)
        if len(indices) >= smallest:
            with naming(metric):
                scores = {system: metric.score(row[indices].sum(0)) for system, row in rows.items()}
            buckets.append(Bucket(name, indices, scores))
    return Buckets(title, note, buckets) if len(buckets) > 1 else None


def quartiles(
    values: np.ndarray, unit: str, n_decimal: int = 0, among: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return masks (N,) of four groups of about equal size, divided by the quartiles of `values`.

    The key of a group states its bounds, such as "5 to 9 words". Examples with equal values stay
    together, so there may be fewer than four groups.

    Args:
        values: one number per example (N,).
        unit: unit of the numbers, for the keys.
        n_decimal: decimal places in the keys.
        among: mask (N,) of the examples to group; the others are in no group.
    """
    if among is not None:
        groups = quartiles(values[among], unit, n_decimal) if among.any() else {}
        indices = np.flatnonzero(among)
        return {
            name: np.isin(np.arange(len(values)), indices[mask]) for name, mask in groups.items()
        }
    edges = np.unique(np.quantile(values, [0, 0.25, 0.5, 0.75, 1], method="nearest"))
    if len(edges) == 1:
        return {f"{edges[0]:.{n_decimal}f} {unit}": np.ones(len(values), dtype=bool)}
    groups = {}
    for i, (low, high) in enumerate(pairwise(edges)):
        last = i == len(edges) - 2
        end = high if last else values[values < high].max()
        inside = (values >= low) & ((values <= high) if last else (values < high))
        first, final = (f"{edge:.{n_decimal}f}" for edge in (low, end))
        name = first if low == end else f"{first} to {final}"
        groups[f"{name} {unit.removesuffix('s') if name == '1' else unit}"] = inside
    return groups


def standard_buckets(
    examples: Sequence[Example],
    metric: Metric,
    rows: Mapping[str, np.ndarray],
    known: Iterable[str] | None = None,
) -> list[Buckets]:
    """Return the breakdowns of a metric by reference length, numbers and names, overlap with the
    source, and rare words.

    Args:
        rows: statistics (N, D) of each system, by name.
        known: training texts of the systems, for the breakdown by rare words; None omits it.
    """
    words = [[piece for piece in segment(e.references[0]) if piece[0].isalnum()] for e in examples]
    length = np.array([len(own) for own in words])
    has_words = length > 0  # the right answer may be none
    copied, overlap = source_overlap(words, examples)
    breakdowns = [
        (
            "Length of the reference",
            "Words; characters in scripts without spaces.",
            quartiles(length, "words"),
        ),
        (
            "Numbers and names",
            "Content of the first reference: a digit; or else a capital letter after the first "
            "word of a sentence.",
            kinds_of_words(examples),
        ),
        (
            "Copied words",
            "Share of the reference's words that the source has too, in %.",
            quartiles(100 * copied, "%", among=has_words),
        ),
        (
            "Source overlap",
            "Share of the reference's word bigrams that occur in the source, in %.",
            quartiles(100 * overlap, "%", among=has_words),
        ),
    ]
    if known is not None:
        breakdowns.append(
            (
                "Rarest word",
                "Number of occurrences of the reference's rarest word in the training texts.",
                by_rarest_word(words, known),
            )
        )
    found = [cut(title, note, groups, metric, rows) for title, note, groups in breakdowns]
    return [each for each in found if each is not None]


def source_overlap(
    words: Sequence[Sequence[str]], examples: Sequence[Example]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares (N,) of the reference's words, and of its word bigrams, that also occur in
    the source.

    A share is 0 if the reference has no words or no bigrams.

    Args:
        words: words of the first reference of each example.
    """
    copied = []
    overlap = []
    for own, example in zip(words, examples, strict=True):
        source = segment(example.text.lower())
        lower = [word.lower() for word in own]
        copied.append(share_in(lower, set(source)))
        overlap.append(share_in(list(pairwise(lower)), set(pairwise(source))))
    return np.array(copied), np.array(overlap)


def share_in(units: Sequence[Unit], known: Collection[Unit]) -> float:
    """Return the share of `units` that are in `known`; 0.0 if there are no units."""
    return float(np.mean([unit in known for unit in units])) if units else 0.0


def by_rarest_word(words: Sequence[Sequence[str]], known: Iterable[str]) -> dict[str, np.ndarray]:
    """Return masks (N,) that group examples by the frequency of their rarest word in the training
    texts.

    Args:
        words: words of the first reference of each example.
        known: training texts.
    """
    counts = Counter(piece.lower() for text in known for piece in segment(text))
    rarest = np.array([min((counts[w.lower()] for w in own), default=0) for own in words])
    has_words = np.array([bool(own) for own in words])
    return {
        "never seen": has_words & (rarest == 0),
        "1 to 9 times": (rarest > 0) & (rarest < 10),
        "10 to 99 times": (rarest >= 10) & (rarest < 100),
        "100 times or more": rarest >= 100,
    }


def kinds_of_words(examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """Return masks (N,) of examples whose first reference contains a number, a name but no number,
    or neither.

    Names are recognized by capital letters. If a language is not in NAMES_BY_CAPITALS, the groups
    are "a number" and "no number".
    """
    number = np.array([bool(re.search(r"\d", e.references[0])) for e in examples])
    name = np.array(
        [
            bool(re.search(r"(?<![.!?:\"“]\s)(?<!^)\b[A-ZÀ-ÖØ-Þ]\w+", e.references[0]))
            for e in examples
        ]
    )
    if not all(base_language(e.language) in NAMES_BY_CAPITALS for e in examples):
        return {"a number": number, "no number": ~number}
    return {"a number": number, "a name, no number": name & ~number, "neither": ~name & ~number}
