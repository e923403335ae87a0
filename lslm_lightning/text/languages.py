"""Language codes: canonical form, script and name."""

import difflib
import re
from functools import cache

import regex

from lslm_lightning.text.chinese import cjk_share
from lslm_lightning.text.scripts import Units, units_of_script

UNDETERMINED = "und"
"""Code of BCP 47 for an unknown language; "und-Cyrl" adds its script."""


@cache
def canonical(code: str) -> str:
    """Return the canonical BCP 47 form of a language code: "zh-Hant-TW" for "ZH_hant_tw", "zh" for
    "cmn" and "zho".

    CLDR's aliases replace deprecated codes, codes of ISO 639-2 and 639-3, and dialects that belong
    to a macrolanguage. Script and region are kept.

    Raises:
        ValueError: `code` is not a language code; the message suggests the most similar code.
    """
    form = _canonical(code)
    if form is None:
        raise ValueError(
            f"language={code!r} must be a code of BCP 47 such as en, de or "
            f"zh-Hant{_suggestion(code)}"
        )
    return form


def base_language(code: str) -> str:
    """Return a language code without script and region: "zh" for "zh-Hans-CN", "zh_CN" and "cmn".

    For a text that is not a language code, return its first part.
    """
    return (_canonical(code) or code.lower().replace("_", "-")).split("-")[0]


@cache
def script_of_language(code: str) -> str:
    """Return the ISO 15924 code of the script of a language; "" if it is unknown.

    The script is taken from the language code or, if absent there, from CLDR's likely subtags.
    """
    parts = (_canonical(code) or code).split("-")
    stated = next((part for part in parts[1:] if re.fullmatch(r"[A-Z][a-z]{3}", part)), "")
    if stated:
        return stated
    region = next((part for part in parts[1:] if re.fullmatch(r"[A-Z]{2}|\d{3}", part)), "")
    likely = _data().likely
    subtags = likely.get(f"{parts[0]}_{region}") or likely.get(parts[0], "")
    return next((part for part in subtags.split("_") if re.fullmatch(r"[A-Z][a-z]{3}", part)), "")


def units_of(code: str) -> Units:
    """Return the unit that counts as a word in texts of a language, such as "words" or
    "graphemes".
    """
    return units_of_script(script_of_language(code))


def writes_spaces(code: str) -> bool:
    """Return whether a language puts spaces between words."""
    return units_of(code) == "words"


def language_of_script(text: str) -> str | None:
    """Return "ja", "ko" or "zh" for a text that is mostly in CJK characters, else None.

    The text qualifies if it has more CJK characters than words of other scripts.
    """
    if cjk_share(text) <= 0.5:
        return None
    hangul = len(regex.findall(r"\p{Script=Hangul}", text))
    kana = len(regex.findall(r"[\p{Script=Hiragana}\p{Script=Katakana}]", text))
    han = len(regex.findall(r"\p{Script=Han}", text))
    if hangul > han + kana:
        return "ko"
    return "ja" if kana > 0.1 * (han + kana) else "zh"


@cache
def name_of_language(code: str) -> str:
    """Return the English name of a BCP 47 code, "Chinese" for "zh"; the code itself if CLDR has no
    name.
    """
    from babel import Locale, UnknownLocaleError  # slow to import

    code = _canonical(code) or code
    try:
        if base_language(code) != UNDETERMINED:
            return Locale.parse(code, sep="-").get_display_name("en") or code
    except (UnknownLocaleError, ValueError):
        pass
    language, *rest = code.split("-")
    english = Locale("en")
    more = [english.scripts.get(part) or english.territories.get(part) or part for part in rest]
    name = english.languages.get(language)
    return (name + (f" ({', '.join(more)})" if more else "")) if name else code


def name_of_script(code: str) -> str:
    """Return the English name of an ISO 15924 code, "Cyrillic" for "Cyrl"; the code itself if CLDR
    has no name.
    """
    from babel import Locale

    return Locale("en").scripts.get(code, code)


class _Cldr:
    """CLDR tables about language codes, from Babel's data."""

    def __init__(self) -> None:
        from babel import Locale
        from babel.core import get_global

        self.aliases: dict[str, str] = dict(get_global("language_aliases"))
        self.likely: dict[str, str] = dict(get_global("likely_subtags"))
        self.regions: dict[str, str] = {
            old: new[0] for old, new in get_global("territory_aliases").items()
        }
        self.names: dict[str, str] = dict(Locale("en").languages)
        self.scripts = frozenset(Locale("en").scripts)
        known = {code.split("_")[0] for code in (*self.likely, *self.names, *self.aliases.values())}
        self.languages = frozenset(known - self.aliases.keys()) | {"mul", "zxx"}


@cache
def _data() -> _Cldr:
    return _Cldr()


@cache
def _canonical(code: str) -> str | None:
    """Return the canonical form of a language code; None if the text is not a language code."""
    data = _data()
    parts = code.strip().replace("_", "-").split("-")
    if not all(re.fullmatch(r"[A-Za-z0-9]{1,8}", part) for part in parts):
        return None
    language = parts[0].lower()
    rest = parts[1:]
    if language == "x" and rest:  # for private use
        return "-".join(part.lower() for part in parts)
    if (
        rest
        and (extended := rest[0].lower()) in data.languages | data.aliases.keys()
        and re.fullmatch(r"[a-z]{3}", extended)
    ):
        # zh-yue is yue
        language = extended
        rest = rest[1:]
    written = data.aliases.get(language, language).split("_")
    language = written[0]
    implied = written[1:]
    if language not in data.languages and not re.fullmatch(r"q[a-t][a-z]", language):
        return None
    tags = []
    for i, part in enumerate(rest):
        if len(part) == 1:  # an extension, to the end
            tags += [each.lower() for each in rest[i:]]
            break
        if re.fullmatch(r"[A-Za-z]{4}", part):
            if part.title() not in data.scripts:
                return None
            tags.append(part.title())
        elif re.fullmatch(r"[A-Za-z]{2}|\d{3}", part):
            tags.append(data.regions.get(part.upper(), part.upper()))
        elif re.fullmatch(r"[A-Za-z0-9]{5,8}|\d[A-Za-z0-9]{3}", part):
            tags.append(part.lower())
        else:
            return None
    kinds = {len(tag) for tag in tags}
    tags = [tag for tag in implied if len(tag) not in kinds] + tags  # sh is sr-Latn, prs is fa-AF
    tags.sort(key=lambda tag: not re.fullmatch(r"[A-Z][a-z]{3}", tag))
    return "-".join([language, *tags])


def _suggestion(code: str) -> str:
    """Return a suffix for an error message that suggests the most similar code; "" if there is
    none.
    """
    near = _nearest(code.strip().lower())
    return f"; the nearest is {near} ({name_of_language(near)})" if near else ""


def _nearest(wanted: str) -> str | None:
    """Return the language code that a word probably means, or None.

    Tried in order: the English name of a language, the code of a country, the native name of a
    language, and codes or names with similar spelling.
    """
    data = _data()
    by_name = {name.lower(): known for known, name in data.names.items() if "_" not in known}
    if wanted in by_name:
        return by_name[wanted]
    if re.fullmatch(r"[a-z]{2}", wanted) and (likely := data.likely.get(f"und_{wanted.upper()}")):
        return likely.split("_")[0]  # jp is ja
    if code := _autonyms().get(wanted):
        return code
    if near := difflib.get_close_matches(wanted, by_name, 1, 0.8):
        return by_name[near[0]]
    letters = re.findall(r"^[a-z]*", wanted)[0]
    for part in (letters, letters[:3], letters[:2]):
        if part and (form := _canonical(part)):
            return form
    near = difflib.get_close_matches(wanted, sorted(data.names.keys() & data.languages), 1, 0.5)
    return near[0] if near else None


@cache
def _autonyms() -> dict[str, str]:
    """Return native name in lower case -> language code: "deutsch" -> "de"."""
    from babel import Locale
    from babel.localedata import locale_identifiers

    codes = [code for code in locale_identifiers() if re.fullmatch(r"[a-z]{2,3}", code)]
    return {name.lower(): code for code in codes if (name := Locale(code).languages.get(code))}
