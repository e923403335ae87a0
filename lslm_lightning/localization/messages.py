"""Translation of messages, which are told from other printed lines by their texts alone."""

import re
from functools import cache

from lslm_lightning.localization.catalogue import (
    ANYTHING,
    FIELD,
    MAX_DEPTH,
    VALUES,
    WITHIN_SENTENCE,
    Catalogue,
    spaced,
)

COLON = re.compile(r": +(?=\S)")
ENDS = {".": "。", ";": "；", ":": "："}
SEPARATOR = r"[;,:]| [(±+]"  # with which a piece of a message begins
FEW_LETTERS = 8
# between the members of a list, which may be mappings and lists with commas of their own
BETWEEN = re.compile(r"(,? and |,? or |, )(?![^{}]*\}|[^\[\]]*\]|[^()]*\))")
NAME = re.compile(r"'[^']*'|(?:\w+: )?\{[^{}]*\}|[^\s,;:'\"()\[\]{}]+")
SCORE = re.compile(r"(train|val|test)/([\w -]+)")  # of a split


class MessageCatalogue(Catalogue):
    """Translations of messages, which may be composed of several: behind a file and a line (`file,
    line 3: ...`), or one behind another.

    A template of few letters would fit much that it was not written for. Its fields stand for
    single words, and those that are translated need an entry of their own. A field that is
    translated may be empty; right behind another field it begins with punctuation.

    A field without a mark that stands for several words is translated if there is an entry for
    them, or if they are a list of texts that have entries and of names.
    """

    def whole(self, text: str, depth: int) -> str | None:
        """Return the translation of a text by one entry, which may lack its last punctuation mark,
        what stands before a colon, or the split of a score; None if no entry fits.
        """
        if (found := self.by_entry(text, depth)) is not None:
            return found
        if (end := ENDS.get(text[-1:])) and (found := self.by_entry(text[:-1], depth)) is not None:
            return found + end
        for colon in COLON.finditer(text) if depth < MAX_DEPTH else ():
            rest = self.whole(text[colon.end() :], depth + 1)
            if rest is not None:
                return f"{self.translated(text[: colon.start()], depth + 1)}：{rest}"
        if score := SCORE.fullmatch(text):  # names such as BLEU are the same in all languages
            return f"{score[1]}/{self.exact.get(score[2], score[2])}"
        return super().whole(text, depth)

    def by_entry(self, text: str, depth: int) -> str | None:
        """Return the translation of a text by one entry that surely fits; None if there is none."""
        stripped = text.strip()
        found = self.exact.get(stripped)
        if found is None and depth < MAX_DEPTH:
            found = self.by_template(stripped, depth, is_strict=True)
        return None if found is None else text.replace(stripped, found, 1)

    def by_template(self, text: str, depth: int, is_strict: bool = False) -> str | None:
        """Return the translation of a text by the fitting template with the most letters of its
        own; None if none fits.

        Args:
            is_strict: refuse templates whose first field has an unknown text that is to be
                translated, or that has a colon in it.
        """
        for template in self.templates:
            if template.literal not in text:
                continue
            match = message_pattern(template.text, template.translation).fullmatch(text)
            if match is None:
                continue
            inner = [name for name, marks in FIELD.findall(template.translation) if marks == "t"]
            if has_few_letters(template.text) and any(
                self.whole(match[name], depth + 1) is None for name in inner
            ):
                continue
            first = next(iter(match.groupdict()), "")
            if is_strict and match.start(first) == 0 and " " in match[first]:
                is_other = self.whole(match[first], depth + 1) is None
                if is_other and (first in inner or COLON.search(match[first])):
                    continue
            return self.filled(template.translation, match.groupdict(), depth)
        return None

    def part_shown(self, part: str, depth: int) -> str:
        """Return the value of a field that is translated: as a whole, as a list, or by
        sentences.
        """
        shown = self.whole_or_list(part, depth) or self.translated(part, depth)
        return shown.lstrip() if shown.lstrip()[:1] == "（" else shown

    def value_shown(self, value: str, depth: int) -> str:
        """Return the value of a field without a mark. A single word may be data and stays."""
        return (self.whole_or_list(value, depth) if " " in value.strip() else None) or value

    def whole_or_list(self, text: str, depth: int) -> str | None:
        """Return the translation of a text by one entry, or as a list of such texts and of names,
        which stay; None if a member is neither, or if nothing changes.
        """
        if (found := self.whole(text, depth)) is not None:
            return found
        pieces = BETWEEN.split(text)
        if len(pieces) < 2 or depth >= MAX_DEPTH:
            return None
        shown = ""
        is_changed = not {*pieces[1::2]} <= {", "}
        for member, separator in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
            is_name = NAME.fullmatch(member)
            other = None if is_name else self.whole(member, depth)
            if other is None and not is_name:
                return None
            is_changed |= other is not None
            between = separator and (" 或 " if "or" in separator else "、")
            shown = spaced(spaced(shown, other or member), between)
        return shown if is_changed else None


def has_few_letters(template: str) -> bool:
    """Return whether a template has few letters outside its fields."""
    return sum(map(str.isalpha, FIELD.sub("", template))) < FEW_LETTERS


@cache
def message_pattern(template: str, translation: str) -> re.Pattern[str]:
    """Return the regular expression of the messages that a template stands for. A field that occurs
    again stands for the same text.
    """
    inner = {name for name, marks in FIELD.findall(translation) if marks == "t"}
    plain = VALUES["w"] if has_few_letters(template) else WITHIN_SENTENCE
    pattern = ""
    names: set[str] = set()
    end = 0
    for field in FIELD.finditer(template):
        between = template[end : field.start()]
        values = VALUES.get(field[2], plain)
        if field[1] in inner and field[2] is None:
            is_next = bool(names) and not between
            values = f"(?:(?={SEPARATOR}){ANYTHING})?" if is_next else f"(?:{ANYTHING})??"
        pattern += re.escape(between)
        pattern += f"(?P={field[1]})" if field[1] in names else f"(?P<{field[1]}>{values})"
        names.add(field[1])
        end = field.end()
    return re.compile(pattern + re.escape(template[end:]), re.DOTALL)
