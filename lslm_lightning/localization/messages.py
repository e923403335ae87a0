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
)

COLON = re.compile(r": +(?=\S)")
ENDS = {".": "。", ";": "；", ":": "："}
SEPARATOR = r"[;,:]| [(±+]"  # with which a piece of a message begins
FEW_LETTERS = 8


class MessageCatalogue(Catalogue):
    """Translations of messages, which may be composed of several: behind a file and a line (`file,
    line 3: ...`), or one behind another.

    A template of few letters would fit much that it was not written for. Its fields stand for
    single words, and those that are translated need an entry of their own. A field that is
    translated may be empty; right behind another field it begins with punctuation.
    """

    def whole(self, text: str, depth: int) -> str | None:
        """Return the translation of a text by one entry, which may lack its last punctuation mark
        or what stands before a colon; None if no entry fits.
        """
        if (found := super().whole(text, depth)) is not None:
            return found
        if (end := ENDS.get(text[-1:])) and (found := super().whole(text[:-1], depth)) is not None:
            return found + end
        for colon in COLON.finditer(text) if depth < MAX_DEPTH else ():
            rest = self.whole(text[colon.end() :], depth + 1)
            if rest is not None:
                return f"{self.translated(text[: colon.start()], depth + 1)}：{rest}"
        return None

    def by_template(self, text: str, depth: int) -> str | None:
        """Return the translation of a text by the fitting template with the most letters of its
        own; None if none fits.
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
            return self.filled(template.translation, match.groupdict(), depth)
        return None


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
