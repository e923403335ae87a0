"""Checksums of the weights of a run."""

import hashlib
from pathlib import Path

from lslm_lightning.runs import find_run
from lslm_lightning.runs.states import CHECKSUMS, META


def fingerprint_of(reference: str) -> str | None:
    """Return the SHA-256 of the weights of a run; None if they no longer exist.

    Args:
        reference: a run directory, a checkpoint in one, or an MLflow run id.
    """
    try:
        directory = find_run(reference)
        path = Path(reference)
        path = path if path.is_file() or (path / META).exists() else directory.checkpoint()
    except ValueError:
        return None
    return digest_of_file(path / CHECKSUMS if path.is_dir() else path)


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
