import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.text.chinese import cjk_share, segment, variant_of_han


def is_cjk(character: str) -> bool:
    return cjk_share(character) == 1


def test_scripts():
    assert all(map(is_cjk, "中々〇㐀𠀀あアｱー한ㄅ"))
    assert not any(map(is_cjk, "aÄé1，。、！・ 🏽"))


@pytest.mark.slow
def test_cjk_agrees_with_the_names_of_unicode():
    letters = (
        "CJK UNIFIED IDEOGRAPH",
        "CJK COMPATIBILITY IDEOGRAPH",
        "HANGUL SYLLABLE",
        "HIRAGANA LETTER",
        "KATAKANA LETTER",
    )
    parts = (
        "CJK UNIFIED",
        "CJK COMPAT",
        "IDEOGRAPHIC",
        "HANGUL",
        "HIRAGANA",
        "KATAKANA",
        "KANA",
        "GANA",
        "BOPOMOFO",
        "HANGZHOU",
        "DEPARTING TONE",
    )
    for character in map(chr, range(0x110000)):
        name = unicodedata.name(character, "")
        if name:
            assert is_cjk(character) or not name.startswith(letters), name
            assert not is_cjk(character) or any(part in name for part in parts), name


def test_share():
    assert cjk_share("中 文 ab cd, 15!") == 0.5
    assert cjk_share("使用PyTorch和TensorFlow") == 0.6
    assert cjk_share("") == cjk_share(" \n") == 0
    assert cjk_share("中文字") == 1


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("iPhone 15卖3.5万。", ["iPhone", "15", "卖", "3.5", "万", "。"]),
        ("增长1,200.5%！", ["增", "长", "1,200.5", "%", "！"]),
        ("5G网络 it's a_b", ["5G", "网", "络", "it", "'", "s", "a", "_", "b"]),
        ("Größe naïve नमस्ते", ["Größe", "naïve", "नमस्ते"]),
        ("東京タワー 한국", ["東", "京", "タ", "ワ", "ー", "한", "국"]),
        ("  \n", []),
    ],
)
def test_segments(text, pieces):
    assert segment(text) == pieces


@given(st.text(st.characters(max_codepoint=0x2E9) | st.sampled_from("0123456789.,  ")))
def test_latin_text_has_the_pieces_that_it_has_among_others(text):
    assert segment(f"{text} 中") == [*segment(text), "中"]


@given(st.text())
def test_segments_lose_only_white_space(text):
    assert "".join("".join(segment(text)).split()) == "".join(text.split())
    assert all(len(piece) == 1 for piece in segment(text) if is_cjk(piece[0]))


@pytest.mark.parametrize(
    ("simplified", "traditional"),
    [
        ("后来我们发现这个国家的经济发展很快", "後來我們發現這個國家的經濟發展很快"),
        ("他说北京今天下雨", "他說北京今天下雨"),
        ("iPhone 15卖3.5万。", "iPhone 15賣3.5萬。"),
        ("书", "書"),
    ],
)
def test_simplified_and_traditional_characters_are_told_apart(simplified, traditional):
    assert variant_of_han(simplified) == "Hans"
    assert variant_of_han(traditional) == "Hant"


@pytest.mark.parametrize("text", ["", "abc 15", "书書", "中文", "一二三", "서울", "ひらがな", "😀"])
def test_what_both_share_tells_nothing(text):
    assert variant_of_han(text) == ""
