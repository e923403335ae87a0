"""Translation of texts by catalogues in gettext's PO format, one for each kind of text.

The entries of a catalogue are templates: `{name}` stands for any text within a sentence, which the
translation repeats. If the translation has `{name!t}`, the field stands for any text, of several
sentences too or empty, and is translated in turn. So a sentence that was written with numbers and
names in it can be translated after it was made.

A template of few letters would fit much that it was not written for: its fields stand for single
words, and one of those that are translated must have a translation.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lslm_lightning.localization.language import ENGLISH, interface_language

COMMANDS = "commands"  # help of commands
MESSAGES = "messages"  # errors, warnings, progress
REPORTS = "reports"  # headings, labels and sentences of reports
SETTINGS = "settings"  # help of the keys of configurations
CATALOGUES = (COMMANDS, MESSAGES, REPORTS, SETTINGS)

FOLDER = Path(__file__).parent
FIELD = re.compile(r"\{(\w+)(!t)?\}")
SENTENCES = re.compile(r"(?<=[.;])\s+|\n")
COLON = re.compile(r": +(?=\S)")
ENDS = {".": "。", ";": "；", ":": "："}
WITHIN_SENTENCE = r"(?:(?!(?<=[.;])\s).)+?"
ONE_WORD = r"\S+?"
ANYTHING = ".*?"
FEW_LETTERS = 8
MAX_DEPTH = 6  # templates within templates


class Template(NamedTuple):
    """Entry whose English has fields; texts that lack its longest literal do not fit."""

    literal: str
    text: str
    translation: str


class Catalogue:
    """Translations of one kind of text into one language.

    Args:
        entries: English text or template, and its translation.
    """

    def __init__(self, entries: dict[str, str]) -> None:
        self.exact = {text: other for text, other in entries.items() if not FIELD.search(text)}
        templates = sorted(entries.keys() - self.exact.keys(), key=n_literal, reverse=True)
        self.templates = [
            Template(
                max(FIELD.sub("\0", text).split("\0"), key=len),
                text,
                entries[text],
            )
            for text in templates
        ]

    def translated(self, text: str, depth: int = 0) -> str:
        """Return a text translated: as a whole or, where no entry fits, sentence by sentence.
        Sentences without an entry stay in English.
        """
        if (whole := self.sentence(text, depth)) is not None:
            return whole
        pieces = SENTENCES.split(text)
        if len(pieces) < 2:
            return text
        between = [*(found[0] for found in SENTENCES.finditer(text)), ""]
        shown = ""
        for piece, space in zip(pieces, between, strict=True):
            other = self.sentence(piece, depth)
            shown += piece if other is None else other
            shown += "" if other is not None and other[-1:] in "。；" and space == " " else space
        return shown

    def sentence(self, text: str, depth: int) -> str | None:
        """Return the translation of a text by one entry, which may lack its last full stop, or
        what stands before a colon (`file, line 3: ...`); None if no entry fits.
        """
        if (found := self.whole(text, depth)) is not None:
            return found
        if (end := ENDS.get(text[-1:])) and (found := self.whole(text[:-1], depth)) is not None:
            return found + end
        if depth < MAX_DEPTH:
            for colon in COLON.finditer(text):
                rest = self.sentence(text[colon.end() :], depth + 1)
                if rest is not None:
                    return f"{self.translated(text[: colon.start()], depth + 1)}：{rest}"
        return None

    def whole(self, text: str, depth: int) -> str | None:
        """Return the translation of a text by one entry; None if no entry fits."""
        stripped = text.strip()
        if not stripped:
            return text
        found = self.exact.get(stripped)
        if found is None and depth < MAX_DEPTH:
            found = self.by_template(stripped, depth)
        return None if found is None else text.replace(stripped, found, 1)

    def by_template(self, text: str, depth: int) -> str | None:
        """Return the translation of a text by the fitting template with the most letters of its
        own; None if none fits.
        """
        for template in self.templates:
            if template.literal not in text:
                continue
            match = template_pattern(template.text, template.translation).fullmatch(text)
            if match is None:
                continue
            given = match.groupdict()
            inner = {name for name, mark in FIELD.findall(template.translation) if mark}
            values = given | {name: self.translated(given[name], depth + 1) for name in inner}
            if has_few_letters(template.text) and inner and values == given:
                continue
            return FIELD.sub(lambda field: values[field[1]], template.translation)
        return None


def has_few_letters(template: str) -> bool:
    """Return whether a template has few letters outside its fields."""
    return sum(map(str.isalpha, FIELD.sub("", template))) < FEW_LETTERS


def n_literal(template: str) -> int:
    """Return the number of characters of a template outside its fields."""
    return len(FIELD.sub("", template))


@cache
def template_pattern(template: str, translation: str) -> re.Pattern[str]:
    """Return the regular expression of the texts that a template stands for. A field that occurs
    again stands for the same text.
    """
    inner = {name for name, mark in FIELD.findall(translation) if mark}
    plain = ONE_WORD if has_few_letters(template) else WITHIN_SENTENCE
    pattern = ""
    names: set[str] = set()
    end = 0
    for field in FIELD.finditer(template):
        pattern += re.escape(template[end : field.start()])
        values = ANYTHING if field[1] in inner else plain
        pattern += f"(?P={field[1]})" if field[1] in names else f"(?P<{field[1]}>{values})"
        names.add(field[1])
        end = field.end()
    return re.compile(pattern + re.escape(template[end:]), re.DOTALL)


@cache
def catalogue(kind: str, language: str) -> Catalogue:
    """Return the catalogue of one of `CATALOGUES` in a language other than English."""
    return Catalogue(entries_of(kind, language))


def entries_of(kind: str, language: str) -> dict[str, str]:
    """Return the translated entries of a catalogue's file, in its order."""
    from babel.messages.pofile import read_po

    with (FOLDER / language / f"{kind}.po").open("rb") as file:
        messages = list(read_po(file, locale=language))
    return {str(each.id): str(each.string) for each in messages if each.id and each.string}


def translated(text: str, kind: str) -> str:
    """Return an English text in the language of the interface.

    Args:
        kind: one of `CATALOGUES`.
    """
    language = interface_language()
    return text if language == ENGLISH else catalogue(kind, language).translated(text)
