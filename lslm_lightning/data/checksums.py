"""Checksums of files, computed once per version of a file."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from lslm_lightning.data.archives import read_members
from lslm_lightning.data.locations import cache_directory

MEMBERS = "members "


def checksum(path: Path, algorithm: str) -> str:
    """A file's checksum in hex.

    `algorithm` is "sha256"; "git-blob", the id `git hash-object` gives; or "members PATTERN": the SHA-256 of what `sha256sum` would print
    for the archive's matching members in order of name, the same however and below whatever folder they were packed.
    """
    if algorithm.startswith(MEMBERS):
        return _members_sha256(path, algorithm.removeprefix(MEMBERS))
    start = {"sha256": hashlib.sha256, "git-blob": lambda: hashlib.sha1(b"blob %d\0" % path.stat().st_size)}[algorithm]
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, start).hexdigest()


def remembered_checksum(path: Path, algorithm: str = "sha256") -> str:
    """`checksum(path, algorithm)`, read from the cache while path, size and time of change are those it was computed for."""
    status = path.stat()
    version = json.dumps([str(path.resolve()), status.st_size, status.st_mtime_ns, algorithm])
    note = cache_directory() / "checksums" / hashlib.sha256(version.encode()).hexdigest()
    try:
        return note.read_text()
    except OSError:
        found = checksum(path, algorithm)
    with suppress(OSError):  # a read-only cache only costs time
        note.parent.mkdir(parents=True, exist_ok=True)
        draft = note.with_name(f"{note.name}.{os.getpid()}")
        draft.write_text(found)
        draft.replace(note)
    return found


def _members_sha256(path: Path, pattern: str) -> str:
    root = pattern.removeprefix("*").split("/")[0]
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name[name.index(root) :]}\n" for name, data in read_members(path, pattern)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
