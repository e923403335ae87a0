"""Language identification of texts: the script from Unicode, the language from py3langid."""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.files import atomic_write
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
    """Result of `tell_language`.

    Attributes:
        code: BCP 47 code, such as "ru"; "und-Cyrl" if only the script is certain; "und" for texts
            without letters or in several scripts.
        script: ISO 15924 code of the main script; "" for texts without letters.
        n_text: number of texts on which the result is based.
        several: names of the languages or scripts, if the texts are in more than one.
    """

    code: str
    script: str
    n_text: int
    several: tuple[str, ...] = ()

    @property
    def is_sure(self) -> bool:
        """True if the language, not only the script, was identified."""
        return not self.code.startswith(UNDETERMINED)

    @property
    def assumption(self) -> str:
        """Message of one line that states the assumed language and the setting that changes it."""
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


def tell_language(texts: Sequence[str], folder: Path | None = None) -> Told:
    """Identify the language of texts from at most `SAMPLE` of them; the result is deterministic.

    Chinese, Japanese and Korean, and languages with a script of their own, are identified by their
    letters. In other scripts py3langid selects the language. The result is undetermined if its
    probability is below `SURE`, or if the texts are in several scripts or languages. A script
    without spaces needs only a majority of the texts, since its rules also handle words of other
    scripts.

    Args:
        folder: cache of what py3langid selected for the same texts, since it takes long to load.
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
    identified, several = _identified_once(script, in_script, folder)
    return Told(identified or code, script, n, several)


def likely_languages(text: str, n: int = 3) -> list[tuple[str, float]]:
    """Return the most probable languages of a text as (BCP 47 code, probability) pairs, the best
    first; an empty list for a text without letters.

    A language that the letters determine has the probability 1. Not for use by several threads at
    the same time.

    Args:
        n: number of languages at most.
    """
    code = language_by_letters(text)
    if not code.startswith(UNDETERMINED):
        return [(code, 1.0)]
    identifier = _identifier()
    if not (labels := _labels(main_script(text))):
        return []
    identifier.set_languages([*labels, NO_LANGUAGE])
    try:
        ranked = identifier.rank(text)
    finally:
        identifier.set_languages(None)
    return [(label, float(sure)) for label, sure in ranked if label != NO_LANGUAGE][:n]


def _writing(text: str) -> str:
    """Return the script of a text; "Hani" for Chinese and Japanese, "" for a text without
    letters.
    """
    language = language_of_script(text)
    return {"zh": "Hani", "ja": "Hani", "ko": "Kore"}[language] if language else main_script(text)


def language_by_letters(text: str) -> str:
    """Return the language of a text as far as its letters determine it, without loading a model.

    The result is a code such as "th"; "und-Cyrl" if only the script is known; "und" for a text
    without letters.
    """
    script = main_script(text)
    if not script:
        return UNDETERMINED
    return language_of_script(text) or _only_language(script) or f"{UNDETERMINED}-{script}"


def main_script(text: str) -> str:
    """Return the ISO 15924 code of the most frequent script; "" for a text without letters."""
    return next((script for script, _ in letters_by_script(text).most_common(1)), "")


def _identified_once(
    script: str, texts: Sequence[str], folder: Path | None
) -> tuple[str | None, tuple[str, ...]]:
    """Return `_identified(script, texts)`, from the cache in `folder` if it has the result."""
    if folder is None:
        return _identified(script, texts)
    made_by = [version(package) for package in ("py3langid", "babel")]
    key = json.dumps([made_by, SURE, SURE_ALONE, MOST, script, *texts])
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):  # none yet, or damaged
        cached = json.loads(path.read_text("utf-8"))
        code, several = cached["language"], cached["several"]
        if (code is None or isinstance(code, str)) and all(isinstance(n, str) for n in several):
            return code, tuple(several)
    code, several = _identified(script, texts)
    with suppress(OSError):  # it can be identified again
        atomic_write(path, json.dumps({"language": code, "several": several}))
    return code, several


def _identified(script: str, texts: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the language of texts in one script (None if uncertain), and the names of the
    languages if there are several.
    """
    identifier = _identifier()
    if not (labels := _labels(script)):
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


def _labels(script: str) -> list[str]:
    """Return the languages of a script that py3langid knows."""
    labels = [label for label in _identifier().labels if re.fullmatch(r"[a-z]{2}", label)]
    return [label for label in labels if script_of_language(label) == script]


def _only_language(script: str) -> str | None:
    """Return the language of a script that practically no other language uses, by CLDR; None if
    there are several.
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
    """Return py3langid's language identifier, set to return probabilities."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # takes a second to load

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
