"""Checks of checkpoint files by their checksums, since torch does not detect a flipped bit."""

import zipfile
import zlib
from pathlib import Path

from lslm_lightning.runs.states import damage_of_folder, packing_of


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
