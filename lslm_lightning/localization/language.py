"""Choice of the language of the interface."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

ENGLISH = "en"
CHINESE = "zh"
LANGUAGES = (ENGLISH, CHINESE)
VARIABLE = "LSLM_LANG"
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set counts, as in POSIX
CHOSEN: ContextVar[str | None] = ContextVar("language of the interface", default=None)


def interface_language(environment: Mapping[str, str] = os.environ) -> str:
    """Return the language of help, messages and reports: "en" or "zh".

    Within `interface_in` it is the one named there. Otherwise `LSLM_LANG` decides if it is set, or
    else the locale, and any language but Chinese gives English.

    Raises:
        ValueError: `LSLM_LANG` is neither a supported language nor a locale of one (`zh_CN.UTF-8`).
    """
    if chosen := CHOSEN.get():
        return chosen
    if named := environment.get(VARIABLE, ""):
        code = language_code(named)
        if code not in LANGUAGES:
            choices = " or ".join(LANGUAGES)
            raise ValueError(f"`{VARIABLE}`={named!r} must be {choices}, or unset for the locale's")
        return code
    named = next(filter(None, map(environment.get, LOCALE)), "")
    return CHINESE if language_code(named) == CHINESE else ENGLISH


def language_code(locale: str) -> str:
    """Return the language of a locale's name in lower case: "zh" for `zh_CN.UTF-8`."""
    return locale.replace("-", "_").partition("_")[0].partition(".")[0].lower()


@contextmanager
def interface_in(language: str) -> Iterator[None]:
    """Choose the language of the interface for this context alone, as a server does for each
    request.
    """
    token = CHOSEN.set(language)
    try:
        yield
    finally:
        CHOSEN.reset(token)
