"""Identification of the language of texts: the script by Unicode, the language by py3langid."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lslm_lightning.text.chinese import cjk_share
from lslm_lightning.text.languages import (
    UNDETERMINED,
    language_of_script,
    name_of_language,
    name_of_script,
    script_of_language,
)
from lslm_lightning.text.scripts import letters_by_script, units_of_script

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# texts, and characters of each
SAMPLE = 200
LENGTH = 1000
SURE = 0.8  # probability from which a language is taken as told
SURE_ALONE = 0.9  # the same of one text, to find texts in several languages
MOST = 0.8  # share of the texts from which a script is that of all
NO_LANGUAGE = "zxx"  # what py3langid calls text that is in none


@dataclass(frozen=True, slots=True)
class Told:
    """Language of texts, as found by `tell_language`.

    `code` is a code of BCP 47: "ru"; where only the script is sure, "und-Cyrl"; of texts without
    letters, or in several scripts, "und". `several` names the languages or scripts of texts that
    are in more than one.
    """

    code: str
    script: str
    n_text: int
    several: tuple[str, ...] = ()

    @property
    def is_sure(self) -> bool:
        """True if the language was identified, and not the script alone."""
        return not self.code.startswith(UNDETERMINED)

    @property
    def assumption(self) -> str:
        """Message of one line that says what was assumed, and how to set it."""
        texts = f"{self.n_text:,} text{'' if self.n_text == 1 else 's'}"
        setting = "set data.language"
        no_rules = "no rules of any language are used"
        if self.several:
            mixture = f"not stated, and {texts} are in several ({', '.join(self.several)})"
            return f"language: {mixture}: {no_rules}; {setting} to say which"
        if not self.script:
            return (
                f"language: not stated, and {texts} without letters do not tell it; {setting} "
                "to say which"
            )
        script = name_of_script(self.script)
        if not self.is_sure:
            told = f"not stated, and not to be told from {texts} ({script}): {no_rules}"
            return f"language: {told}; {setting} to say which"
        return f"language: {self.code}, told from {texts} ({script}); {setting} to say otherwise"


def tell_language(texts: Sequence[str]) -> Told:
    """Return the language of texts, identified from at most `SAMPLE` of them; the same texts always
    give the same answer.

    Chinese, Japanese and Korean, and scripts that one language is written in, are told by their
    letters. Among the languages of another script py3langid chooses; where its probability is below
    `SURE`, the language stays open, and so it does where texts are in several scripts or languages.
    The rules of a script without spaces also hold for words of others between it, so that it is
    told where most texts are in it.
    """
    n = min(SAMPLE, len(texts))
    # every nth would be one language of two that take turns
    chosen = random.Random(0).sample(range(len(texts)), n)
    sample = [texts[i][:LENGTH] for i in sorted(chosen)]
    by_script: dict[str, list[str]] = {}
    for text in sample:
        by_script.setdefault(_writing(text), []).append(text)
    without = by_script.pop("", [])
    if not by_script:
        return Told(UNDETERMINED, "", n)
    scripts = sorted(by_script, key=lambda each: -len(by_script[each]))
    script = scripts[0]
    in_script = by_script[script]
    n -= len(without)
    share = len(in_script) / n
    if share < MOST and (share <= 0.5 or units_of_script(script) == "words"):
        return Told(UNDETERMINED, script, n, tuple(map(name_of_script, scripts[:3])))
    whole = "\n".join(in_script)
    if units_of_script(script) == "words" and script != "Kore" and cjk_share(whole) > 1 - MOST:
        mixed = [name_of_script(each) for each, _ in letters_by_script(whole).most_common(2)]
        return Told(f"{UNDETERMINED}-{script}", script, n, tuple(mixed))
    code = language_by_letters(whole)
    if not code.startswith(UNDETERMINED):
        return Told(code, script, n)
    identified, several = _identified(script, in_script)
    return Told(identified or code, script, n, several)


def _writing(text: str) -> str:
    """Return the script of a text, "Hani" for all that Chinese and Japanese are written in; ""
    where it has no letters.
    """
    language = language_of_script(text)
    return {"zh": "Hani", "ja": "Hani", "ko": "Kore"}[language] if language else main_script(text)


def language_by_letters(text: str) -> str:
    """Return the language of a text as far as its letters tell: "th", "und-Cyrl", or "und" where it
    has none; no model is loaded.
    """
    script = main_script(text)
    if not script:
        return UNDETERMINED
    return language_of_script(text) or _only_language(script) or f"{UNDETERMINED}-{script}"


def main_script(text: str) -> str:
    """Return the script of most letters as a code of ISO 15924; "" for a text without letters."""
    return next((script for script, _ in letters_by_script(text).most_common(1)), "")


def _identified(script: str, texts: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the language of texts in one script, None where it is not certain, and the names of
    the languages where there are several.
    """
    identifier = _identifier()
    labels = [label for label in identifier.labels if re.fullmatch(r"[a-z]{2}", label)]
    labels = [label for label in labels if script_of_language(label) == script]
    if not labels:
        return None, ()
    identifier.set_languages([*labels, NO_LANGUAGE])
    try:
        code, probability = identifier.classify("\n".join(texts))
        by_text = Counter(
            label for label, sure in map(identifier.classify, texts) if sure >= SURE_ALONE
        )
    finally:
        identifier.set_languages(None)
    del by_text[NO_LANGUAGE]
    others = [
        other for other, n in by_text.most_common() if n > max(1, (1 - MOST) / 2 * by_text.total())
    ]
    if len(others) > 1:
        return None, tuple(map(name_of_language, others))
    return (code if code != NO_LANGUAGE and probability >= SURE else None), ()


def _only_language(script: str) -> str | None:
    """Return the language of a script that is used for hardly any other, by CLDR; None where there
    are several.
    """
    from babel.core import get_global

    likely = get_global("likely_subtags")
    if script in _SHARED:
        return None
    subtags = likely.get(f"und_{script}")
    return subtags.split("_")[0] if subtags else None


_SHARED = frozenset(("Latn", "Cyrl", "Arab", "Deva", "Hebr", "Beng", "Ethi"))
"""Scripts of several languages with much text: English and French, Russian and Ukrainian, Arabic
and Persian, Hindi and Marathi, Hebrew and Yiddish, Bengali and Assamese, Amharic and Tigrinya."""


@cache
def _identifier() -> "LanguageIdentifier":
    """Return py3langid's identifier with probabilities."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # takes a second to load

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
