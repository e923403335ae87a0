"""Markdown descriptions of runs and experiments in MLflow, signed so that a user's edits are
kept.
"""

import re

from lslm_lightning.tracking.names import hash_of

DESCRIPTION = "mlflow.note.content"  # the tag
SIGNATURE = re.compile(r"\n\n<!-- lslm ([0-9a-f]{12}) -->\s*\Z")  # an HTML comment
CUT = "\n\n..."


def sign(text: str, longest: int) -> str:
    """Return the text of a description followed by a checksum of it, together at most `longest`
    characters long. By the checksum, `is_own` knows whether somebody edited the text.
    """
    room = longest - len(signature("")) - len(CUT)
    text = text.strip()
    text = text if len(text) <= room else text[:room].rpartition("\n")[0].rstrip() + CUT
    return text + signature(text)


def is_own(text: str) -> bool:
    """Return whether a description may be replaced: it is empty, or was written by this package and
    not edited since.
    """
    if not text.strip():
        return True
    found = SIGNATURE.search(text)
    if found is None:
        return False
    return signature(text[: found.start()]).strip() == found[0].strip()


def signature(text: str) -> str:
    """Return the HTML comment that this package appends to the description `text`."""
    return f"\n\n<!-- lslm {hash_of(text)[:12]} -->"
