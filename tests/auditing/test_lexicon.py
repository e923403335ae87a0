"""Words of a list are found as words where words have spaces, and anywhere elsewhere."""

import pytest

from lslm_lightning.auditing.lexicon import Lexicon


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("You FOOL, you fools!", ["fool"]),
        ("foolish befool fool2", []),
        ("I am\nsorry, but; i'm  sorry", ["i am sorry"]),
        ("你这个傻瓜。傻瓜蛋", ["傻瓜", "傻瓜"]),
        ("ＦＯＯＬ", ["fool"]),
        ("naïve c++ a+b", ["naïve", "c++"]),
        ("", []),
    ],
)
def test_entries_are_found(text, found):
    lexicon = Lexicon(["fool", "i am sorry", "傻瓜", "Naïve", "C++", " "])
    assert lexicon.find(text) == found


def test_an_empty_list_finds_nothing():
    assert Lexicon([]).find("anything") == []
