"""Translation of texts into the language of the interface."""

import re
from functools import cache

from lslm_lightning.localization.catalogue import (
    FOLDER,
    MESSAGES,
    NAMES,
    REPORTS,
    Catalogue,
    entries_of,
    read_entries,
)
from lslm_lightning.localization.language import ENGLISH, interface_language
from lslm_lightning.localization.messages import MessageCatalogue, has_few_letters

COUNTED = re.compile(r"\{n!n\} [a-z ]+")


@cache
def catalogue(kind: str, language: str) -> Catalogue:
    """Return the catalogue of one of `CATALOGUES` in a language other than English."""
    if kind == REPORTS:
        names = entries_of(NAMES, language)
        return Catalogue(entries_of(kind, language) | names, Catalogue(names))
    if kind == MESSAGES:
        return MessageCatalogue(quoted_entries(language) | entries_of(kind, language))
    return Catalogue(entries_of(kind, language))


def quoted_entries(language: str) -> dict[str, str]:
    """Return the entries of reports that messages quote: names of metrics and of scripts, numbers
    with what they count, and sentences. Other short texts would fit data.
    """
    folder = FOLDER / language / REPORTS
    names = read_entries(folder / "metrics.po") | read_entries(folder / "scripts.po")
    every = entries_of(REPORTS, language)
    return names | {
        text: other
        for text, other in every.items()
        if " " in text and (COUNTED.fullmatch(text) or not has_few_letters(text))
    }


def translated(text: str, kind: str) -> str:
    """Return an English text in the language of the interface.

    Args:
        kind: one of `CATALOGUES`.
    """
    language = interface_language()
    return text if language == ENGLISH else catalogue(kind, language).translated(text)
