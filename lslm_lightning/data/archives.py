"""Archives, folders and compressed files, read into memory without trusting them."""

import bz2
import fnmatch
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

MAX_BYTES = 4 * 2**30
"""What one file may unpack to; more is taken for a decompression bomb."""
PACKED = ("gz", "zst", "xz", "bz2")
"""Endings of the names of packed files."""
BUFFER = 1 << 20
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"


def bare_name(name: str) -> str:
    """Return the name of what is in a packed file, or the name as it is."""
    bare, _, ending = name.rpartition(".")
    return bare if bare and ending.lower() in PACKED else name


def refuse_pointer(name: str, head: bytes) -> None:
    """Raise ValueError where a file, which begins so, only says where Git LFS has the real one."""
    if head.startswith(LFS_POINTER):
        raise ValueError(f"{name}: is a pointer of Git LFS, not the file itself; `git lfs pull` in its folder gets that")


def unpacked(name: str, file: io.BufferedReader) -> BinaryIO:
    """Open what is in a file for reading: unpacked as it is read where its name ends in .gz, .bz2, .xz or .zst, else as it is."""
    kind = PurePosixPath(name).suffix.lower()
    if kind.removeprefix(".") in PACKED:
        head = file.peek(len(LFS_POINTER))
        refuse_pointer(name, head)
        if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
            raise ValueError(f"{name}: is a web page, not a packed file: what it was fetched from is no direct link; get it again")
    if kind == ".zst":
        import pyarrow  # slow to import

        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd"), BUFFER)
    if kind == ".gz":
        return io.BufferedReader(gzip.GzipFile(fileobj=file, mode="rb"), BUFFER)
    opened = {".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}.get(kind)
    return io.BufferedReader(opened(file), BUFFER) if opened else file


@contextmanager
def refused_where_damaged(name: str) -> Iterator[None]:
    """Turn the errors of a packed file that is corrupt or cut off into one that says so.

    Raises:
        ValueError: what is read inside is not whole.
    """
    kind = PurePosixPath(name).suffix.lower().removeprefix(".")
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if kind not in PACKED or (isinstance(error, OSError) and error.errno):
            raise
        called = {"gz": "gzip", "bz2": "bzip2", "zst": "Zstandard"}.get(kind, kind)
        raise ValueError(f"{name}: not a complete {called} file ({error}); get it again") from None


def read_file(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """A file's bytes, unpacked when its name ends in `.gz`, `.bz2`, `.xz` or `.zst`.

    Raises:
        ValueError: what is packed is corrupt or truncated, or unpacks to more than `max_bytes`.
    """
    if bare_name(path.name) == path.name:
        return path.read_bytes()
    with refused_where_damaged(str(path)), path.open("rb") as file, unpacked(path.name, file) as stream:
        data = stream.read(max_bytes + 1)
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
