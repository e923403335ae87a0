from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.text.normalization import half_width, normalize


def test_forms():
    assert normalize("e\u0301") == "é"
    assert normalize("ＡＢＣ，１５ﬁ", "NFC") == "ＡＢＣ，１５ﬁ"
    assert normalize("ＡＢＣ，１５ﬁ①", "NFKC") == "ABC,15fi1"


def test_half_width():
    assert half_width("ＡＢＣ１５，好！\u3000z") == "ABC15，好！\u3000z"
    assert half_width("ＡＢＣ１５，好！\u3000z", punctuation=True) == "ABC15,好! z"


@given(st.text(st.characters(min_codepoint=0xFF01, max_codepoint=0xFF5E)))
def test_half_width_is_nfkc_of_full_width(text):
    assert half_width(text, punctuation=True) == normalize(text, "NFKC")
