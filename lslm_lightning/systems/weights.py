"""Checksums of the weights of a run."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from lslm_lightning.runs import FoundRun
from lslm_lightning.runs.integrity import weights_digest


def fingerprint_of(run: Callable[[], FoundRun]) -> str | None:
    """Return the SHA-256 of the weights of a run; None if the run or its weights no longer exist.

    Args:
        run: function that finds the run, or raises ValueError.
    """
    try:
        return weights_digest(run().checkpoint)
    except (ValueError, FileNotFoundError):
        return None


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
