"""Translation of texts by catalogues in gettext's PO format, one for each kind of text.

The entries of a catalogue are templates: `{name}` stands for any text within a sentence, which the
translation repeats. If the translation has `{name!t}`, the field stands for any text, of several
sentences too, and is translated in turn. So a sentence that was written with numbers and names in
it can be translated after it was made.

In the English template, `{name!n}` stands for a number alone, `{name!w}` for a text without spaces,
`{name!c}` for a text without colons, `{name!b}` for one without brackets, `{name!p}` for a phrase
within a sentence, `{name!m}` for a mapping on one line of YAML, and `{name!s}` for any text, of
several sentences too. In the translation, `{name!l}` is a list of names such as "a, b and c", which
are repeated, and `{name!lt}` a list of which all members are translated.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

COMMANDS = "commands"  # help of commands
MESSAGES = "messages"  # errors, warnings, progress
REPORTS = "reports"  # headings, labels and sentences of reports
SETTINGS = "settings"  # help of the keys of configurations
NAMES = "names"  # of baselines, in sentences and tables
CATALOGUES = (COMMANDS, MESSAGES, NAMES, REPORTS, SETTINGS)

FOLDER = Path(__file__).parent
FIELD = re.compile(r"\{(\w+)(?:!([bclmnpstw]+))?\}")
SENTENCES = re.compile(r"(?<=[.;])\s+|\n")
WITHIN_SENTENCE = r"(?:(?!(?<=[.;])\s).)+?"
ANYTHING = ".+?"
NUMBER = r"[−+±-]?(?:[\d,]*\.?\d+(?: × 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?|∞)|–|nan"
MAPPING = r"\w+: \{[^{}]*\}"
VALUES = {
    "b": r"[^()]+?",
    "c": r"[^:]+?",
    "m": MAPPING,
    "n": NUMBER,
    "p": WITHIN_SENTENCE,
    "s": ANYTHING,
    "w": r"\S+?",
}
LIST = re.compile(r",? and |(?<!extractive oracle), ")
SELF = "this run"  # the only name of a system that is one of the interface
SYSTEMS = {"first", "name", "other", "others", "second", "system", "systems"}  # fields with names
MAX_DEPTH = 4  # templates within templates


class Template(NamedTuple):
    """Entry whose English has fields; texts that lack its longest literal do not fit."""

    literal: str
    text: str
    translation: str


class Catalogue:
    """Translations of one kind of text into one language.

    Args:
        entries: English text or template, and its translation.
        names: catalogue of names of systems that are translated within sentences; None for none.
    """

    def __init__(self, entries: dict[str, str], names: "Catalogue | None" = None) -> None:
        self.names = names
        self.exact = {text: other for text, other in entries.items() if not FIELD.search(text)}
        templates = [text for text in entries if text not in self.exact]
        templates.sort(key=n_literal, reverse=True)
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
        if (whole := self.whole(text, depth)) is not None:
            return whole
        pieces = SENTENCES.split(text)
        if len(pieces) < 2:
            return text
        between = [*(found[0] for found in SENTENCES.finditer(text)), ""]
        shown = ""
        for piece, space in zip(pieces, between, strict=True):
            other = self.whole(piece, depth)
            if other is None and shown.endswith("；"):  # entries may begin with a semicolon
                other = (self.whole(f"; {piece}", depth) or "")[1:] or None
            shown += piece if other is None else other
            shown += "" if other is not None and other[-1:] in "。；" and space == " " else space
        return shown

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
            if match := template_pattern(template.text, template.translation).fullmatch(text):
                return self.filled(template.translation, match.groupdict(), depth)
        return None

    def filled(self, translation: str, values: dict[str, str], depth: int) -> str:
        """Return a translation with the values of its fields."""
        shown = ""
        end = 0
        for field in FIELD.finditer(translation):
            marks = field[2] or ""
            value = values[field[1]]
            members = LIST.split(value) if "l" in marks else [value]
            if "t" in marks:
                members = [self.part_shown(member, depth + 1) for member in members]
            elif "l" in marks or (self.names and field[1] in SYSTEMS):
                members = [self.name_shown(member, "l" in marks) for member in members]
            elif not marks:
                members = [self.value_shown(value, depth + 1)]
            shown = spaced(spaced(shown, translation[end : field.start()]), "、".join(members))
            end = field.end()
        return spaced(shown, translation[end:])

    def part_shown(self, part: str, depth: int) -> str:
        """Return the value of a field that is translated."""
        return self.translated(part, depth)

    def value_shown(self, value: str, depth: int) -> str:
        """Return the value of a field without a mark."""
        return value

    def name_shown(self, name: str, is_member: bool) -> str:
        """Return the name of a system as it is shown.

        Args:
            is_member: whether the name is one of a list, in which `SELF` is translated.
        """
        if is_member and name == SELF:
            return self.exact.get(name, name)
        return self.names.translated(name) if self.names else name


def spaced(before: str, after: str) -> str:
    """Return two texts joined: with a space between a Chinese character and a Latin letter or
    digit, and without one between two Chinese characters.
    """
    if re.search(r"[一-鿿] $", before) and re.match(r"[一-鿿]", after):
        return before[:-1] + after
    if re.search(r"[一-鿿。；]$", before) and re.match(r" [一-鿿]", after):
        return before + after[1:]
    sides = before[-1:] + after[:1]
    return (
        f"{before}{' ' if re.match(r'[一-鿿][A-Za-z0-9]|[A-Za-z0-9][一-鿿]', sides) else ''}{after}"
    )


def n_literal(template: str) -> int:
    """Return the number of characters of a template outside its fields."""
    return len(FIELD.sub("", template))


@cache
def template_pattern(template: str, translation: str) -> re.Pattern[str]:
    """Return the regular expression of the texts that a template stands for. A field that occurs
    again stands for the same text.
    """
    inner = {name for name, marks in FIELD.findall(translation) if marks == "t"}
    pattern = ""
    names: set[str] = set()
    end = 0
    for field in FIELD.finditer(template):
        pattern += re.escape(template[end : field.start()])
        usual = ANYTHING if field[1] in inner else WITHIN_SENTENCE
        values = VALUES.get(field[2], usual)
        pattern += f"(?P={field[1]})" if field[1] in names else f"(?P<{field[1]}>{values})"
        names.add(field[1])
        end = field.end()
    return re.compile(pattern + re.escape(template[end:]), re.DOTALL)


def entries_of(kind: str, language: str) -> dict[str, str]:
    """Return the translated entries of a catalogue, which is a file or a folder of files."""
    home = FOLDER / language / kind
    files = sorted(home.glob("*.po")) if home.is_dir() else [home.with_suffix(".po")]
    return {text: other for file in files for text, other in read_entries(file).items()}


def read_entries(file: Path) -> dict[str, str]:
    """Return the translated entries of a PO file, in its order."""
    from babel.messages.pofile import read_po

    with file.open("rb") as stream:
        messages = list(read_po(stream))
    return {str(each.id): str(each.string) for each in messages if each.id and each.string}
