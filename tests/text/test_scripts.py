"""The sets of scripts agree with Unicode's Line_Break, and units follow them."""

from collections import Counter

import pytest
import regex

from lslm_lightning.text.chinese import segment
from lslm_lightning.text.scripts import (
    COMPLEX,
    COMPLEX_CLASS,
    IDEOGRAPHIC,
    letters_by_script,
    script_of,
    units_of_script,
)


def mostly(kind: str) -> set[str]:
    """Scripts most letters of which are of a class."""
    letters = regex.findall(r"\p{L}", "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000)))))
    total, of_class = (
        Counter(map(script_of, found)) for found in (letters, regex.findall(kind, "".join(letters)))
    )
    return {code for code, n in of_class.items() if code and 2 * n > total[code]}


def test_scripts_of_complex_context_are_those_of_unicode():
    # of which `script_of` does not know letters yet
    assert mostly(COMPLEX_CLASS) == COMPLEX - {"Gukh"}


def test_ideographic_scripts_are_those_of_unicode():
    found = mostly(r"\p{lb=ID}")
    assert found - {"Kits"} <= IDEOGRAPHIC
    assert found >= {"Hani", "Hira", "Kana", "Bopo", "Yiii", "Tang", "Nshu"}


def test_korean_and_latin_have_spaces():
    assert {
        units_of_script(code)
        for code in ("Hang", "Kore", "Latn", "Cyrl", "Arab", "Deva", "Geor", "Ethi", "")
    } == {"words"}
    assert [units_of_script(code) for code in ("Hans", "Thai", "Tibt")] == [
        "segments",
        "graphemes",
        "syllables",
    ]


@pytest.mark.parametrize("character", "aяअก中か가ཀאგაሀα")
def test_the_script_of_a_letter_is_that_of_unicode(character):
    assert regex.match(rf"\p{{Script={script_of(character)}}}", character)


def test_only_letters_have_a_script():
    assert letters_by_script("Füße план 中文カナ ไทย 123 — 🏽") == {
        "Latn": 4,
        "Cyrl": 4,
        "Hani": 2,
        "Kana": 2,
        "Thai": 3,
    }
    assert script_of("1") is script_of(" ") is script_of("。") is None


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("ทีมชนะ 15", ["ที", "ม", "ช", "น", "ะ", "15"]),
        ("abcทีม3.5", ["abc", "ที", "ม", "3.5"]),
        ("ສະບາຍດີ", ["ສ", "ະ", "ບ", "າ", "ຍ", "ດີ"]),
        ("ភាសា។", ["ភា", "សា", "។"]),
        ("ကျွန်တော်", ["ကျွ", "န်", "တော်"]),
        ("བོད་སྐད།", ["བོད", "སྐད", "།"]),
        ("ꆈꌠ", ["ꆈ", "ꌠ"]),
        ("ꦗꦮ", ["ꦗ", "ꦮ"]),
        ("ＡＢＣ", ["ＡＢＣ"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
    ],
)
def test_pieces_in_scripts_without_spaces(text, pieces):
    assert segment(text) == pieces
