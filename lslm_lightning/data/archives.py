"""Archives, folders and compressed files, read into memory without trusting them."""

import fnmatch
import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MAX_BYTES = 4 * 2**30
"""What one file may unpack to; more is taken for a decompression bomb."""


def read_file(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """A file's bytes, unpacked when its name ends in `.gz`.

    Raises:
        ValueError: the gzip stream is corrupt or truncated, or unpacks to more than `max_bytes`.
    """
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as stream:
            data = stream.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a complete gzip file ({error}); get it again") from None
    if len(data) > max_bytes:
        raise ValueError(f"{path}: unpacks to more than {max_bytes:,} bytes; unpack it yourself if you trust it")
    return data


def read_members(path: Path, pattern: str, max_bytes: int = MAX_BYTES) -> list[tuple[str, bytes]]:
    """Name and bytes of the members of a zip or tar whose name matches `pattern` (as in a shell), sorted by name.

    A folder is read as an archive in which it was packed: names begin with its own.
    Nothing is written to disk. Devices, links and names that leave the archive's folder are refused: in tar files by the standard
    library's `data` filter.

    Raises:
        ValueError: not an archive, truncated, unsafe, too large, or without a matching member.
    """
    read = _folder_members if path.is_dir() else _zip_members if path.suffix == ".zip" else _tar_members
    try:
        members = sorted(read(path, pattern, max_bytes))
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: not a readable archive ({' '.join(str(error).split())}); get it again") from None
    if not members:
        raise ValueError(f"{path}: no member matches {pattern!r}; look at its names and correct `members`")
    return members


def _tar_members(path: Path, pattern: str, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    total = 0
    with tarfile.open(path) as archive:
        for member in archive:
            total += member.size
            _limit(path, total, max_bytes)
            if fnmatch.fnmatchcase(member.name, pattern) and tarfile.data_filter(member, "/nowhere").isfile():
                yield member.name, archive.extractfile(member).read()


def _zip_members(path: Path, pattern: str, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        _limit(path, sum(member.file_size for member in archive.infolist()), max_bytes)
        for member in archive.infolist():
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts:
                raise zipfile.BadZipFile(f"member {member.filename!r} would leave its folder")
            if not member.is_dir() and fnmatch.fnmatchcase(member.filename, pattern):
                yield member.filename, archive.read(member)


def files_in(folder: Path) -> dict[str, Path]:
    """All files in a folder and those in it, in order of their names, which begin with that of the folder."""
    found = ((f"{folder.name}/{path.relative_to(folder).as_posix()}", path) for path in folder.rglob("*") if path.is_file())
    return dict(sorted(found))


def _folder_members(path: Path, pattern: str, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    chosen = {name: file for name, file in files_in(path).items() if fnmatch.fnmatchcase(name, pattern)}
    _limit(path, sum(file.stat().st_size for file in chosen.values()), max_bytes)
    return ((name, file.read_bytes()) for name, file in chosen.items())


def _limit(path: Path, total: int, max_bytes: int) -> None:
    if total > max_bytes:
        raise ValueError(f"{path}: unpacks to more than {max_bytes:,} bytes; unpack it yourself if you trust it")
