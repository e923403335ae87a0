"""Other ways to write a text: similar Chinese characters, British or American spelling,
contractions, and names of people from other regions.

The words are those of `wordings.yaml`.
"""

import random
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lslm_lightning.text.personal_data.names import NameList
from lslm_lightning.text.scripts import script_of
from lslm_lightning.text.yaml_files import read_yaml

WORDS = Path(__file__).with_name("wordings.yaml")
CONFUSED_SHARE = 0.1  # of the characters that have similar ones
WORD = re.compile(r"[A-Za-z]+")
SENTENCE_START = re.compile(r"(?:^|[.!?:][\"'”’)]*\s+|[\"“‘(])\Z")
# words after which a contraction may be that of a question, and those that are its subject
QUESTION = {"why", "how", "when", "where", "what", "which", "and", "or", "but", "so", "because"}
SUBJECT = {"i", "you", "he", "she", "it", "we", "they", "there", "this", "that", "these", "those"}


class Wordings(NamedTuple):
    """Content of `wordings.yaml`.

    Attributes:
        similar: characters that stand for each that is confused with others.
        spellings: British spelling by American spelling, and the other way, in lower case.
        contractions: what stands for each contraction or for what is contracted, in lower case but
            for "I".
        names: given names by region and gender.
        longer_names: names that have one of these in them, and are others.
    """

    similar: Mapping[str, str]
    spellings: Mapping[str, str]
    contractions: Mapping[str, str]
    names: Mapping[str, Mapping[str, tuple[str, ...]]]
    longer_names: tuple[str, ...]

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of all regions."""
        return tuple(name for by in self.names.values() for own in by.values() for name in own)


@cache
def wordings() -> Wordings:
    """Return the packaged words."""
    content = read_yaml(WORDS)
    assert isinstance(content, dict)
    similar: dict[str, str] = {}
    for group in content["confusions"].split():
        for character in group:
            similar[character] = similar.get(character, "") + group.replace(character, "")
    spellings: dict[str, str] = {}
    for stems, endings in content["spellings"].items():
        british, american = stems.split()
        for ending in (each.removeprefix("-") for each in endings.split()):
            spellings |= {british + ending: american + ending, american + ending: british + ending}
    negations = {f"{verb} not": f"{verb}n't" for verb in content["negations"].split()}
    negations |= content["irregular"]
    back = {short: long for long, short in negations.items()} | {"can't": "cannot"}
    names = {
        region: {gender: tuple(listed.split()) for gender, listed in by_gender.items()}
        for region, by_gender in content["names"].items()
    }
    contractions = negations | back | content["contractions"]
    longer = tuple(content["longer_names"].split())
    return Wordings(similar, spellings, contractions, names, longer)


def with_similar_characters(text: str, draw: random.Random) -> str:
    """Return a text in which a tenth of the Chinese characters that are often confused, such as 在
    and 再, are one that they are confused with.
    """
    similar = wordings().similar
    return "".join(
        draw.choice(similar[sign]) if sign in similar and draw.random() < CONFUSED_SHARE else sign
        for sign in text
    )


def with_other_spelling(text: str) -> str:
    """Return an English text with British words in American spelling, and American ones in British
    spelling. Capitalized words within a sentence are kept, since they may be names.
    """
    spellings = wordings().spellings

    def other(word: re.Match[str]) -> str:
        found = spellings.get(word[0].lower())
        if found is None or not _may_change(word):
            return word[0]
        return _in_case_of(word[0], found)

    return WORD.sub(other, text)


def _may_change(word: re.Match[str]) -> bool:
    """Return whether a word is in lower case, in capitals, or begins a sentence."""
    return (
        word[0].islower()
        or word[0].isupper()
        or bool(SENTENCE_START.search(word.string[: word.start()][-8:]))
    )


def _in_case_of(word: str, other: str) -> str:
    """Return another word in capitals or with a capital letter where the first has them."""
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[0].upper() + other[1:] if word[0].isupper() else other


def with_other_contractions(text: str) -> str:
    """Return an English text with what is contracted written out ("don't", "they're"), and
    negations that are written out contracted ("do not").

    Contractions of questions are kept, since their words have another order ("Don't you ...").
    """
    contractions = wordings().contractions

    def other(found: re.Match[str]) -> str:
        plain = found[0].replace("’", "'")
        known = contractions.get(plain) or contractions.get(plain.lower())
        if known is None or ("n't" in plain.lower() and _may_ask(found)):
            return found[0]
        sign = "’" if "’" in found.string else "'"
        is_loud = plain.isupper() and len(plain) > len("I'm")
        return (known.upper() if is_loud else _in_case_of(plain[0], known)).replace("'", sign)

    return _contraction_pattern().sub(other, text)


@cache
def _contraction_pattern() -> re.Pattern[str]:
    """Return the expression of all contractions, and of what is contracted."""
    listed = "|".join(map(re.escape, sorted(wordings().contractions, key=len, reverse=True)))
    return re.compile(rf"(?i)(?<![\w'’])(?:{listed.replace(chr(39), '[' + chr(39) + '’]')})(?!\w)")


def _may_ask(found: re.Match[str]) -> bool:
    """Return whether a contracted negation may begin a question: nothing or a question word is
    before it, or its subject follows.
    """
    before = re.search(r"([A-Za-z]+) \Z", found.string[: found.start()])
    after = re.match(r"\s+([A-Za-z]+)", found.string[found.end() :])
    if before is None or before[1].lower() in QUESTION:
        return True
    return after is not None and after[1].lower() in SUBJECT


def regional_names(texts: list[str], region: str, draw: random.Random) -> dict[str, str]:
    """Return a name of a region for each name of `wordings.yaml` that occurs in texts, of the same
    gender and in the same script. Two names never become one: where a region has too few, the last
    ones are kept.

    Args:
        region: name of the region, such as "Arabic names".
    """
    known = wordings()
    found = [name for text in texts for name in names_in(text)]
    chosen: dict[str, str] = {}
    for name in dict.fromkeys(found):
        gender = next(g for by in known.names.values() for g, own in by.items() if name in own)
        others = [
            other
            for other in known.names[region][gender]
            if other not in {*found, *chosen.values()} and script_of(other[0]) == script_of(name[0])
        ]
        if others:
            chosen[name] = draw.choice(others)
    return chosen


@cache
def _name_list() -> NameList:
    """Return the list of all names, and of the longer ones that have them in them."""
    return NameList((*wordings().all_names, *wordings().longer_names))


def names_in(text: str) -> list[str]:
    """Return the names of `wordings.yaml` in a text, as they are written, in order."""
    every = set(wordings().all_names)
    return [text[i:j] for i, j in _name_list().find(text) if text[i:j] in every]


def renamer(names: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function that puts other names in the place of those in a text."""

    def renamed(text: str) -> str:
        pieces = []
        end = 0
        for start, stop in _name_list().find(text):
            name = text[start:stop]
            pieces += [text[end:start], names.get(name, name)]
            end = stop
        return "".join([*pieces, text[end:]])

    return renamed
