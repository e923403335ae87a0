"""Scripts of letters (Unicode property Script), and the unit in which texts of a script are
counted.

Scripts have the four-letter codes of ISO 15924: "Latn", "Cyrl", "Hani".
"""

from collections import Counter
from functools import cache
from typing import Literal

import regex

Units = Literal["words", "segments", "graphemes", "syllables"]

# Source: Unicode 17, LineBreak.txt. tests/text/test_scripts.py compares these sets with the
# property.
IDEOGRAPHIC = frozenset(
    ["Hani", "Hans", "Hant", "Hanb", "Jpan", "Hira", "Kana", "Hrkt", "Bopo", "Yiii", "Tang", "Nshu"]
)
"""Scripts without spaces in which each sign counts: Line_Break=Ideographic, and their mixtures."""

COMPLEX = frozenset(
    [
        "Thai",
        "Laoo",
        "Khmr",
        "Mymr",
        "Tale",
        "Talu",
        "Lana",
        "Tavt",
        "Ahom",
        "Bali",
        "Java",
        "Batk",
        "Cham",
        "Brah",
        "Gran",
        "Kawi",
        "Maka",
        "Diak",
        "Gukh",
    ]
)
"""Scripts without spaces in which each grapheme cluster counts: Line_Break=Complex_Context or
Aksara.
"""

COMPLEX_CLASS = r"[\p{lb=SA}\p{lb=AK}\p{lb=AP}\p{lb=AS}\p{lb=VI}\p{lb=VF}]"
"""Signs of `COMPLEX` as a set of the package `regex` (version 1)."""

# Source: property value aliases of Script, Unicode 15.1; a script that is newer has no letters
# here.
_CODES = (
    "Adlm Aghb Ahom Arab Armi Armn Avst Bali Bamu Bass Batk Beng Bhks Bopo Brah Brai Bugi Buhd "
    "Cakm Cans Cari Cham Cher Chrs"
    " Copt Cpmn Cprt Cyrl Deva Diak Dogr Dsrt Dupl Egyp Elba Elym Ethi Geor Glag Gong Gonm Goth "
    "Gran Grek Gujr Guru Hang Hani"
    " Hano Hatr Hebr Hira Hluw Hmng Hmnp Hung Ital Java Kali Kana Kawi Khar Khmr Khoj Kits Knda "
    "Kthi Lana Laoo Latn Lepc Limb"
    " Lina Linb Lisu Lyci Lydi Mahj Maka Mand Mani Marc Medf Mend Merc Mero Mlym Modi Mong Mroo "
    "Mtei Mult Mymr Nagm Nand Narb"
    " Nbat Newa Nkoo Nshu Ogam Olck Orkh Orya Osge Osma Ougr Palm Pauc Perm Phag Phli Phlp Phnx "
    "Plrd Prti Rjng Rohg Runr Samr"
    " Sarb Saur Sgnw Shaw Shrd Sidd Sind Sinh Sogd Sogo Sora Soyo Sund Sylo Syrc Tagb Takr Tale "
    "Talu Taml Tang Tavt Telu Tfng"
    " Tglg Thaa Thai Tibt Tirh Tnsa Toto Ugar Vaii Vith Wara Wcho Xpeo Xsux Yezi Yiii Zanb"
)


def units_of_script(script: str) -> Units:
    """Return the unit that counts as a word in a script.

    This is "words" for scripts with spaces between words and a smaller unit for others. Tibetan is
    counted in syllables, whose ends are marked in writing; `text.chinese.segment` keeps them whole.
    """
    if script in IDEOGRAPHIC:
        return "segments"
    if script in COMPLEX:
        return "graphemes"
    return "syllables" if script == "Tibt" else "words"


def letters_by_script(text: str) -> Counter[str]:
    """Return script -> number of its letters in `text`; letters common to several scripts are not
    counted.
    """
    counts: Counter[str] = Counter()
    for character, n in Counter(text).items():
        if script := script_of(character):
            counts[script] += n
    return counts


@cache
def script_of(character: str) -> str | None:
    """Return the ISO 15924 code of the script of a letter, such as "Latn" or "Hani"; None for any
    other character.
    """
    match = _scripts().match(character)
    return match.lastgroup if match else None


@cache
def _scripts() -> "regex.Pattern[str]":
    """Return a compiled pattern that matches one letter and has a named group for each script."""
    scripts = "|".join(rf"(?P<{code}>\p{{Script={code}}})" for code in _CODES.split())
    return regex.compile(rf"(?=\p{{L}})(?:{scripts})")
