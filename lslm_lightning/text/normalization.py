"""Normalization of text: Unicode forms, full-width characters and case."""

import unicodedata
from typing import Literal

from lslm_lightning.text.languages import base_language

_LETTERS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code - 0xFEE0).isalnum()}
_PUNCTUATION = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if code not in _LETTERS} | {
    0x3000: 0x20
}


def normalize(text: str, form: Literal["NFC", "NFKC"] = "NFC") -> str:
    """Return text in a Unicode normalization form.

    NFC composes combining marks and preserves meaning. NFKC also replaces full-width letters,
    ligatures, ① and the like. It turns Chinese punctuation into ASCII and '…' into three dots, so
    use it to compare texts, not to prepare training data.
    """
    return unicodedata.normalize(form, text)


def half_width(text: str, punctuation: bool = False) -> str:
    """Return text with full-width letters and digits as ASCII: 'ＡＢＣ１５，' gives 'ABC15，'.

    Args:
        punctuation: also replace punctuation and the ideographic space, for which full width is
            correct in Chinese.
    """
    return text.translate(_LETTERS | _PUNCTUATION if punctuation else _LETTERS)


def lower_case(text: str, language: str) -> str:
    """Return text in lower case by the rules of a language.

    In Turkish and Azerbaijani, I becomes ı, and İ becomes i without an extra dot.
    """
    if base_language(language) in ("tr", "az"):
        text = text.replace("İ", "i").replace("I\u0307", "i").replace("I", "ı")
    return text.lower()
