"""Extractive oracle: selection of the sentences of a text that maximize ROUGE against the
references.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.text.sentences import join_sentences, joins_with_space

Gram: TypeAlias = str | tuple[str, str]  # a word, or two in a row

# No token of `metrics.rouge.UnicodeTokenizer` extends over such an end and such a beginning, even
# without a space.
_LETTER = r"\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff"
_ENDS = re.compile(rf"[{_LETTER}。！？；」』”）》】]\Z")
_BEGINS = re.compile(rf"[{_LETTER}0-9A-Za-z「『“（《【]")


def best_sentences(
    sentences: Sequence[str], references: Sequence[str], language: str, k: int
) -> list[int]:
    """Return the indices, in increasing order, of at most `k` sentences that greedily maximize
    ROUGE.

    In each step, the sentence that raises the sum of ROUGE-1 and ROUGE-2 most is added, or the
    first of several equally good ones. Selection ends when no sentence raises the sum. Source:
    Nallapati et al. 2017, section 3.
    """
    gain = Gain(sentences, references, language)
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < k:
        left = [i for i in range(len(sentences)) if i not in chosen]
        if not left or (found := max((gain(sorted([*chosen, i])), -i) for i in left))[0] <= best:
            break
        best = found[0]
        chosen.append(-found[1])
    return sorted(chosen)


class Counted(NamedTuple):
    """Counts of a text: n-grams that also occur in a reference, number of words, first and last
    word.
    """

    grams: Counter[Gram]
    n_word: int
    first: str
    last: str


class Gain:
    """Function that returns ROUGE-1 plus ROUGE-2 (F1, 0 to 200) of a selection of sentences.

    The value is exactly the one that `Rouge` gives for the joined sentences, but each sentence is
    tokenized and counted only once.
    """

    def __init__(self, sentences: Sequence[str], references: Sequence[str], language: str) -> None:
        self.sentences = sentences
        self.language = language
        self.words = words_of(language)
        cut = [self.words(reference) for reference in references]
        self.singles = [count_grams(words) for words in cut]
        self.pairs = [count_grams(pairwise(words)) for words in cut]
        self.wanted = {gram for counts in (*self.singles, *self.pairs) for gram in counts}
        has_spaces = joins_with_space(language)
        stays = has_spaces or (
            all(map(_ENDS.search, sentences[:-1])) and all(map(_BEGINS.match, sentences[1:]))
        )
        # None where a word may extend over the end of a sentence
        self.counted = [self.count(sentence) for sentence in sentences] if stays else None

    def count(self, text: str) -> Counted:
        """Return the counts of a text."""
        words = self.words(text)
        grams = count_grams(gram for gram in (*words, *pairwise(words)) if gram in self.wanted)
        return Counted(grams, len(words), *(words[:1] or [""]), *(words[-1:] or [""]))

    def __call__(self, chosen: Sequence[int]) -> float:
        """Return ROUGE-1 plus ROUGE-2 of the sentences with these indices, joined in this order."""
        if self.counted is None:
            text = self.count(join_sentences([self.sentences[i] for i in chosen], self.language))
        else:
            text = self.in_a_row(self.counted[i] for i in chosen)
        return best_f1(text, self.singles, text.n_word) + best_f1(text, self.pairs, text.n_word - 1)

    def in_a_row(self, parts: Iterable[Counted]) -> Counted:
        """Return the counts of several texts joined, including the bigram at each boundary."""
        parts = [part for part in parts if part.n_word]
        if len(parts) == 1:
            return parts[0]
        grams: Counter[Gram] = Counter()
        for part in parts:
            grams.update(part.grams)
        grams.update(seam for a, b in pairwise(parts) if (seam := (a.last, b.first)) in self.wanted)
        return Counted(grams, sum(part.n_word for part in parts), "", "")


def count_grams(grams: Iterable[Gram]) -> Counter[Gram]:
    """Return the number of occurrences of each n-gram."""
    return Counter(grams)


def best_f1(text: Counted, references: Sequence[Counter[Gram]], n_gram: int) -> float:
    """Return the highest F1 (0 to 100) of a text's n-grams of one order against any of the
    references.

    Args:
        references: counts of the n-grams of this order in each reference.
        n_gram: number of n-grams of this order in the text.
    """
    shared = [
        sum(min(n, reference[gram]) for gram, n in text.grams.items() if gram in reference)
        for reference in references
    ]
    return max(
        (
            100 * f1(n / max(n_gram, 1), n / max(reference.total(), 1))
            for n, reference in zip(shared, references)
        ),
        default=0.0,
    )


def f1(precision: float, recall: float) -> float:
    """Return the harmonic mean of precision and recall; 0.0 if both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


@cache
def words_of(language: str) -> Callable[[str], list[str]]:
    """Return the function by which ROUGE tokenizes texts of a language."""
    return Rouge("1", language).tokens
