"""Configuration of Sphinx for the pages of both languages; `python -m docs` builds them."""

import sys
from pathlib import Path

HOME = Path(__file__).parent
sys.path.insert(0, str(HOME.parent))

from lslm_lightning import __version__  # noqa: E402

is_chinese = tags.has("zh")  # type: ignore[name-defined]  # noqa: F821

project = "lslm-lightning"
author = "the authors of lslm-lightning"
copyright = "the authors of lslm-lightning, MIT licence"
version = release = __version__
language = "zh_CN" if is_chinese else "en"
extensions = ["myst_parser", "docs.extension"]
templates_path = [str(HOME / "templates")]

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_dmath_allow_digits = False
myst_dmath_allow_space = False
suppress_warnings = ["myst.header"]  # generated sections may start below the level above them

html_theme = "furo"
html_title = f"lslm-lightning {__version__}"
html_static_path = [str(HOME / "static")]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_search_language = "zh" if is_chinese else "en"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_use_index = True
html_domain_indices = False
add_module_names = False
smartquotes = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
