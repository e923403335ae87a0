"""Translation of texts into the language of the interface."""

from functools import cache

from lslm_lightning.localization.catalogue import (
    MESSAGES,
    NAMES,
    REPORTS,
    Catalogue,
    entries_of,
)
from lslm_lightning.localization.language import ENGLISH, interface_language
from lslm_lightning.localization.messages import MessageCatalogue


@cache
def catalogue(kind: str, language: str) -> Catalogue:
    """Return the catalogue of one of `CATALOGUES` in a language other than English."""
    if kind == REPORTS:
        names = entries_of(NAMES, language)
        return Catalogue(entries_of(kind, language) | names, Catalogue(names))
    made = MessageCatalogue if kind == MESSAGES else Catalogue
    return made(entries_of(kind, language))


def translated(text: str, kind: str) -> str:
    """Return an English text in the language of the interface.

    Args:
        kind: one of `CATALOGUES`.
    """
    language = interface_language()
    return text if language == ENGLISH else catalogue(kind, language).translated(text)
