"""Checks of checkpoint files by checksum, since torch does not notice a flipped bit."""

import sys
import zipfile
import zlib
from pathlib import Path

from lslm_lightning.runs.directory import RunDirectory, earlier
from lslm_lightning.runs.states import aside, damage_of_folder, packing_of


def damage(path: Path) -> str | None:
    """Return a description of how a checkpoint is damaged, by the CRC-32 checksums of its parts;
    None if it is intact.
    """
    if path.is_dir():
        return damage_of_folder(path)
    try:
        with zipfile.ZipFile(path) as file:
            if words := packing_of(file):
                return words
            broken = file.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        # RuntimeError: a password, another method
        if isinstance(error, OSError) and error.errno:
            raise
        return f"it is truncated, or not a checkpoint ({error})"
    return None if broken is None else f"the checksum of its part {broken} is wrong"


def last_whole_state(directory: RunDirectory) -> Path | None:
    """Return the newest training checkpoint of a run that is not damaged; None if none was saved.

    Raises:
        ValueError: all of them are damaged.
    """
    candidates = [directory.last, aside(directory.last)]
    found = []
    while (path := earlier(directory.last, len(candidates) - 1)).exists():
        candidates.append(path)
    for path in candidates:
        if not path.exists():
            continue
        words = damage(path)
        if words is None:
            for broken, why in found:
                print(
                    f"{broken} is damaged: {why}; resuming from the previous checkpoint, "
                    f"{path.name}",
                    file=sys.stderr,
                    flush=True,
                )
            return path
        found.append((path, words))
    if found:
        raise ValueError(
            f"{found[0][0]} is damaged: {found[0][1]}; there is no intact checkpoint before it"
        )
    return None
