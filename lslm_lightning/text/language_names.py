"""Names of languages, and matching of language codes."""

import re
from collections.abc import Sequence
from functools import cache

from lslm_lightning.text.languages import base_language

LANGUAGE = r"[a-z]{2,3}([-_][a-z0-9]+)*"
"""Form of a language code, in any case."""


def is_language(code: str) -> bool:
    """Return whether a text is a language code that CLDR knows, with or without script and
    region.
    """
    if not re.fullmatch(LANGUAGE, code, re.IGNORECASE):
        return False
    from babel import Locale  # slow to import

    return base_language(code) in Locale("en").languages


def language_named(name: str) -> str | None:
    """Return the code of the language with this English or native name, ignoring case, or None."""
    return _codes_by_name().get(" ".join(name.split()).casefold())


def match_language(code: str, names: Sequence[str]) -> str | None:
    """Return the element of `names` that denotes the same language as `code`, or None.

    Elements are codes or names of languages; exact matches are preferred. A code without script and
    region also matches a code with them, and vice versa, if it is the only element in that
    language.
    """
    wanted = _comparable(code)
    if code in names:
        return code
    if matches := [name for name in names if _comparable(name) == wanted]:
        return matches[0]
    if matches := [name for name in names if language_named(name) in (code, wanted)]:
        return matches[0]
    base = base_language(code)
    matches = [name for name in names if base == base_language(language_named(name) or name)]
    if len(matches) == 1 and base in (
        wanted,
        _comparable(language_named(matches[0]) or matches[0]),
    ):
        return matches[0]
    return None


def _comparable(code: str) -> str:
    """Return a code in lower case with hyphens and a canonical language part: "zh-cn" for
    "zh_CN".
    """
    return "-".join([base_language(code), *code.lower().replace("_", "-").split("-")[1:]])


@cache
def _codes_by_name() -> dict[str, str]:
    """Return language name in lower case -> code.

    The names are CLDR's English names, and native names that are not the English name of another
    language.
    """
    from babel import Locale, localedata

    codes = {
        name.casefold(): code.replace("_", "-") for code, name in Locale("en").languages.items()
    }
    for code in localedata.locale_identifiers():
        if "_" not in code and (name := Locale(code).languages.get(code)):
            codes.setdefault(name.casefold(), code)
    return codes
