"""Corpora made from installed packages, so that demos need no downloads."""

from lslm_lightning.corpora.builtin.cldr import open_cldr
from lslm_lightning.corpora.builtin.docstrings import open_docstrings

CORPORA = {"cldr": open_cldr, "docstrings": open_docstrings}
