"""ROUGE, computed by rouge-score, with tokenizers and sentence splitters for every language."""

import importlib.util
import logging
import warnings
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Literal, Protocol

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.extras import MissingPackageError
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import base_language, script_of_language, units_of
from lslm_lightning.text.normalization import lower_case, normalize
from lslm_lightning.text.sentences import rules_of_sentences, split_sentences


class TextTokenizer(Protocol):
    """Interface of a tokenizer that rouge-score can use."""

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        ...


class UnicodeTokenizer:
    """Tokenizer for any script: lower case, NFKC, no punctuation.

    Each CJK character is a token, as is each grapheme cluster in Thai and similar scripts. Words
    and numbers of other scripts are kept whole (see `text.chinese.segment`). rouge-score's own
    tokenizer keeps only a-z and 0-9, so that Chinese texts would have no tokens.
    """

    language = "und"

    def tokenize(self, text: str) -> list[str]:
        plain = lower_case(normalize(text, "NFKC"), self.language)
        return [
            piece for piece in segment(plain) if any(character.isalnum() for character in piece)
        ]


class TurkishTokenizer(UnicodeTokenizer):
    """`UnicodeTokenizer` with the rules for lower case of Turkish and Azerbaijani."""

    language = "tr"


class EnglishTokenizer:
    """rouge-score's own tokenizer with Porter's stemmer.

    Stems are cached, since stemming takes most of the time.
    """

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer  # slow to import, like rouge_score
        from rouge_score.tokenize import tokenize

        self._tokenize = tokenize
        self.stem = lru_cache(maxsize=200_000)(PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        return list(self._tokenize(text, self))


class JiebaTokenizer:
    """Tokenizer that segments Chinese into words with jieba's accurate mode: lower case, NFKC, no
    punctuation.

    Raises:
        ValueError: jieba is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("jieba") is None:
            needed = MissingPackageError("jieba", "words='jieba' of Rouge")
            raise ValueError(f"{needed}; or leave words at 'characters'")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in its source
            import jieba
        jieba.setLogLevel(logging.WARNING)
        self._cut = jieba.lcut

    def tokenize(self, text: str) -> list[str]:
        return [
            word
            for word in self._cut(normalize(text, "NFKC").lower())
            if any(character.isalnum() for character in word)
        ]


class CachedTokenizer:
    """Tokenizer that caches the tokens which another tokenizer returns.

    All metrics and systems tokenize the same references. A copy in another process has a cache of
    its own.

    Args:
        kind: class of the other tokenizer.
    """

    def __init__(self, kind: Callable[[], TextTokenizer]) -> None:
        self._kind = kind
        self._tokenize = lru_cache(maxsize=20_000)(kind().tokenize)

    def __reduce__(self) -> tuple[Callable[..., "CachedTokenizer"], tuple[object]]:
        return cached_tokenizer, (self._kind,)

    def tokenize(self, text: str) -> list[str]:
        return self._tokenize(text)


@cache
def cached_tokenizer(kind: Callable[[], TextTokenizer]) -> CachedTokenizer:
    """Return the cached tokenizer for a tokenizer class; all metrics share one per class."""
    return CachedTokenizer(kind)


class Rouge(Metric):
    """ROUGE: mean over examples of an F1 between answer and reference, from 0 to 100.

    English is stemmed and tokenized as in ROUGE-1.5.5; other languages as in `UnicodeTokenizer`,
    without stemming. If there are several references, the one with the highest F1 counts. Sentences
    for "Lsum" are those of `text.sentences`; a line break also ends a sentence. Source: Lin 2004.

    Args:
        kind: units of the F1: shared 1-grams ("1") or 2-grams ("2"), the longest common subsequence
            ("L"), or its summary-level variant ("Lsum").
        language: language of the answers.
        words: "jieba" counts Chinese words instead of characters; such scores are lower and have a
            name of their own ("rouge1-jieba").
    """

    unit = ""
    higher_is_better = True

    def __init__(
        self,
        kind: Literal["1", "2", "L", "Lsum"] = "1",
        language: str = "en",
        words: Literal["characters", "jieba"] = "characters",
    ) -> None:
        # imported here: nltk, which it imports, takes a second
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer

        if kind not in ("1", "2", "L", "Lsum"):
            raise ValueError(f"kind={kind!r} of Rouge must be one of '1', '2', 'L', 'Lsum'")
        base = base_language(language)
        self._language = language
        self._kind = f"rouge{kind}"
        if words == "jieba" and base != "zh":
            raise ValueError(
                f"words='jieba' of Rouge cuts Chinese, not language={language!r}; leave words at "
                "'characters'"
            )
        self.name = self._kind if words == "characters" else f"{self._kind}-{words}"
        if words == "jieba":
            tokenizer = cached_tokenizer(JiebaTokenizer)
            self._tokens = f"tok:jieba-{version('jieba')}|norm:nfkc|stem:no"
        elif base == "en":
            tokenizer = cached_tokenizer(EnglishTokenizer)
            self._tokens = "tok:rouge|stem:porter"
        else:
            case = "|case:tr" if base in ("tr", "az") else ""
            tokenizer = cached_tokenizer(TurkishTokenizer if case else UnicodeTokenizer)
            self._tokens = f"tok:{_name_of_tokens(language)}|norm:nfkc{case}|stem:no"
        # without stemming, since a stem is shorter than its word
        self._counting = DefaultTokenizer() if self._tokens.startswith("tok:rouge") else tokenizer
        self.tokens = tokenizer.tokenize
        """Function that returns the tokens of a text: lower case, stemmed for English."""
        self._scorer = RougeScorer([self._kind], tokenizer=tokenizer)

    @property
    def signature(self) -> str:
        sentences = (
            f"|sentences:{rules_of_sentences(self._language)}" if self._kind == "rougeLsum" else ""
        )
        return f"{self._tokens}{sentences}|best:f1|rouge-score:{version('rouge-score')}"

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        """Return the F1 (0 to 1) against the best reference, and a count of 1."""
        if prediction.output is None:
            return np.full(2, np.nan)
        scores = self._scorer.score_multi(
            [self._lines(reference) for reference in example.references],
            self._lines(prediction.output),
        )
        return np.array([scores[self._kind].fmeasure, 1.0])

    def _lines(self, text: str) -> str:
        return (
            "\n".join(split_sentences(text, self._language)) if self._kind == "rougeLsum" else text
        )

    def counted(self, text: str) -> list[str]:
        return self._counting.tokenize(text)

    def score(self, total: np.ndarray) -> float:
        f1, n_example = total
        return float(100 * f1 / n_example) if n_example else float("nan")


_JOINED = frozenset(
    (
        "Arab",
        "Beng",
        "Deva",
        "Gujr",
        "Guru",
        "Knda",
        "Mlym",
        "Mong",
        "Orya",
        "Sinh",
        "Syrc",
        "Taml",
        "Telu",
    )
)
"""Scripts with joiners inside words, at which earlier versions of `UnicodeTokenizer` split."""


def _name_of_tokens(language: str) -> str:
    """Return the name of the tokens of `UnicodeTokenizer` in a language, for signatures."""
    units = units_of(language)
    if units in ("graphemes", "syllables"):
        return units
    return "unicode-joined" if script_of_language(language) in _JOINED else "unicode"
