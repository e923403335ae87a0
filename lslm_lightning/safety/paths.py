"""Checks of paths from outside: whether they stay inside a folder, what kind of file they name, and
which existing path is similar.
"""

import re
import stat
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

MOST_NAMES = 5_000  # candidates compared with a path that does not exist
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def is_inside(name: str) -> bool:
    """Return whether a relative path, read as a POSIX path and as a Windows path, stays inside the
    folder that it is relative to.
    """
    parts = re.split(r"[/\\]", name)
    is_absolute = not parts[0] or re.match("[A-Za-z]:", name) is not None
    return not is_absolute and ".." not in parts and "\0" not in name


def nearest_path(path: str | Path, others: Iterable[Path] = ()) -> Path | None:
    """Return the existing path most similar to `path`; None if no path is similar.

    Each part of `path` that does not exist is compared with the names in its folder.

    Args:
        others: further candidates in any folder; their names and their whole paths are compared.
    """
    path = Path(path)
    found = Path(path.anchor) if path.is_absolute() else Path()
    for part in path.parts[bool(path.anchor) :]:
        try:
            if not (found / part).exists():
                names = [other.name for other in islice(found.iterdir(), MOST_NAMES)]
                [part] = get_close_matches(part, names, 1)
        except (OSError, ValueError):  # no folder, or nothing in it has such a name
            break
        found = found / part
    else:
        return found
    known = list(islice(others, MOST_NAMES))
    file_names = dict.fromkeys(other.name for other in known)
    if near := get_close_matches(path.name, file_names, 1, 0.8):
        known = [other for other in known if other.name == near[0]]
    cutoff = 0.0 if near else 0.6
    near = get_close_matches(str(path), [str(other) for other in known], 1, cutoff)
    return Path(near[0]) if near else None


def did_you_mean(path: str | Path, others: Iterable[Path] = ()) -> str:
    """Return "; did you mean PATH?" for the existing path most similar to `path`, to be appended to
    a message; "" if no path is similar.

    Args:
        others: further candidates in any folder.
    """
    near = nearest_path(path, others)
    return "" if near is None else f"; did you mean {near}?"


def other_kind(path: Path) -> str:
    """Return the kind of a path that is not a regular file, such as "a named pipe"; "" for a
    regular file and for a missing path.
    """
    try:
        return KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except (OSError, ValueError):
        return "a link that leads nowhere" if path.is_symlink() else ""


def check_is_file(path: Path, takes_folders: bool = False) -> None:
    """Check that a path is not a pipe, device, socket or folder, since reading it may block or
    never end.

    Args:
        takes_folders: allow a folder.

    Raises:
        ValueError: the path is of such a kind; the message names the path and the kind.
    """
    kind = other_kind(path)
    if kind and not (takes_folders and kind == KINDS[stat.S_IFDIR]):
        raise ValueError(
            f"{path} is {kind}, but must be a file: name another path, or replace it by a file"
        )
