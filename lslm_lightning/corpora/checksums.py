"""Checksums of files and folders, cached until a file changes."""

import fnmatch
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from lslm_lightning.corpora.archives import files_in, read_members
from lslm_lightning.corpora.locations import cache_directory
from lslm_lightning.files import atomic_write
from lslm_lightning.safety.paths import check_is_file

MEMBERS = "members "
SMALL = 1 << 20  # bytes that are read anew as fast as their cached checksum


def checksum(path: Path, algorithm: str) -> str:
    """Return the checksum of a file or folder in hex.

    Args:
        algorithm: "sha256"; "git-blob" for the id that `git hash-object` prints; or "members
            PATTERN" for the SHA-256 of the `sha256sum` listing of the archive members that match
            the pattern, sorted by name. The listing does not depend on how the members were packed
            or on the folder that holds them. For a folder, the listing of its files is used in the
            same way.

    Raises:
        ValueError: `path` is a pipe or a device, or an archive that cannot be read.
    """
    check_is_file(path, takes_folders=True)
    if path.is_dir():
        pattern = (
            algorithm.removeprefix(MEMBERS) if algorithm.startswith(MEMBERS) else f"{path.name}/*"
        )
        return listing(
            {
                name: file
                for name, file in files_in(path).items()
                if fnmatch.fnmatchcase(name, pattern)
            }
        )
    if algorithm.startswith(MEMBERS):
        return _members_sha256(path, algorithm.removeprefix(MEMBERS))
    start = {
        "sha256": hashlib.sha256,
        "git-blob": lambda: hashlib.sha1(b"blob %d\0" % path.stat().st_size),
    }[algorithm]
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, start).hexdigest()


def listing(files: Mapping[str, Path | None]) -> str:
    """Return the SHA-256, in hex, of the text that `sha256sum` prints for the files.

    Args:
        files: name -> path; None for a file that is missing.
    """
    sums = {
        name: "missing" if file is None else checksum(file, "sha256")
        for name, file in files.items()
    }
    return _sha256(f"{digest}  {name}\n" for name, digest in sums.items())


def cached_checksum(path: Path, algorithm: str = "sha256") -> str:
    """Cached version of `checksum`, computed again when the path, size or modification time of a
    file changes.
    """
    files = [path] if path.is_file() else files_in(path).values()
    return _cached([path, *files], algorithm, lambda: checksum(path, algorithm))


def cached_listing(files: Mapping[str, Path | None]) -> str:
    """Cached version of `listing`, computed again when the names or the files change."""
    present = [file for file in files.values() if file is not None]
    return _cached(present, json.dumps(list(files)), lambda: listing(files))


def _cached(files: Iterable[Path], what: str, compute: Callable[[], str]) -> str:
    """Return `compute()`, from the cache while the files are unchanged; small files are not cached.

    Args:
        what: name of the quantity computed; part of the cache key.
    """
    states = [(file, file.stat()) for file in files if file.is_file()]
    if sum(state.st_size for _, state in states) < SMALL:
        return compute()
    versions = [[str(file.resolve()), s.st_size, s.st_mtime_ns] for file, s in states]
    note = (
        cache_directory()
        / "checksums"
        / hashlib.sha256(json.dumps([versions, what]).encode()).hexdigest()
    )
    try:
        if re.fullmatch("[0-9a-f]{40,64}", kept := note.read_text("ascii")):
            return kept
    except (OSError, ValueError):  # none, or no text
        pass
    computed = compute()
    with suppress(OSError):  # a read-only cache only costs time
        atomic_write(note, computed)
    return computed


def _members_sha256(path: Path, pattern: str) -> str:
    root = root_of(pattern)
    return _sha256(
        f"{hashlib.sha256(data).hexdigest()}  {name[name.index(root) :]}\n"
        for name, data in read_members(path, pattern)
    )


def root_of(pattern: str) -> str:
    """Return the first folder in a pattern of archive members, without a leading "*".

    The names of matching members are cut so that they begin with this folder.
    """
    return pattern.removeprefix("*").split("/")[0]


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(lines).encode()).hexdigest()
