"""Whether a checkpoint is what was written: torch notices no flipped bit."""

import sys
import zipfile
import zlib
from pathlib import Path

from lslm_lightning.runs.directory import RunDirectory, earlier


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, by the checksums of all its parts (CRC-32, of the zip file that it is); None of a whole one."""
    try:
        with zipfile.ZipFile(path) as file:
            broken = file.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        return f"it was cut off, or is none ({error})"
    return None if broken is None else f"the checksum of its part {broken} is wrong"


def last_whole_state(directory: RunDirectory) -> Path | None:
    """The newest state of training that is not damaged; None where none was saved.

    Raises:
        ValueError: all are damaged.
    """
    path, number, found = directory.last, 0, []
    while path.exists():
        words = damage(path)
        if words is None:
            for broken, why in found:
                print(f"{broken} is damaged: {why}; going on from the state before it, {path.name}", file=sys.stderr, flush=True)
            return path
        found.append((path, words))
        number += 1
        path = earlier(directory.last, number)
    if found:
        raise ValueError(f"{found[0][0]} is damaged: {found[0][1]}; there is no whole state before it")
    return None
