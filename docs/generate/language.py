"""Language of generated texts: English as the code has it, or Chinese by the catalogues."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from lslm_lightning.localization import (
    COMMANDS,
    ENGLISH,
    REPORTS,
    SETTINGS,
    interface_language,
    translated,
)
from lslm_lightning.localization.catalogue import Catalogue, read_entries

FOLDER = Path(__file__).parent / "zh"
KINDS = (SETTINGS, COMMANDS, REPORTS)  # of the interface, whose texts pages show too


@contextmanager
def language_of_texts(language: str) -> Iterator[None]:
    """Make texts in a language within the body of the `with` statement."""
    before = os.environ.get("LSLM_LANG")
    os.environ["LSLM_LANG"] = language
    try:
        yield
    finally:
        if before is None:
            del os.environ["LSLM_LANG"]
        else:
            os.environ["LSLM_LANG"] = before


def localized(text: str) -> str:
    """Return an English text of a page in the language of the texts that are being made."""
    if interface_language() == ENGLISH or not text:
        return text
    if (found := own_catalogue().whole(text, 0)) is not None:
        return found
    return next((shown for kind in KINDS if (shown := translated(text, kind)) != text), text)


def one_sentence(parts: Iterable[str]) -> str:
    """Return parts joined by semicolons, as the language writes them, with a full stop."""
    semicolon, stop = ("; ", ".") if interface_language() == ENGLISH else ("；", "。")
    return semicolon.join(parts) + stop


def colon() -> str:
    """Return the colon between a name and what it means, as the language has it."""
    return ": " if interface_language() == ENGLISH else "："


@cache
def own_catalogue() -> Catalogue:
    """Return the Chinese texts that only pages show."""
    return Catalogue(
        {
            text: translation
            for path in sorted(FOLDER.glob("*.po"))
            for text, translation in read_entries(path).items()
        }
    )
