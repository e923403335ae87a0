"""Where a system is good and where it is not: scores of examples that have something in common."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lslm_lightning.contracts import Example, Metric
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import base_language

SMALLEST = 10  # examples; the score of fewer says nothing
# where a capital letter inside a sentence means a name; German nouns all have one
NAMES_BY_CAPITALS = ("en", "fr", "es", "it", "pt", "nl")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Examples with something in common, by their places in the exam, and every system's score on
    them.
    """

    name: str
    places: np.ndarray  # (n,) int64
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Buckets:
    """An exam cut along one property, which `note` explains."""

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
    """Scores by group (a mask (N,) each); None unless two groups have `smallest` examples or
    more.
    """
    places = {name: np.flatnonzero(mask) for name, mask in groups.items()}
    found = [
        Bucket(name, at, {system: metric.score(found[at].sum(0)) for system, found in rows.items()})
        for name, at in places.items()
        if len(at) >= smallest
    ]
    return Buckets(title, note, found) if len(found) > 1 else None


def quartiles(
    values: np.ndarray, unit: str, places: int = 0, among: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Four groups of about equal size by a number, named by their bounds; equal values stay
    together, so there may be fewer.

    Args:
        among: (N,) bool, True of those that are meant; others are in no group.
    """
    if among is not None:
        found = quartiles(values[among], unit, places) if among.any() else {}
        at = np.flatnonzero(among)
        return {name: np.isin(np.arange(len(values)), at[mask]) for name, mask in found.items()}
    edges = np.unique(np.quantile(values, [0, 0.25, 0.5, 0.75, 1], method="nearest"))
    if len(edges) == 1:
        return {f"{edges[0]:.{places}f} {unit}": np.ones(len(values), dtype=bool)}
    groups = {}
    for i, (low, high) in enumerate(pairwise(edges)):
        last = i == len(edges) - 2
        end = high if last else values[values < high].max()
        inside = (values >= low) & ((values <= high) if last else (values < high))
        name = f"{low:.{places}f}" if low == end else f"{low:.{places}f} to {end:.{places}f}"
        groups[f"{name} {unit.removesuffix('s') if name == '1' else unit}"] = inside
    return groups


def standard_buckets(
    examples: Sequence[Example],
    metric: Metric,
    rows: Mapping[str, np.ndarray],
    known: Iterable[str] | None = None,
) -> list[Buckets]:
    """An exam of written answers by length, by numbers and names, by what can be copied, and by
    rare words.

    Args:
        known: the texts that answers were learned from, for rare words; None leaves that one out.
    """
    words = [[piece for piece in segment(e.references[0]) if piece[0].isalnum()] for e in examples]
    sources = [set(segment(e.text.lower())) for e in examples]
    copied = np.array(
        [
            np.mean([w.lower() in source for w in own]) if own else 0.0
            for own, source in zip(words, sources)
        ]
    )
    pairs = [set(pairwise(segment(e.text.lower()))) for e in examples]
    overlap = np.array(
        [
            np.mean([p in there for p in pairwise([w.lower() for w in own])] or [0.0])
            for own, there in zip(words, pairs)
        ]
    )
    length = np.array([len(own) for own in words])
    worded = length > 0  # the right answer may be none
    found = [
        cut(
            "Length of the reference",
            "Words; characters in scripts without spaces.",
            quartiles(length, "words"),
            metric,
            rows,
        ),
        cut(
            "Numbers and names",
            (
                "By what the first reference holds: a digit; or else a capital letter after the "
                "first word of a sentence."
            ),
            kinds_of_words(examples),
            metric,
            rows,
        ),
        cut(
            "Copied words",
            "Share of the reference's words that the source has too, in %.",
            quartiles(100 * copied, "%", among=worded),
            metric,
            rows,
        ),
        cut(
            "Source overlap",
            (
                "Share of the reference's word pairs that stand in the source one after the other, "
                "in %."
            ),
            quartiles(100 * overlap, "%", among=worded),
            metric,
            rows,
        ),
    ]
    if known is not None:
        counts = Counter(piece.lower() for text in known for piece in segment(text))
        rarest = np.array([min((counts[w.lower()] for w in own), default=0) for own in words])
        groups = {
            "never seen": worded & (rarest == 0),
            "1 to 9 times": (rarest > 0) & (rarest < 10),
            "10 to 99 times": (rarest >= 10) & (rarest < 100),
            "100 times or more": rarest >= 100,
        }
        found.append(
            cut(
                "Rarest word",
                "How often training texts have the reference's rarest word.",
                groups,
                metric,
                rows,
            )
        )
    return [each for each in found if each]


def kinds_of_words(examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """Masks (N,) of examples whose first reference has a number, has none but a name, or has
    neither.
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
