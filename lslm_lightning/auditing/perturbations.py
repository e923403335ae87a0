"""Changes to texts that people make without noticing: typos, other case and width, lost spaces,
similar characters, other spelling and contractions.
"""

import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lslm_lightning.auditing.wordings import (
    with_other_contractions,
    with_other_spelling,
    with_similar_characters,
)
from lslm_lightning.text.languages import base_language
from lslm_lightning.text.personal_data.names import NameList
from lslm_lightning.text.scripts import IDEOGRAPHIC, script_of

TYPO_SHARE = 0.15  # of the words of at least `LONG` letters
SIGN_SHARE = 0.04  # of the signs of scripts without spaces
SPACE_SHARE = 0.1  # of the spaces that are lost
LONG = 4  # letters
LOST_PUNCTUATION = "lost punctuation"
CONTRACTIONS = "contractions"
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
WORD = re.compile(r"[^\W\d_]+")
ASCII_SIGNS = re.compile(r"[!-~]")


class Perturbation(NamedTuple):
    """Change of a text.

    Attributes:
        name: name for people, such as "typos".
        change: returns the changed text; equal texts and generators give equal results.
        language: ISO 639 code of the texts that it is for; "" for all.
    """

    name: str
    change: Callable[[str, random.Random], str]
    language: str = ""

    def applied(self, text: str, language: str, draw: random.Random) -> str:
        """Return a text in a language changed; unchanged if the change is for another language, or
        leaves nothing of it.
        """
        code = base_language(language)
        if self.language not in ("", code) and code != "und":
            return text
        return self.change(text, draw) or text


def perturbations(names: Sequence[str] = ()) -> list[Perturbation]:
    """Return the changes that an audit makes.

    Args:
        names: names of people, which are exchanged for others of the list; none to leave them.
    """
    usual = [
        Perturbation("typos", with_typos),
        Perturbation("lower case", lambda text, _: text.lower()),
        Perturbation("full width", lambda text, _: full_width(text)),
        Perturbation("lost spaces", without_spaces),
        Perturbation(LOST_PUNCTUATION, lambda text, _: without_punctuation(text)),
        Perturbation("similar characters", with_similar_characters, "zh"),
        Perturbation("other spelling", lambda text, _: with_other_spelling(text), "en"),
        Perturbation(CONTRACTIONS, lambda text, _: with_other_contractions(text), "en"),
    ]
    if len(set(names)) > 1:
        listed = NameList(names)
        usual.append(
            Perturbation("other names", lambda text, draw: with_other_names(text, draw, listed))
        )
    return usual


def with_typos(text: str, draw: random.Random) -> str:
    """Return a text with typos: in some long words a neighbour on the keyboard is hit, two letters
    change places, or one is lost; in scripts without spaces signs change places or are lost.
    """
    return WORD.sub(lambda word: _mistyped(word[0], draw), text)


def _mistyped(word: str, draw: random.Random) -> str:
    """Return a word, perhaps with a typo; or a run of Chinese signs, perhaps with some."""
    if script_of(word[0]) in IDEOGRAPHIC:
        signs = list(word)
        for i in range(len(signs) - 1):
            if draw.random() < SIGN_SHARE:
                signs[i : i + 2] = draw.choice(([signs[i + 1], signs[i]], [signs[i], ""]))
        return "".join(signs)
    if len(word) < LONG or draw.random() >= TYPO_SHARE:
        return word
    i = draw.randrange(1, len(word) - 1)
    near = _neighbours(word[i])
    kind = draw.choice(("hit", "swap", "loss") if near else ("swap", "loss"))
    if kind == "hit":
        return word[:i] + draw.choice(near) + word[i + 1 :]
    if kind == "swap":
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + word[i + 1 :]


def _neighbours(letter: str) -> str:
    """Return the letters beside one on a keyboard with the order QWERTY, in its case."""
    for row in ROWS:
        if letter.lower() in row:
            i = row.index(letter.lower())
            near = row[max(0, i - 1) : i] + row[i + 1 : i + 2]
            return near.upper() if letter.isupper() else near
    return ""


def full_width(text: str) -> str:
    """Return a text with ASCII letters, digits and signs in full width, as Chinese and Japanese
    keyboards write them.
    """
    return ASCII_SIGNS.sub(lambda sign: chr(ord(sign[0]) + 0xFEE0), text)


def without_spaces(text: str, draw: random.Random) -> str:
    """Return a text in which a tenth of the spaces are lost."""
    return re.sub(" ", lambda _: "" if draw.random() < SPACE_SHARE else " ", text)


def without_punctuation(text: str) -> str:
    """Return a text without punctuation marks."""
    return "".join(sign for sign in text if not unicodedata.category(sign).startswith("P"))


def with_other_names(text: str, draw: random.Random, names: NameList) -> str:
    """Return a text in which each name of a list is another one of the list in the same script; the
    same name becomes the same other one.
    """
    chosen: dict[str, str] = {}
    pieces = []
    end = 0
    for start, stop in names.find(text):
        name = text[start:stop]
        others = [
            other
            for other in sorted(names.names)
            if other != name and script_of(other[0]) == script_of(name[0])
        ]
        if others:
            chosen.setdefault(name, draw.choice(others))
        pieces += [text[end:start], chosen.get(name, name)]
        end = stop
    return "".join([*pieces, text[end:]])
