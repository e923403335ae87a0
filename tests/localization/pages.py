"""Words of a rendered report that a reader takes for the interface, and the Latin words in them."""

import re
from html.parser import HTMLParser

DATA = {"text", "data-examples"}  # classes and attributes of elements that hold texts of a corpus
LATIN = re.compile(r"[A-Za-z][A-Za-z_'’-]+")
VOID = {"meta", "link", "wbr", "input", "img", "image", "path", "rect", "circle"}


class Words(HTMLParser):
    """Texts of a page by the tag that holds them, without outputs, code, styles and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.open: list[tuple[str, bool]] = []
        self.language = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        classes = (given.get("class") or "").split()
        hidden = tag in ("pre", "code", "style", "script") or not DATA.isdisjoint(
            [*classes, *given]
        )
        # a label of a heat map is a token; so is a paragraph in the language of a corpus
        hidden |= tag == "g" and "lang" in given
        hidden |= tag == "p" and "prose" in classes and given.get("lang") != self.language
        if tag == "html":
            self.language = given.get("lang") or ""
        if tag not in VOID:
            self.open.append((tag, hidden))
        for name in ("aria-label", "title", "placeholder", "alt"):
            if given.get(name) and not self.is_hidden:
                self.found.append((name, str(given[name])))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    @property
    def is_hidden(self) -> bool:
        return any(hidden for _, hidden in self.open)

    def handle_data(self, data: str) -> None:
        if data.strip() and not self.is_hidden:
            self.found.append((self.open[-1][0], " ".join(data.split())))


def latin_words(page: str, known: set[str]) -> list[tuple[str, str]]:
    """Return the texts of a page with Latin words that are not among `known`, and their tags."""
    return [(tag, text) for tag, text in Words(page).found if set(LATIN.findall(text)) - known]
