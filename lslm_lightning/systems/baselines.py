"""Answers that need no model: what every model has to beat."""

import lzma
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from lslm_lightning.contracts import Example, Prediction


class Rule:
    """A system that makes its answer from the source alone."""

    def __init__(self, name: str, answer: Callable[[Example], str]) -> None:
        self.name, self._answer = name, answer

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        for example in examples:
            yield Prediction(example.id, self._answer(example))


def copy_source() -> Rule:
    """The source as it stands."""
    return Rule("copy of the source", lambda example: example.source)


def most_frequent(answers: Sequence[str]) -> Rule:
    """Always the same: the most frequent of these (training) answers, the first of equals."""
    [(answer, _)] = Counter(answers).most_common(1)
    return Rule("most frequent answer", lambda example: answer)


def random_answer(answers: Sequence[str], seed: int = 0) -> Rule:
    """One of these (training) answers at random, by the example's id."""
    return Rule("random answer", lambda example: random.Random(f"{seed} {example.id}").choice(answers))


class Xz:
    """`xz -9` on the text of the whole exam, its bits shared evenly among the bytes: knows no training text."""

    name = "xz -9"

    def log_prob(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        sizes = [len(e.references[0].encode()) for e in examples]
        n_bit = 8 * len(lzma.compress("".join(e.references[0] for e in examples).encode(), preset=9))
        for example, size in zip(examples, sizes, strict=True):
            yield Prediction(example.id, nats=math.log(2) * n_bit * size / max(1, sum(sizes)))
