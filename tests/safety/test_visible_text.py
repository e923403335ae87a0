"""Invisible characters, and those that a terminal would obey, are shown as code points."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.safety.visible_text import one_visible_line, visible

ENGLAND = "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in "gbeng") + "\U000e007f"


@given(st.text(alphabet=st.characters(), max_size=50))
def test_no_control_is_left(text):
    shown = visible(text)
    assert all(
        unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in shown if c not in "\t\n"
    )
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff") & set(shown)
    assert visible(shown) == shown
    shown.encode()


@pytest.mark.parametrize(
    "text",
    [
        "naïve “quotes” 中文，标点。 👩‍💻 سلام\n\tline",
        f"{ENGLAND} and 🏴‍☠️",
        "葛\U000e0100城 ❤️ ☎︎",
        "ไทย\u200bไทย می‌خواهم",
        "שלום\u200f (abc)\u200e",
    ],
)
def test_text_of_any_script_stays_as_it_is(text):
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", "a\nb"),
        ("\x1b[31m\x00\x9b\r", "[U+001B][31m[U+0000][U+009B][U+000D]"),
        ("a\x85b\u2028c\u2029d", "a[U+0085]b[U+2028]c[U+2029]d"),
        ("a\U000e0068\U000e0069z", "a[U+E0068][U+E0069]z"),
        ("\U0001f3f4\U000e0068\U000e0069\U000e007f", "\U0001f3f4[U+E0068][U+E0069][U+E007F]"),
        ("\u202ecod.exe\u2066", "[U+202E]cod.exe[U+2066]"),
        ("😀\ufe0f\ufe01\U000e0141", "😀\ufe0f[U+FE01][U+E0141]"),
        ("\U000e0141a", "[U+E0141]a"),
        ("x\u2063y\u206az\ufeff", "x[U+2063]y[U+206A]z[U+FEFF]"),
        ("\ud800", "\ufffd"),
    ],
)
def test_what_is_shown_instead(text, shown):
    assert visible(text) == shown


@given(st.text(alphabet=st.characters(), max_size=50))
def test_a_comment_is_one_line_to_every_reader(text):
    line = one_visible_line(text)
    assert len(line.splitlines()) <= 1
