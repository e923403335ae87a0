"""Normalization rules for short answers, by language, which determine what differences are
ignored.
"""

import re
import string
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import regex

from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import base_language, script_of_language, units_of
from lslm_lightning.text.normalization import lower_case

if TYPE_CHECKING:
    from nltk.tokenize import NLTKWordTokenizer

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_ENGLISH_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Punctuation of ASCII, as Python defines it, and of Unicode.
_PUNCTUATION = regex.compile(rf"[\p{{P}}{re.escape(string.punctuation)}]")
# Source: `remove_articles` of MLQA's evaluation script, v1 (Lewis et al. 2020); Hindi has none.
_ARTICLES = {
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "ar": re.compile("ال"),
}
# Source: the list of CMRC 2018's script, whose "……" is two characters and so never equals one: an
# ellipsis stays.
_CHINESE_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CHINESE = re.compile(r"[\u4e00-\u9fa5]")


class Rules(ABC):
    """Normalization and tokenization of short answers in one language."""

    signature: str

    @abstractmethod
    def plain(self, text: str) -> str:
        """Return the normalized text, which is the same for equal answers; "" if nothing
        remains.
        """

    @abstractmethod
    def words(self, text: str) -> list[str]:
        """Return the words of the normalized text, for partial agreement."""

    @abstractmethod
    def shared(self, first: Sequence[str], second: Sequence[str]) -> int:
        """Return the number of words that two answers, given as lists of words, have in common."""

    def counted(self, text: str) -> list[str]:
        """Return the words of `text` that are compared, including articles."""
        return self.words(text)


class Spaced(Rules):
    """Rules of SQuAD for English: lower case, without punctuation and articles.

    Words are separated by spaces, and their order is ignored. Source: `normalize_answer` and
    `compute_f1` of SQuAD's evaluation scripts, v1.1 and v2.0.
    """

    signature = "norm:lower,punctuation,articles|tok:spaces|match:words|rules:squad"

    def plain(self, text: str) -> str:
        return " ".join(self.words(text))

    def words(self, text: str) -> list[str]:
        return _ARTICLE.sub(" ", text.lower().translate(_ENGLISH_PUNCTUATION)).split()

    def shared(self, first: Sequence[str], second: Sequence[str]) -> int:
        return (Counter(first) & Counter(second)).total()

    def counted(self, text: str) -> list[str]:
        return text.lower().translate(_ENGLISH_PUNCTUATION).split()


class Worldwide(Rules):
    """Rules of MLQA: lower case, without Unicode punctuation and, if MLQA lists them for the
    language, without articles.

    Words are separated by spaces, and their order is ignored. In languages without spaces, the
    units of `text.chinese.segment` are the words. Source: `normalize_answer` and `f1_score` of
    MLQA's evaluation script, v1, for languages with spaces.
    """

    def __init__(self, language: str) -> None:
        base = base_language(language)
        self._units = units_of(language)
        self._language = language
        self._article = _ARTICLES.get(base)
        articles = f",articles-{base}" if self._article else ""
        cut = "spaces" if self._units == "words" else self._units
        rules = "|rules:mlqa" if self._units == "words" else ""
        lower = "lower-tr" if base in ("tr", "az") else "lower"
        self.signature = f"norm:{lower},punctuation-unicode{articles}|tok:{cut}|match:words{rules}"

    def plain(self, text: str) -> str:
        return " ".join(self.words(text))

    def words(self, text: str) -> list[str]:
        if self._units != "words":
            return self.counted(text)
        plain: str = _PUNCTUATION.sub("", lower_case(text, self._language))
        return (self._article.sub(" ", plain) if self._article else plain).split()

    def shared(self, first: Sequence[str], second: Sequence[str]) -> int:
        return (Counter(first) & Counter(second)).total()

    def counted(self, text: str) -> list[str]:
        if self._units == "words":
            plain: str = _PUNCTUATION.sub("", lower_case(text, self._language))
            return plain.split()
        # without punctuation, which `segment` returns as pieces of their own
        return [piece for piece in segment(text.lower()) if not _PUNCTUATION.fullmatch(piece)]


class Mixed(Rules):
    """Rules of CMRC 2018 for Chinese: lower case, without punctuation; the longest common run of
    tokens is compared.

    Each Chinese character is a token. Text between Chinese characters is tokenized by NLTK's
    English word tokenizer, but without NLTK's sentence splitter, which would need another download.
    Source: `remove_punctuation`, `mixed_segmentation` and `find_lcs` of CMRC 2018's evaluation
    script, v5.
    """

    def __init__(self) -> None:
        tokens = f"tok:characters,nltk-{version('nltk')}"
        self.signature = f"norm:lower,punctuation|{tokens}|match:longest-run|rules:cmrc2018"

    def plain(self, text: str) -> str:
        return "".join(
            character for character in text.lower().strip() if character not in _CHINESE_PUNCTUATION
        )

    def words(self, text: str) -> list[str]:
        words: list[str] = []
        for part in re.split(f"({_CHINESE.pattern})", self.plain(text)):
            words += [part] if _CHINESE.match(part) else _english_words(part)
        return words

    def shared(self, first: Sequence[str], second: Sequence[str]) -> int:
        longest = 0
        before = [0] * (len(second) + 1)
        for word in first:
            after = [0] * (len(second) + 1)
            for j, other in enumerate(second, 1):
                if word == other:
                    after[j] = before[j - 1] + 1
            longest = max(longest, *after)
            before = after
        return longest


def _english_words(text: str) -> list[str]:
    return list(_tokenizer().tokenize(text)) if text.strip() else []


@cache
def _tokenizer() -> "NLTKWordTokenizer":
    from nltk.tokenize import NLTKWordTokenizer  # slow to import

    return NLTKWordTokenizer()


def rules_of(language: str) -> Rules:
    """Return the rules for a language: those of SQuAD for English, of CMRC 2018 for Chinese, and of
    MLQA for all others.
    """
    if base_language(language) == "en":
        return Spaced()
    return (
        Mixed() if script_of_language(language) in ("Hans", "Hant", "Hani") else Worldwide(language)
    )
