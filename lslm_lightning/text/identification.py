"""Telling the language of texts that do not state it: the script by Unicode, the language by py3langid."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lslm_lightning.text.languages import (
    UNDETERMINED,
    language_of_script,
    name_of_script,
    script_of_language,
)
from lslm_lightning.text.scripts import letters_by_script

SAMPLE, LENGTH = 200, 1000  # texts, and characters of each
SURE = 0.8  # probability from which a language is taken as told
NO_LANGUAGE = "zxx"  # what py3langid calls text that is in none


@dataclass(frozen=True, slots=True)
class Told:
    """A language as texts show it.

    `code` is a code of BCP 47: "ru"; where only the script is sure, "und-Cyrl"; of texts without letters, "und".
    """

    code: str
    script: str
    n_text: int

    @property
    def is_sure(self) -> bool:
        """Whether the language itself was told."""
        return not self.code.startswith(UNDETERMINED)

    @property
    def assumption(self) -> str:
        """One line that says what was taken for granted, and how to set it."""
        texts = f"{self.n_text:,} text{'' if self.n_text == 1 else 's'}"
        setting = "set data.language"
        if not self.script:
            return f"language: not stated, and {texts} without letters do not tell it; {setting} to say which"
        script = name_of_script(self.script)
        if not self.is_sure:
            told = f"not stated, and not to be told from {texts} ({script}): no rules of any language are used"
            return f"language: {told}; {setting} to say which"
        return f"language: {self.code}, told from {texts} ({script}); {setting} to say otherwise"


def tell_language(texts: Sequence[str]) -> Told:
    """Tell the language of texts from at most `SAMPLE` of them, spread evenly; the same texts always give the same answer.

    Chinese, Japanese and Korean, and scripts that one language is written in, are told by their letters. Among the
    languages of another script py3langid chooses; where its probability is below `SURE`, the language stays open.
    """
    n = min(SAMPLE, len(texts))
    whole = "\n".join(texts[i * len(texts) // n][:LENGTH] for i in range(n))
    code = language_by_letters(whole)
    script = {"zh": "Hani", "ja": "Jpan", "ko": "Kore"}.get(code) or main_script(whole)
    if code.startswith(UNDETERMINED) and script:
        code = _identified(script, whole) or code
    return Told(code, script, n)


def language_by_letters(text: str) -> str:
    """The language of a text as far as its letters tell: "th", "und-Cyrl", or "und" where it has none; loads no model."""
    script = main_script(text)
    if not script:
        return UNDETERMINED
    return language_of_script(text) or _only_language(script) or f"{UNDETERMINED}-{script}"


def main_script(text: str) -> str:
    """The script of most letters, as ISO 15924 has it; "" of a text without letters."""
    return next((script for script, _ in letters_by_script(text).most_common(1)), "")


def _identified(script: str, text: str) -> str | None:
    """The language of a text in this script; None where it cannot be told."""
    identifier = _identifier()
    labels = [label for label in identifier.labels if re.fullmatch(r"[a-z]{2}", label)]
    labels = [label for label in labels if script_of_language(label) == script]
    if not labels:
        return None
    identifier.set_languages([*labels, NO_LANGUAGE])
    try:
        code, probability = identifier.classify(text)
    finally:
        identifier.set_languages(None)
    return code if code != NO_LANGUAGE and probability >= SURE else None


def _only_language(script: str) -> str | None:
    """The language of a script that hardly another one is written in, by CLDR; None where there are several."""
    from babel.core import get_global

    likely = get_global("likely_subtags")
    if script in _SHARED:
        return None
    found = likely.get(f"und_{script}")
    return found.split("_")[0] if found else None


_SHARED = frozenset(("Latn", "Cyrl", "Arab", "Deva", "Hebr", "Beng", "Ethi"))
"""Scripts of several languages with much text: English and French, Russian and Ukrainian, Arabic and Persian, Hindi and
Marathi, Hebrew and Yiddish, Bengali and Assamese, Amharic and Tigrinya."""


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # takes a second to load

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
