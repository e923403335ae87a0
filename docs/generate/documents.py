"""Documents at the top of the repository, as parts of pages."""

import re

from docs.generate.sources import ROOT

LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")


def document(name: str) -> str:
    """Return a document without its title; links into the repository become plain text.

    Raises:
        ValueError: there is no such document.
    """
    path = ROOT / name
    if not path.is_file():
        raise ValueError(f"the repository has no {name}: a page names it")
    text = path.read_text("utf-8")
    text = re.sub(r"\A# .*\n+", "", text)
    return LINK.sub(r"\1", text).strip()
