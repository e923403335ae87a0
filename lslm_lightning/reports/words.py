"""Words of reports in the language of the interface.

Reports are composed in English and translated when they are rendered. Titles, headings, captions,
notes, labels and names of facts are words of the interface, unless they are `Verbatim`. Cells,
names of series, outputs and other texts are data, unless they are a `Term`.
"""

from collections.abc import Iterable

from lslm_lightning.localization import (
    CHINESE,
    MESSAGES,
    REPORTS,
    Joined,
    Term,
    Verbatim,
    interface_language,
    translated,
)

CHINESE_SEPARATORS = {", ": "、", "; ": "；"}
LANGUAGE_TAGS = {CHINESE: "zh-CN"}  # BCP 47, where it is not the name of the language itself


def words(text: str) -> str:
    """Return words of the interface in its language; `Verbatim` is returned unchanged.

    Reasons and remarks that are messages of commands too are translated as such.
    """
    if isinstance(text, Verbatim) or interface_language() != CHINESE:
        return text
    if isinstance(text, Joined):
        return CHINESE_SEPARATORS[text.separator].join(map(words, text.parts))
    shown = translated(text, REPORTS)
    return translated(text, MESSAGES) if shown == text else shown


def labelled(label: str, text: str) -> str:
    """Return a text behind its label and a colon, both as the language of the interface has them.

    Args:
        text: text that is shown already.
    """
    return f"{words(label)}{colon()}{text}"


def colon() -> str:
    """Return the colon behind a label, with the space that follows it in English."""
    return "：" if interface_language() == CHINESE else ": "


def bracketed(text: str, inner: str) -> str:
    """Return a text with another in parentheses and a colon, as the language of the interface has
    them; both are shown already.
    """
    return f"{text}（{inner}）：" if interface_language() == CHINESE else f"{text} ({inner}): "


def sentences(texts: Iterable[str]) -> str:
    """Return sentences of the interface in its language, joined to one text."""
    between = "" if interface_language() == CHINESE else " "
    return between.join(map(words, texts))


def named(text: str) -> str:
    """Return data, such as a name, unchanged; a `Term` in the language of the interface."""
    return words(text) if isinstance(text, Term) else text


def listed_words(line: str) -> str:
    """Return a line of several words or settings, separated by commas, with each translated that
    is a word of the interface. A `Term` is one text, and `Verbatim` is data.
    """
    if isinstance(line, Term | Verbatim):
        return named(line)
    return ", ".join(map(words, line.split(", ")))


def page_language() -> str:
    """Return the BCP 47 code of the language of the interface."""
    language = interface_language()
    return LANGUAGE_TAGS.get(language, language)


def language_of(text: str, language: str) -> str:
    """Return the BCP 47 code of a text as it is shown: the interface's if the text is translated,
    otherwise `language`.
    """
    return language if words(text) == text else page_language()
