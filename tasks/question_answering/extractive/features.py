"""Word-overlap features of question and passage: for each word, its shape, and its matches in the
other text.

Axes: N words. Source: the features f_exact_match and f_token of Chen et al. 2017, "Reading
Wikipedia to Answer Open-Domain Questions", section 3.2. Stems replace lemmas, and shapes replace
parts of speech and names. Features of runs and sentences are additions of this project.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from torch import Tensor

from lslm_lightning.metrics.rouge import EnglishTokenizer
from lslm_lightning.text.chinese import segment_with_offsets
from lslm_lightning.text.languages import base_language
from lslm_lightning.text.sentences import split_sentences

FEATURE_SIZES = (4, 8, 4, 8, 8)
"""Number of values of each feature: match (0 none, 1 by stem, 2 except for case, 3 exact); length
of the run of words around it that both texts have; occurrences of the word in its own text, less
one; shape; and share of the question's words that the word's sentence has, in sevenths.
"""
_SHIFTS = (0, 2, 5, 7, 10)  # lowest bit of each feature in the packed integer


class AnalyzedWords(NamedTuple):
    """Words and punctuation marks of a text, with the properties that features are computed
    from.
    """

    spans: np.ndarray  # (N, 2) characters [start, end) of each word or punctuation mark
    texts: list[str]
    folded: list[str]
    stems: list[str]  # "" for punctuation
    shapes: np.ndarray  # (N,) see `shape_of`
    repeats: np.ndarray  # (N,) further occurrences in the text
    sentence: np.ndarray  # (N,) index of each word's sentence


def analyze_words(text: str, language: str) -> AnalyzedWords:
    """Split a text into words (CJK: single characters) and compute those properties of each word
    that do not depend on the other text.
    """
    pieces = segment_with_offsets(text)
    texts = [piece for piece, _ in pieces]
    spans = np.array([span for _, span in pieces], dtype=np.int64).reshape(-1, 2)
    folded = [piece.casefold() for piece in texts]
    stem = _stem() if base_language(language) == "en" else str
    stems = [stem(word) if word[0].isalnum() else "" for word in folded]
    counts = Counter(folded)
    repeats = np.array([min(counts[word], FEATURE_SIZES[2]) - 1 for word in folded], dtype=np.int64)
    shapes = np.array([shape_of(piece) for piece in texts], dtype=np.int64)
    sentence = np.searchsorted(sentence_starts(text, language)[1:], spans[:, 0], side="right")
    return AnalyzedWords(spans, texts, folded, stems, shapes, repeats, sentence)


@cache
def _stem():
    return EnglishTokenizer().stem


def shape_of(word: str) -> int:
    """Return the shape of a word: 0 punctuation, 1 letters without case, 2 lower case, 3 first
    letter capital, 4 all capitals, 5 mixed case, 6 letters and digits, 7 digits alone.
    """
    if not word[0].isalnum():
        return 0
    if any(map(str.isdigit, word)):
        return 6 if any(map(str.isalpha, word)) else 7
    if word.islower():
        return 2
    if word.isupper():
        return 4 if len(word) > 1 else 3
    if not any(c.islower() or c.isupper() for c in word):
        return 1
    return 3 if word[0].isupper() and word[1:].islower() else 5


def sentence_starts(text: str, language: str) -> list[int]:
    """Return the character offset at which each sentence begins; the first is 0."""
    starts = [0]
    at = 0
    for sentence in split_sentences(text, language):
        at = text.find(sentence, at)
        starts.append(at)
        at += len(sentence)
    return sorted(set(starts))


def word_features(own: AnalyzedWords, other: AnalyzedWords, share: np.ndarray) -> np.ndarray:
    """Return the features of each word of the text `own`, given the text `other`. All features of a
    word are packed into one integer; the result is (N,).

    Args:
        share: (N,) from 0 to 1, from `sentence_share`.
    """
    exact = set(other.texts)
    folded = set(other.folded)
    stems = set(other.stems) - {""}
    match = [
        0
        if not stem
        else 3
        if text in exact
        else 2
        if fold in folded
        else 1
        if stem in stems
        else 0
        for text, fold, stem in zip(own.texts, own.folded, own.stems, strict=True)
    ]
    parts = (
        np.array(match, dtype=np.int64),
        common_runs(own.stems, other.stems),
        own.repeats,
        own.shapes,
        np.rint(7 * share).astype(np.int64),
    )
    return sum(part << shift for part, shift in zip(parts, _SHIFTS, strict=True))


def common_runs(own: Sequence[str], other: Sequence[str]) -> np.ndarray:
    """Return for each word of `own` the length of the longest run of words around it that occurs in
    `other`, too: (N,), at most 7. Punctuation ends a run.

    Args:
        own, other: stems of the words of each text, "" for punctuation.
    """
    positions: dict[str, list[int]] = {}
    for j, stem in enumerate(other):
        if stem:
            positions.setdefault(stem, []).append(j)
    longest = np.zeros(len(own), dtype=np.int64)
    before: dict[int, int] = {}
    for i, stem in enumerate(own):
        before = {j: before.get(j - 1, 0) + 1 for j in positions.get(stem, ())}
        if before:
            n = max(before.values())
            longest[i - n + 1 : i + 1] = np.maximum(longest[i - n + 1 : i + 1], n)
    return longest.clip(max=FEATURE_SIZES[1] - 1)


def sentence_share(
    question: AnalyzedWords, passage: AnalyzedWords
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each word of the question and of the passage a share from 0 to 1: for a word of
    the passage, the weighted share of the question's words that occur in its sentence.

    The weight of a word is 1 / (number of sentences of the passage that contain it), or 1 if none
    does. Every word of the question gets the share of the best sentence.
    """
    sentences: dict[str, set[int]] = {}
    for stem, number in zip(passage.stems, passage.sentence.tolist(), strict=True):
        if stem:
            sentences.setdefault(stem, set()).add(number)
    found = np.zeros(int(passage.sentence.max(initial=0)) + 1)
    total = 0.0
    for stem in set(question.stems) - {""}:
        own = sentences.get(stem, ())
        total += 1 / max(1, len(own))
        for number in own:
            found[number] += 1 / len(own)
    found /= max(total, 1e-9)
    return np.full(len(question.texts), found.max()), found[passage.sentence]


def token_features(
    words: AnalyzedWords, features: np.ndarray, offsets: Sequence[tuple[int, int]]
) -> np.ndarray:
    """Return the features of each token. A token gets the features of the word that contains its
    first visible character, or of the next word.

    Args:
        features: (N,) features of each word.
        offsets: character span [start, end) of each token.
    """
    if not len(features):
        return np.zeros(len(offsets), dtype=np.int64)
    starts = np.array([start for start, _ in offsets], dtype=np.int64)
    return features[
        np.searchsorted(words.spans[:, 1], starts, side="right").clip(max=len(features) - 1)
    ]


def unpack_features(features: Tensor) -> list[Tensor]:
    """Unpack integers from `word_features` (...) into one tensor (...) for each feature. The values
    of a feature are below its entry in `FEATURE_SIZES`.
    """
    return [(features >> shift) % size for size, shift in zip(FEATURE_SIZES, _SHIFTS, strict=True)]
