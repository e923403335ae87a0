"""Which weights a reference to a run means."""

import glob
import hashlib
from pathlib import Path

from lslm_lightning.runs import find_run
from lslm_lightning.runs.states import CHECKSUMS, META


def newest_run(reference: str) -> str:
    """The run that is meant, where a pattern such as `runs/translation/cldr_demo-*` stands for the newest run directory that matches and
    has a checkpoint.

    Raises:
        ValueError: nothing matches the pattern.
    """
    if "*" not in reference:
        return reference
    found = [Path(path) for path in glob.glob(reference) if any(Path(path, "checkpoints").glob("*.ckpt"))]
    if not found:
        raise ValueError(f"no run with a checkpoint matches {reference!r}; train one first, or name another")
    return str(max(found, key=lambda path: path.joinpath("config.yaml").stat().st_mtime))


def fingerprint_of(reference: str) -> str | None:
    """SHA-256 of the weights of a run; None where they are no longer here."""
    try:
        directory, path = find_run(reference), Path(reference)
        path = path if path.is_file() or (path / META).exists() else directory.checkpoint()
    except ValueError:
        return None
    return digest_of_file(path / CHECKSUMS if path.is_dir() else path)


def digest_of_file(path: Path) -> str:
    """SHA-256 of its bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
