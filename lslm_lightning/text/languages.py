"""Language codes, and what a script tells of a language."""

import re

from lslm_lightning.text.chinese import cjk_share

WITHOUT_SPACES = frozenset(("zh", "yue", "ja", "th", "lo", "km", "my"))
"""Languages that write no space between words."""


def base_language(code: str) -> str:
    """The language of a BCP 47 code without script and region: 'zh' of 'zh-Hans-CN' and of 'zh_CN'."""
    return code.lower().replace("_", "-").split("-")[0]


def language_of_script(text: str) -> str | None:
    """`ja`, `ko` or `zh` where at least a third of the characters are of their scripts; None where the script leaves it open."""
    if cjk_share(text) < 1 / 3:
        return None
    return "ja" if re.search(r"[\u3041-\u30fa]", text) else "ko" if re.search(r"[\uac00-\ud7a3]", text) else "zh"


def name_of_language(code: str) -> str:
    """The English name of a BCP 47 code: "Chinese" of "zh"; the code itself where CLDR has none."""
    from babel import Locale, UnknownLocaleError  # slow to import

    try:
        return Locale.parse(code, sep="-" if "-" in code else "_").get_display_name("en") or code
    except (UnknownLocaleError, ValueError):
        return code
