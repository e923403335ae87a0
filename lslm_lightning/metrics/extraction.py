"""The sentences of a text that make its best summary, by ROUGE with the references in sight."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.text.sentences import join_sentences, joins_with_space

Gram: TypeAlias = str | tuple[str, str]  # a word, or two in a row

# Between such an end and such a beginning no word, number or accent of
# `metrics.rouge.UnicodeTokenizer` goes on, even without a space.
_LETTER = r"\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff"
_ENDS = re.compile(rf"[{_LETTER}。！？；」』”）》】]\Z")
_BEGINS = re.compile(rf"[{_LETTER}0-9A-Za-z「『“（《【]")


def best_sentences(
    sentences: Sequence[str], references: Sequence[str], language: str, k: int
) -> list[int]:
    """Places of at most `k` sentences, in the order of the text.

    One is added after the other as long as the sum of ROUGE-1 and ROUGE-2 grows, the one by which
    it grows most, the first of equals. Source: Nallapati et al. 2017, section 3.
    """
    gain = Gain(sentences, references, language)
    chosen = []
    best = 0.0
    while len(chosen) < k:
        left = [i for i in range(len(sentences)) if i not in chosen]
        if not left or (found := max((gain(sorted([*chosen, i])), -i) for i in left))[0] <= best:
            break
        best = found[0]
        chosen.append(-found[1])
    return sorted(chosen)


class Counted(NamedTuple):
    """Words of a text, and how often it has each gram that a reference has."""

    grams: Counter[Gram]
    n_word: int
    first: str
    last: str


class Gain:
    """ROUGE-1 plus ROUGE-2 (F1, 0 to 200) of any choice of these sentences, joined; the same number
    that `Rouge` gives, to the last bit.

    The words of a sentence are cut and counted once, not once for each choice that it is in.
    """

    def __init__(self, sentences: Sequence[str], references: Sequence[str], language: str) -> None:
        self.sentences = sentences
        self.language = language
        self.words = words_of(language)
        cut = [self.words(reference) for reference in references]
        self.singles = [Counter(words) for words in cut]
        self.pairs = [Counter(pairwise(words)) for words in cut]
        self.wanted = set().union(*self.singles, *self.pairs)
        has_spaces = joins_with_space(language)
        stays = has_spaces or (
            all(map(_ENDS.search, sentences[:-1])) and all(map(_BEGINS.match, sentences[1:]))
        )
        # None where words may grow together
        self.counted = [self.count(sentence) for sentence in sentences] if stays else None

    def count(self, text: str) -> Counted:
        words = self.words(text)
        grams = Counter(gram for gram in (*words, *pairwise(words)) if gram in self.wanted)
        return Counted(grams, len(words), *(words[:1] or [""]), *(words[-1:] or [""]))

    def __call__(self, chosen: Sequence[int]) -> float:
        """Of the sentences at these places, in this order."""
        if self.counted is None:
            text = self.count(join_sentences([self.sentences[i] for i in chosen], self.language))
        else:
            text = self.in_a_row(self.counted[i] for i in chosen)
        return best_f1(text, self.singles, text.n_word) + best_f1(text, self.pairs, text.n_word - 1)

    def in_a_row(self, parts: Iterable[Counted]) -> Counted:
        """One text of several, with the pair of words at each seam."""
        parts = [part for part in parts if part.n_word]
        if len(parts) == 1:
            return parts[0]
        grams: Counter[Gram] = Counter()
        for part in parts:
            grams.update(part.grams)
        grams.update(seam for a, b in pairwise(parts) if (seam := (a.last, b.first)) in self.wanted)
        return Counted(grams, sum(part.n_word for part in parts), "", "")


def best_f1(text: Counted, references: Sequence[Counter[Gram]], n_gram: int) -> float:
    """Of the reference that it is highest for, 0 to 100.

    Args:
        n_gram: of the text, of this order.
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
    """Their harmonic mean."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


@cache
def words_of(language: str) -> Callable[[str], list[str]]:
    """How ROUGE cuts texts of a language."""
    return Rouge("1", language).tokens
