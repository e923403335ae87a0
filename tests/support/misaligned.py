"""Outputs of simulated systems of a given quality, in the right and in wrong orders."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import sacrebleu

from lslm_lightning.evaluation.alignment import find_shift
from lslm_lightning.evaluation.disorder import find_disorder

TOLERANCE = 2.0  # chrF above the level; one more output that is right adds up to one
OFFSETS = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)


class Texts(NamedTuple):
    """Distinct references, and other texts of the same kind, from which errors are drawn."""

    references: list[str]
    others: list[str]
    separator: str  # of words; "" where there are no spaces, and a character counts as a word

    def cut(self, text: str) -> list[str]:
        """Return the words of a text."""
        return text.split(self.separator) if self.separator else list(text)


Noise = Callable[[list[str], float, random.Random, Texts], list[str]]
"""Changes the words of a reference: from `share` 0, all noise, to 1, none."""


def replaced(words: list[str], share: float, chance: random.Random, texts: Texts) -> list[str]:
    other = partial(chance.choice, texts.cut(" ".join(chance.choices(texts.others, k=20))))
    return [word if chance.random() < share else other() for word in words]


def dropped(words: list[str], share: float, chance: random.Random, texts: Texts) -> list[str]:
    return [word for word in words if chance.random() < share]


def misspelt(words: list[str], share: float, chance: random.Random, texts: Texts) -> list[str]:
    letters = "".join(chance.choices(texts.others, k=20))
    text = texts.separator.join(words)
    return texts.cut(
        "".join(c if chance.random() < share else chance.choice(letters) for c in text)
    )


def other_end(words: list[str], share: float, chance: random.Random, texts: Texts) -> list[str]:
    n = round(share * len(words))
    return words[:n] + texts.cut(chance.choice(texts.others))[n:]


def unrelated(words: list[str], share: float, chance: random.Random, texts: Texts) -> list[str]:
    return words if chance.random() < share else texts.cut(chance.choice(texts.others))


def poor(words: list[str], share: float, chance: random.Random, texts: Texts) -> list[str]:
    return words if chance.random() < share else replaced(words, 0.15, chance, texts)


def opening(words: list[str], share: float, chance: random.Random, texts: Texts) -> list[str]:
    return texts.cut(texts.others[0])[:4] + dropped(words, share, chance, texts)


def uneven(words: list[str], share: float, chance: random.Random, texts: Texts) -> list[str]:
    own = chance.betavariate(0.5 * share + 1e-3, 0.5 * (1 - share) + 1e-3)
    return replaced(words, own, chance, texts)


NOISES: Mapping[str, Noise] = {
    "words replaced": replaced,
    "words left out": dropped,
    "characters replaced": misspelt,
    "wrong ends": other_end,
    "some outputs unrelated": unrelated,
    "some outputs poor": poor,
    "the same opening": opening,
    "uneven lines": uneven,
}


def chrf(outputs: Sequence[str], references: Sequence[str]) -> float:
    return sacrebleu.corpus_chrf(outputs, [references]).score


def simulate(noise: Noise, texts: Texts, level: float, seed: str) -> list[str] | None:
    """Return outputs whose chrF is `level` or a bit more; None if this noise gives no such ones."""

    def outputs(share: float) -> list[str]:
        words = (
            (random.Random(f"{seed} {i}"), texts.cut(t)) for i, t in enumerate(texts.references)
        )
        return [texts.separator.join(noise(w, share, chance, texts)) for chance, w in words]

    low, high, found = 0.0, 1.0, outputs(0)
    if chrf(found, texts.references) >= level:
        return None
    for _ in range(9):
        share = (low + high) / 2
        tried = outputs(share)
        score = chrf(tried, texts.references)
        low, high, found = (low, share, tried) if score >= level else (share, high, found)
        if level <= score < level + TOLERANCE / 4:
            break
    return found if level <= chrf(found, texts.references) < level + TOLERANCE else None


class Disorder(NamedTuple):
    """Outputs out of order: those of lines `start` to `stop` fit references at one of `offsets`;
    without offsets, outputs are permuted. The right reference of output i is that of line
    `lines[i]`.
    """

    outputs: list[str]
    lines: list[int]
    start: int
    stop: int
    offsets: tuple[int, ...] = ()

    def is_told(self, references: list[str]) -> bool:
        """Return whether the order is said to be wrong; of a shift, by how much and about where."""
        shift = find_shift(self.outputs, references)
        if not self.offsets:
            return bool(shift or find_disorder(self.outputs, references))
        return shift is not None and (
            shift.offset in self.offsets
            and shift.last >= self.start - 3
            and shift.first <= self.stop + 4
        )


def disorders(outputs: list[str], chance: random.Random) -> Mapping[str, Disorder]:
    """Return outputs in wrong orders, by kind.

    In a run of a tenth of the lines, outputs go round, or come from some lines further up or down:
    at one end of the run some are lost, at the other doubled.
    """
    n = len(outputs)
    every = list(range(n))
    whole, moved = chance.choices(OFFSETS, k=2)
    few = chance.randint(1, 5)
    half = chance.sample(every, n // 2)
    order = dict(zip(half, chance.sample(half, n // 2), strict=True))
    start = chance.randrange(6, n - n // 10 - 6)
    stop = start + n // 10
    before, run, after = every[:start], every[start:stop], every[stop:]
    found = {
        "all shifted": (every[whole:] + every[:whole], 0, n, (whole, whole - n, whole + n)),
        "all permuted": (chance.sample(every, n), 0, n),
        "half permuted": ([order.get(i, i) for i in every], 0, n),
        "a tenth rotated": (
            [*before, *run[few:], *run[:few], *after],
            start,
            stop,
            (few, few - n // 10),
        ),
        "a tenth moved": (
            [*before, *every[start + moved : stop + moved], *after],
            start,
            stop,
            (moved,),
        ),
    }
    return {
        kind: Disorder([outputs[i] for i in lines], lines, *at)
        for kind, (lines, *at) in found.items()
    }


def is_alarm(outputs: list[str], references: list[str]) -> bool:
    """Return whether outputs are said to be in a wrong order."""
    return bool(find_shift(outputs, references) or find_disorder(outputs, references))
