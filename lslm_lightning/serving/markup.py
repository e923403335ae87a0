"""Texts inside a document, which are translated while its tags and line breaks stay."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from html import escape, unescape

KEPT = ("script", "style", "code", "pre", "textarea")  # whose texts are not translated
RAW = ("script", "style", "textarea")  # whose contents have no tags
VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr")
# What is no text. Each alternative ends at the end of the document at the latest, so that none
# fails after it has read far: the time is proportional to the length.
MARKUP = re.compile(
    r"""<(?:!--.*?(?:-->|\Z)
    |!\[CDATA\[.*?(?:\]\]>|\Z)
    |(?P<end>/?)(?P<tag>[a-zA-Z][^\s/>]*)
     (?:[^>=]|=\s*(?:"[^"]*(?:"|\Z)|'[^']*(?:'|\Z)|[^\s>]*))*(?:>|\Z)
    |[!?/][^>]*(?:>|\Z))""",
    re.DOTALL | re.VERBOSE,
)
ATTRIBUTE = re.compile(r"""([^\s=/>]+)\s*(?:=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*)))?""")


@dataclass
class MarkupText:
    """Texts of a document, and what stands between them.

    Attributes:
        parts: parts of the document in order; None stands for the next of `texts`.
        texts: texts to translate, without the spaces around them and with characters in place of
            entities.
        is_markup: True for HTML, False for plain text.
    """

    parts: list[str | None] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    is_markup: bool = True

    def add(self, raw: str) -> None:
        """Add a text of HTML, with entities."""
        text = characters(raw)
        stripped = text.strip()
        if not stripped:
            self.parts.append(raw)
            return
        start = len(text) - len(text.lstrip())
        self.parts += [text[:start], None, text[start + len(stripped) :]]
        self.texts.append(" ".join(stripped.split()))

    def filled(self, translations: Iterable[str]) -> str:
        """Return the document with translations in place of its texts; in HTML, `<`, `>` and `&`
        in them become entities.
        """
        written = (
            map(partial(escape, quote=False), translations) if self.is_markup else translations
        )
        remaining = iter(written)
        return "".join(next(remaining) if part is None else part for part in self.parts)


def split_markup(document: str) -> MarkupText:
    """Return the texts of an HTML document. A text ends at each tag."""
    found = MarkupText()
    kept = ""  # name of the outermost tag whose contents are not translated
    depth = 0  # number of open tags of that name
    position = 0
    while (match := MARKUP.search(document, position)) is not None:
        before, raw, position = document[position : match.start()], match[0], match.end()
        if kept:
            found.parts.append(before)
        else:
            found.add(before)
        found.parts.append(raw)
        tag = (match["tag"] or "").lower()
        if match["end"]:
            depth -= tag == kept
            kept = kept if depth else ""
        elif tag and tag not in VOID and not raw.endswith("/>"):
            if not kept and (tag in KEPT or is_fixed(raw)):
                kept = tag
            depth += tag == kept
            if tag in RAW:
                end = re.compile(rf"</{tag}(?![^\s/>])", re.IGNORECASE).search(document, position)
                position, start = end.start() if end else len(document), position
                found.parts.append(document[start:position])
    (found.parts.append if kept else found.add)(document[position:])
    return found


def is_fixed(tag: str) -> bool:
    """Return whether a tag says that its contents are not to be translated."""
    return "translate" in tag.lower() and any(
        name.lower() == "translate" and "no" in values for name, *values in ATTRIBUTE.findall(tag)
    )


def characters(raw: str) -> str:
    """Return a text with characters in place of entities."""
    try:
        return unescape(raw)
    except ValueError:  # a number of thousands of digits
        return raw


def split_lines(text: str) -> MarkupText:
    """Return the lines of a plain text that have letters or other visible characters."""
    found = MarkupText(is_markup=False)
    for line in text.splitlines(keepends=True):
        visible = line.strip()
        if not visible:
            found.parts.append(line)
            continue
        start = line.index(visible)
        found.parts += [line[:start], None, line[start + len(visible) :]]
        found.texts.append(visible)
    return found
