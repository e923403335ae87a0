"""Language codes."""

WITHOUT_SPACES = frozenset(("zh", "yue", "ja", "th", "lo", "km", "my"))
"""Languages that write no space between words."""


def base_language(code: str) -> str:
    """The language of a BCP 47 code without script and region: 'zh' of 'zh-Hans-CN' and of 'zh_CN'."""
    return code.lower().replace("_", "-").split("-")[0]
