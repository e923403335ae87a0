"""Names of languages, and codes that mean the same language however they are written."""

import re
from collections.abc import Sequence
from functools import cache

from lslm_lightning.text.languages import base_language

LANGUAGE = r"[a-z]{2,3}([-_][a-z0-9]+)*"
"""Form of a language code, in any case."""


def is_language(code: str) -> bool:
    """Whether this is a code of a language that CLDR has a name for, with or without script and
    region.
    """
    if not re.fullmatch(LANGUAGE, code, re.IGNORECASE):
        return False
    from babel import Locale  # slow to import

    return base_language(code) in Locale("en").languages


def language_named(name: str) -> str | None:
    """Code of the language with this English or own name, in any case; None of others."""
    return _codes_by_name().get(" ".join(name.split()).casefold())


def match_language(code: str, names: Sequence[str]) -> str | None:
    """Which of these codes and names of languages means the language of `code`, the surest first;
    None if none does.

    A code without script and region also matches the only one of its language that has them, and
    the other way round.
    """
    wanted = _comparable(code)
    if code in names:
        return code
    if found := [name for name in names if _comparable(name) == wanted]:
        return found[0]
    if found := [name for name in names if language_named(name) in (code, wanted)]:
        return found[0]
    own = base_language(code)
    found = [name for name in names if own == base_language(language_named(name) or name)]
    if len(found) == 1 and own in (wanted, _comparable(language_named(found[0]) or found[0])):
        return found[0]
    return None


def _comparable(code: str) -> str:
    """The code in lower case with hyphens, its language as `base_language` has it: "zh-cn" of
    "zh_CN".
    """
    return "-".join([base_language(code), *code.lower().replace("_", "-").split("-")[1:]])


@cache
def _codes_by_name() -> dict[str, str]:
    """CLDR's English names, then the own names that no other language has in English."""
    from babel import Locale, localedata

    codes = {
        name.casefold(): code.replace("_", "-") for code, name in Locale("en").languages.items()
    }
    for code in localedata.locale_identifiers():
        if "_" not in code and (name := Locale(code).languages.get(code)):
            codes.setdefault(name.casefold(), code)
    return codes
