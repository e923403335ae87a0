"""Baselines, which need no trained model."""

import lzma
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from lslm_lightning.contracts import (
    Answers,
    CannotError,
    Example,
    Generator,
    Mode,
    Prediction,
    Scorer,
    pair_answers,
)
from lslm_lightning.metrics.extraction import best_sentences
from lslm_lightning.text.sentences import join_sentences, split_sentences


class RuleBaseline(Generator):
    """Baseline that computes its answer from an example by a rule.

    Args:
        answer: the rule.
        modality: modality of the sources that the rule reads; None if it ignores the source.
    """

    is_baseline = True

    def __init__(
        self, name: str, answer: Callable[[Example], str], modality: str | None = "text"
    ) -> None:
        self.name = name
        self._answer = answer
        self.modality = modality

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        for example in examples:
            yield Prediction(example.id, self._answer(example))


class CopySource(RuleBaseline):
    """Baseline that returns the source unchanged."""

    def __init__(self) -> None:
        super().__init__("copy of the source", lambda example: example.source)


class FirstSentences(RuleBaseline):
    """Baseline that returns the first `k` sentences of the source (lead-k); it is strong on
    news.
    """

    def __init__(self, k: int = 3) -> None:
        if k < 1:
            raise ValueError(f"k={k} of FirstSentences must be at least 1")
        name = "first sentence" if k == 1 else f"first {k} sentences"
        super().__init__(
            name,
            lambda example: join_sentences(
                split_sentences(example.source, example.source_language)[:k], example.language
            ),
        )


class LongestSentence(RuleBaseline):
    """Baseline that returns the sentence of the source with the most characters; the first one if
    several are equally long.
    """

    def __init__(self) -> None:
        def longest(example: Example) -> str:
            return max(
                split_sentences(example.source, example.source_language), key=len, default=""
            )

        super().__init__("longest sentence", longest)


class ExtractiveOracle(RuleBaseline):
    """Upper bound for extractive summarizers: the best `k` or fewer sentences of the source,
    selected by their ROUGE score against the references.

    Sentences are returned in the order of the source; see `best_sentences`.
    """

    is_baseline = False  # it sees the references

    def __init__(self, k: int = 3) -> None:
        if k < 1:
            raise ValueError(f"k={k} of ExtractiveOracle must be at least 1")
        super().__init__(f"extractive oracle, {k}", lambda example: self._choose(example, k))

    def _choose(self, example: Example, k: int) -> str:
        sentences = split_sentences(example.source, example.source_language)
        chosen = best_sentences(sentences, example.references, example.language, k)
        return join_sentences([sentences[i] for i in chosen], example.language)


def most_frequent(answers: Sequence[str]) -> RuleBaseline:
    """Return a baseline that always gives the most frequent of these training answers, or the first
    of several equally frequent ones.
    """
    [(answer, _)] = Counter(answers).most_common(1)
    return RuleBaseline("most frequent answer", lambda example: answer, modality=None)


def random_answer(answers: Sequence[str], seed: int = 0) -> RuleBaseline:
    """Return a baseline that gives a random one of these training answers.

    The choice depends only on `seed` and the id of the example.
    """
    return RuleBaseline(
        "random answer",
        lambda example: random.Random(f"{seed} {example.id}").choice(answers),
        modality=None,
    )


class UniformBytes(Scorer):
    """Baseline that assigns the same probability to every byte, which gives 8 bits per byte on any
    text.
    """

    is_baseline = True
    name = "uniform bytes"

    def signature(self, mode: Mode) -> str:
        """Return the part of a score's signature which states that tokens are bytes.

        `mode` has no effect.
        """
        return "|tokens:bytes"

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions with the negative log probability, in nats, of the first references or
        of `answers`.

        The source has no influence, and the end of the text costs nothing.
        """
        pairs = (
            [(example, example.references[0]) for example in examples]
            if answers is None
            else pair_answers(examples, answers)
        )
        for example, text in pairs:
            size = len(text.encode())
            output = None if answers is None else text
            yield Prediction(example.id, output, nats=8 * math.log(2) * size, n_token=size)


class Xz(Scorer):
    """Baseline that compresses the text of the whole evaluation set with `xz -9`.

    The compressed bits are divided evenly among the bytes of the text. No training text is used.
    """

    name = "xz -9"
    is_baseline = True
    needs_all_examples = True
    shardable = False

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions with the size, in nats, of the first reference of each example.

        Raises:
            CannotError: `answers` are given, for which a compressor has no probability.
        """
        if answers is not None:
            raise CannotError(f"{self.name} packs texts, and gives no probability of an answer")
        sizes = [len(e.references[0].encode()) for e in examples]
        n_bit = 8 * len(
            lzma.compress("".join(e.references[0] for e in examples).encode(), preset=9)
        )
        for example, size in zip(examples, sizes, strict=True):
            yield Prediction(example.id, nats=math.log(2) * n_bit * size / max(1, sum(sizes)))
