"""CJK characters, and segmentation of text that is written without spaces."""

import re
from contextlib import suppress
from functools import lru_cache

import regex

from lslm_lightning.text.scripts import COMPLEX_CLASS

# Source: Unicode 16, Blocks.txt and Scripts.txt.
_HAN = (
    r"\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_KANA = (
    r"\u3031-\u3035\u3041-\u3096\u3099-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    r"\U0001aff0-\U0001b16f"
)
_BOPOMOFO = r"\u02ea\u02eb\u3105-\u312f\u31a0-\u31bf"
_HANGUL = r"\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7fb\uffa0-\uffdc"
_IS_CJK = re.compile(f"[{_HAN}{_KANA}{_BOPOMOFO}{_HANGUL}]")


_ALONE = rf"{_HAN}{_KANA}{_BOPOMOFO}{_HANGUL}\p{{Script=Yiii}}\p{{Script=Tang}}\p{{Script=Nshu}}"
# Joiners belong to the word around them (Unicode Standard Annex 29, rule WB4), as in Persian and
# Sinhala.
_WORD = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{_ALONE}]--{COMPLEX_CLASS}]"
_PIECE = regex.compile(
    rf"""[{_ALONE}]
    | (?={COMPLEX_CLASS})\X\p{{M}}*
    | \d+(?:[.,]\d+)+
    | {_WORD}(?:{_WORD}|[\u200c\u200d])*
    | [\S--[\u0f0b\u0f0c]]""",
    regex.VERSION1 | regex.VERBOSE,
)
# the same pieces where no letter stands alone and none joins others, three times as fast
_LATIN_PIECE = regex.compile(r"\d+(?:[.,]\d+)+|[\p{L}\p{N}]+|\S", regex.VERSION1)
_BEYOND_LATIN = "\u02ea"  # a letter of Bopomofo


def segment(text: str) -> list[str]:
    """Return text split into the smallest units that a reader would count.

    Each CJK character is a unit. Thai and other scripts without spaces are split into grapheme
    clusters (characters with their vowel signs and tones). Other words, Tibetan syllables (without
    the dots between them) and numbers are kept whole, and every other symbol is a unit. No
    dictionary is needed, so the result is the same on every machine: 'iPhone 15卖3.5万。' gives
    iPhone, 15, 卖, 3.5, 万, 。
    """
    pieces = _LATIN_PIECE if max(text, default="") < _BEYOND_LATIN else _PIECE
    return pieces.findall(text)


def cjk_share(text: str) -> float:
    """Return the fraction (0..1) of CJK characters among all CJK characters and words of other
    scripts; 0 for a text without letters.
    """
    counted = [piece for piece in segment(text) if piece[0].isalpha() or _IS_CJK.match(piece)]
    return sum(map(bool, map(_IS_CJK.match, counted))) / len(counted) if counted else 0.0


def segment_with_offsets(text: str) -> list[tuple[str, tuple[int, int]]]:
    """Return the units of `segment`, each with its character offsets [start, end) in `text`."""
    return [(match.group(), match.span()) for match in _PIECE.finditer(text)]


def variant_of_han(text: str) -> str:
    """Return "Hans" if a Chinese text is in Simplified characters, "Hant" if it is in Traditional
    ones, and "" if it has as many of both, or none that tells.

    GB 2312 encodes Simplified characters alone, Big5 Traditional ones alone.
    """
    found = sum(map(_variant, text))
    return "Hans" if found > 0 else "Hant" if found < 0 else ""


@lru_cache(maxsize=50_000)
def _variant(character: str) -> int:
    """Return 1 for a Simplified character, -1 for a Traditional one, and 0 for any other."""
    found = 0
    if re.match(f"[{_HAN}]", character):
        for encoding, weight in (("gb2312", 1), ("big5", -1)):
            with suppress(UnicodeEncodeError):
                character.encode(encoding)
                found += weight
    return found
