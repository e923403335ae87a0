"""Word-for-word translation: a weak system that learns from a few hundred pairs in a second."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from lslm_lightning.text.chinese import segment

N_ITERATION = 5
WORD = re.compile(r"\w+|[^\w\s]")


class WordTranslator:
    """Replaces each word by its most probable translation.

    Args:
        pairs: sources and targets to learn from.
        source_language: of the texts to translate.
        target_language: of the translations.
    """

    def __init__(
        self, pairs: Sequence[tuple[str, str]], source_language: str, target_language: str
    ) -> None:
        self.language = source_language
        self.separator = "" if target_language == "zh" else " "
        self.known = learn_words(
            [cut(source, source_language) for source, _ in pairs],
            [cut(target, target_language) for _, target in pairs],
        )

    def translate(self, text: str) -> str:
        """Return the translation of a text; words that were never seen stay."""
        return self.separator.join(self.known.get(w, w) for w in cut(text, self.language))


def cut(text: str, language: str) -> list[str]:
    """Return the words and punctuation marks of a text."""
    return list(segment(text)) if language == "zh" else WORD.findall(text)


def learn_words(
    sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]
) -> Mapping[str, str]:
    """Return the most probable translation of each source word by IBM Model 1 (Brown et al. 1993),
    trained by expectation maximization.
    """
    of_source: dict[str, int] = {}
    of_target: dict[str, int] = {}
    first: list[np.ndarray] = []
    second: list[np.ndarray] = []
    places: list[np.ndarray] = []
    n_place = 0
    for source, target in zip(sources, targets, strict=True):
        a = [of_source.setdefault(word, len(of_source)) for word in source]
        b = [of_target.setdefault(word, len(of_target)) for word in target]
        first.append(np.tile(a, len(b)))
        second.append(np.repeat(b, len(a)))
        places.append(np.repeat(np.arange(n_place, n_place + len(b)), len(a)))
        n_place += len(b)
    place = np.concatenate(places).astype(int)  # of a target word in the corpus
    code = np.concatenate(first).astype(int) * len(of_target) + np.concatenate(second).astype(int)
    pairs, pair = np.unique(code, return_inverse=True)
    source_word = pairs // len(of_target)
    share = np.ones(len(pairs))
    for _ in range(N_ITERATION):
        joint = share[pair]
        expected = np.bincount(pair, joint / np.bincount(place, joint)[place], len(pairs))
        share = expected / np.bincount(source_word, expected)[source_word]
    order = np.argsort(share, kind="stable")
    names = list(of_target)
    target_word = pairs % len(of_target)
    best = dict(zip(source_word[order].tolist(), target_word[order].tolist(), strict=True))
    return {word: names[best[i]] for word, i in of_source.items() if i in best}
