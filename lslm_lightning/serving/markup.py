"""Texts inside a document, which are translated while its tags and line breaks stay."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from html import escape, unescape
from html.parser import HTMLParser

KEPT = ("script", "style", "code", "pre", "textarea")  # whose texts are not translated
VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr")


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

    def filled(self, translations: Iterable[str]) -> str:
        """Return the document with translations in place of its texts; in HTML, `<`, `>` and `&`
        in them become entities.
        """
        written = (
            map(partial(escape, quote=False), translations) if self.is_markup else translations
        )
        remaining = iter(written)
        return "".join(next(remaining) if part is None else part for part in self.parts)


class MarkupParser(HTMLParser):
    """Parser that finds the texts of a document. A text ends at each tag."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found = MarkupText()
        self.text = ""
        self.raw = ""
        self.kept: list[str] = []

    def _end_text(self) -> None:
        """Add the text before a tag."""
        text, raw = self.text, self.raw
        self.text = self.raw = ""
        if not text.strip() or self.kept:
            self.found.parts.append(raw)
            return
        stripped = text.strip()
        before = text[: len(text) - len(text.lstrip())]
        self.found.parts += [before, None, text[len(text.rstrip()) :]]
        self.found.texts.append(" ".join(stripped.split()))

    def _add(self, raw: str) -> None:
        self._end_text()
        self.found.parts.append(raw)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag; nothing inside is translated if it says so."""
        self._add(self.get_starttag_text() or "")
        is_kept = tag in KEPT or ("translate", "no") in attrs
        if tag not in VOID and (is_kept or self.kept):
            self.kept.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag that has no contents."""
        self._add(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        """Keep the end of a tag."""
        self._add(f"</{tag}>")
        if tag in self.kept:
            del self.kept[len(self.kept) - 1 - self.kept[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data
        self.raw += data

    def handle_entityref(self, name: str) -> None:
        """Collect a named character."""
        self._character(f"&{name};")

    def handle_charref(self, name: str) -> None:
        """Collect a numbered character."""
        self._character(f"&#{name};")

    def _character(self, raw: str) -> None:
        self.text += unescape(raw)
        self.raw += raw

    def handle_comment(self, data: str) -> None:
        """Keep a comment."""
        self._add(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        """Keep a declaration."""
        self._add(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        """Keep a processing instruction."""
        self._add(f"<?{data}>")

    def unknown_decl(self, data: str) -> None:
        """Keep a declaration of another kind."""
        self._add(f"<![{data}]>")

    def close(self) -> None:
        """End the document."""
        super().close()
        self._end_text()


def split_markup(document: str) -> MarkupText:
    """Return the texts of an HTML document."""
    parser = MarkupParser()
    parser.feed(document)
    parser.close()
    return parser.found


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
