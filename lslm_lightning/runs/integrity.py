"""Checksums of checkpoints, and checks by them, since torch does not detect a flipped bit."""

import hashlib
import zipfile
import zlib
from pathlib import Path

from lslm_lightning.runs.states import CHECKSUMS, damage_of_folder, packing_of


def damage(path: Path) -> str | None:
    """Return a description of the damage of a checkpoint, found by the CRC-32 checksums of its
    parts.

    The result is None if the checkpoint is intact.
    """
    if path.is_dir():
        return damage_of_folder(path)
    try:
        with zipfile.ZipFile(path) as file:
            if problem := packing_of(file):
                return problem
            broken = file.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        # RuntimeError: encrypted, or an unknown compression method
        if isinstance(error, OSError) and error.errno:
            raise
        return f"it is truncated, or not a checkpoint ({error})"
    return None if broken is None else f"the checksum of its part {broken} is wrong"


def weights_digest(checkpoint: Path) -> str:
    """Return the SHA-256 of a checkpoint: of the file, or of the list of checksums of a folder.

    Raises:
        FileNotFoundError: there is no such checkpoint.
    """
    path = checkpoint / CHECKSUMS if checkpoint.is_dir() else checkpoint
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
