"""Sphinx extension of the site: generated parts of pages, formulas as MathML, search in Chinese."""

from gettext import NullTranslations
from pathlib import Path

import sphinx.search
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.locale import get_translator
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

from docs.chinese_search import SearchChinese
from docs.generate import filled_in

OTHER = {"en": ("zh", "中文", "zh-CN"), "zh": ("en", "English", "en")}

THEME_IN_CHINESE = {  # what Sphinx's own translation lacks
    "Back to top": "回到顶部",
    "Copyright": "版权所有",
    "Home": "首页",
    "Made with": "主题：",
    "Next": "下一页",
    "On this page": "本页目录",
    "Previous": "上一页",
    "Skip to content": "跳到正文",
}


class ThemeTranslation(NullTranslations):
    """Translation of the theme's texts into Chinese; the theme has none."""

    def gettext(self, message: str) -> str:
        """Return a text of the theme in Chinese."""
        return THEME_IN_CHINESE.get(message.strip(), message)


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the markers of a page by generated text."""
    source[0] = filled_in(source[0], Path(app.srcdir).name)


def add_other_language(
    app: Sphinx, page: str, template: str, context: dict[str, object], doctree: nodes.document
) -> None:
    """Give the templates the address and the name of the page in the other language."""
    folder, name, code = OTHER[Path(app.srcdir).name]
    context["other_language"] = {
        "address": f"{context['content_root']}../{folder}/{page}.html",
        "name": name,
        "code": code,
    }


def inline_formula(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line as MathML, which browsers show without scripts."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def formula_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula of its own as MathML."""
    self.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the parts of the extension."""
    sphinx.search.languages["zh"] = SearchChinese
    if app.config.language == "zh_CN":
        get_translator().add_fallback(ThemeTranslation())
    app.connect("source-read", fill_in)
    app.connect("html-page-context", add_other_language)
    app.add_html_math_renderer("mathml", (inline_formula, None), (formula_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
