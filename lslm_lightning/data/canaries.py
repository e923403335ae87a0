"""Canaries: random texts that are planted in the training texts, to measure what is memorized."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, TypeVar

CONSONANTS = "bdfgklmnprstvz"
VOWELS = "aeiou"
N_SYLLABLE = 4
USUAL_COUNTS = (1, 2, 4, 8, 16)
MOST_TEXTS = 100_000
Item = TypeVar("Item")


class Canary(NamedTuple):
    """Text with a random number that is planted in the training texts `n_copy` times."""

    name: str
    number: str
    n_copy: int


@dataclass(frozen=True)
class Canaries:
    """Random texts that are planted in the training texts. `lslm audit` measures afterwards how
    much better the model knows them than texts with other numbers: their exposure. Among pairs, the
    text is a target, and its source asks for it.

    Each canary has a name of its own and a number that occurs nowhere else, drawn from all numbers
    with `n_digit` digits. They are spread over the training texts, and are texts of their own.

    Source: Carlini et al. 2019, "The secret sharer".

    Args:
        n: number of canaries.
        counts: number of times that each is planted; with fewer counts than canaries, they are
            repeated in order.
        n_digit: digits of each number, up to 18: all numbers of so many digits are equally likely.
        text: text of a canary, with {name} and {number} in it, in this order; write one in the
            language of the corpus.
        seed: seed of names, numbers and positions.
        source: source of a canary among pairs, with {name} in it; texts alone have none.
    """

    n: int = 20
    counts: Sequence[int] = USUAL_COUNTS
    n_digit: int = 9
    text: str = "The number of {name} is {number}."
    seed: int = 0
    source: str = "What is the number of {name}?"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"data.canaries.n={self.n} must be at least 1; 20 is usual")
        if not self.counts or min(self.counts) < 1:
            raise ValueError(
                f"data.canaries.counts={list(self.counts)} must be whole numbers of at least 1; "
                f"{list(USUAL_COUNTS)} is usual"
            )
        if self.n * max(self.counts) > MOST_TEXTS:
            raise ValueError(
                f"data.canaries.n={self.n} times the largest of counts, {max(self.counts)}, must "
                f"be at most {MOST_TEXTS:,} planted texts; lower one of them"
            )
        if not 1 <= self.n_digit <= 18:
            raise ValueError(
                f"data.canaries.n_digit={self.n_digit} must be at least 1 and at most 18; 9 is "
                "usual"
            )
        before, _, after = self.text.partition("{name}")
        if before == self.text or after.count("{number}") != 1 or "{number}" in before:
            raise ValueError(
                f"data.canaries.text={self.text!r} must have {{name}} and then {{number}} in it, "
                "each once, such as 'The number of {name} is {number}.'"
            )
        if self.source.count("{name}") != 1 or "{number}" in self.source:
            raise ValueError(
                f"data.canaries.source={self.source!r} must have {{name}} in it once, and no "
                "{number}, such as 'What is the number of {name}?'"
            )

    def planted(self) -> list[Canary]:
        """Return the canaries, always the same ones for the same settings."""
        draw = random.Random(f"canaries {self.seed}")
        names: dict[str, None] = {}
        while len(names) < self.n:
            syllables = (draw.choice(CONSONANTS) + draw.choice(VOWELS) for _ in range(N_SYLLABLE))
            names.setdefault("".join(syllables).capitalize())
        return [
            Canary(name, self.draw_number(draw), self.counts[i % len(self.counts)])
            for i, name in enumerate(names)
        ]

    def draw_number(self, draw: random.Random) -> str:
        """Return a random number of `n_digit` digits, which may begin with zeros."""
        return f"{draw.randrange(10**self.n_digit):0{self.n_digit}}"

    def text_of(self, name: str, number: str) -> str:
        """Return the text with a name and a number."""
        return self.text.replace("{name}", name).replace("{number}", number)

    def prompt(self, name: str) -> str:
        """Return the beginning of the text of a canary, up to its number and the space before."""
        before, _, _ = self.text.partition("{number}")
        return before.replace("{name}", name).rstrip()

    def source_of(self, name: str) -> str:
        """Return the source with a name."""
        return self.source.replace("{name}", name)

    def insert(self, texts: Iterable[str], n_text: int) -> Iterator[str]:
        """Yield the texts with the canaries among them, at random positions.

        Args:
            texts: the texts.
            n_text: number of texts.
        """
        return self._spread(texts, n_text, lambda each: self.text_of(each.name, each.number))

    def insert_pairs(
        self, pairs: Iterable[tuple[str, str]], n_pair: int
    ) -> Iterator[tuple[str, str]]:
        """Yield pairs of source and target with the canaries among them, at random positions.

        Args:
            pairs: the pairs.
            n_pair: number of pairs.
        """
        return self._spread(
            pairs,
            n_pair,
            lambda each: (self.source_of(each.name), self.text_of(each.name, each.number)),
        )

    def _spread(
        self, items: Iterable[Item], n_item: int, made: Callable[[Canary], Item]
    ) -> Iterator[Item]:
        """Yield items with the canaries among them, each as `made` makes it."""
        draw = random.Random(f"positions {self.seed}")
        planted = [
            (draw.randint(0, n_item), made(each))
            for each in self.planted()
            for _ in range(each.n_copy)
        ]
        planted.sort(key=lambda pair: pair[0], reverse=True)
        for i, item in enumerate(items):
            while planted and planted[-1][0] <= i:
                yield planted.pop()[1]
            yield item
        yield from (item for _, item in reversed(planted))

    def key(self, of_pairs: bool = False) -> str:
        """Return a text that identifies the settings, for caches and resumed runs.

        Args:
            of_pairs: whether the canaries are pairs, which have sources.
        """
        settings = asdict(self)
        if not of_pairs:
            del settings["source"]
        return f"{settings}"
