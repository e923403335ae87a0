"""Readers of archives, folders and compressed files, with limits on size and checks of member
names.
"""

import bz2
import fnmatch
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from lslm_lightning.safety.limits import max_in_memory, max_unpacked, too_large
from lslm_lightning.safety.paths import check_is_file, is_inside

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PACKED = ("gz", "zst", "xz", "bz2")
"""Endings of the names of compressed files."""
MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zst"}
BUFFER = 1 << 20
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
MAX_HEADER = 1 << 20  # bytes of a tar member's headers beyond the first 512
HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def bare_name(name: str) -> str:
    """Return a file name without the extension of its compression (.gz, .zst, .xz or .bz2)."""
    bare, _, ending = name.rpartition(".")
    return bare if bare and ending.lower() in PACKED else name


def refuse_pointer(name: str, head: bytes) -> None:
    """Raise ValueError, which names the file, if a file is a Git LFS pointer.

    Args:
        head: first bytes of the file.
    """
    if head.startswith(LFS_POINTER):
        raise ValueError(
            f"{name}: is a pointer of Git LFS, not the file itself; `git lfs pull` in its folder "
            "downloads the file"
        )


def unpacked(name: str, file: io.BufferedReader, max_bytes: int | None = None) -> BinaryIO:
    """Return a file object that decompresses `file` while it is read, or `file` itself.

    Files whose names end in .gz, .bz2, .xz or .zst are decompressed.

    Args:
        max_bytes: limit on the unpacked size in bytes; by default proportional to the file size.
    """
    kind = PurePosixPath(name).suffix.lower().removeprefix(".")
    if kind not in PACKED:
        return file
    head = file.peek(len(LFS_POINTER))
    refuse_pointer(name, head)
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise ValueError(
            f"{name}: is a web page, not a packed file: what it was fetched from is no direct "
            "link; get it again"
        )
    return decompressed(name, file, kind, max_bytes)


def decompressed(
    name: str, file: io.BufferedReader, kind: str, max_bytes: int | None = None
) -> BinaryIO:
    """Return a file object that decompresses `file` while it is read.

    Args:
        kind: compression: "gz", "bz2", "xz" or "zst".
        max_bytes: limit on the unpacked size in bytes; by default proportional to the file size.
    """
    if kind == "zst":
        import pyarrow  # slow to import

        opened = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd")
    elif kind == "gz":
        opened = gzip.GzipFile(fileobj=file, mode="rb")
    else:
        opened = Streams(file, bz2.BZ2Decompressor if kind == "bz2" else lzma.LZMADecompressor)
    return io.BufferedReader(Bounded(opened, name, file, max_bytes), BUFFER)


class Streams(io.RawIOBase):
    """Unpacked bytes of the consecutive bzip2 or xz streams of a file.

    The readers of the standard library stop without an error where something else follows a stream,
    such as another one that is damaged.

    Args:
        make: function that returns a decompressor for one stream.
    """

    def __init__(
        self, file: BinaryIO, make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
    ) -> None:
        self.file = file
        self.make = make
        self.decompressor = make()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        unpacked = b""
        while not unpacked:
            packed = b""
            if self.decompressor.eof:
                packed = self.decompressor.unused_data or self.file.read(BUFFER)
                while packed and not packed.strip(b"\0"):  # streams may be padded
                    packed = self.file.read(BUFFER)
                if not packed:
                    return 0
                packed = packed.lstrip(b"\0")
                self.decompressor = self.make()
            elif self.decompressor.needs_input and not (packed := self.file.read(BUFFER)):
                raise EOFError("the file ends within a stream")
            unpacked = self.decompressor.decompress(packed, len(view))
        view[: len(unpacked)] = unpacked
        return len(unpacked)


class Bounded(io.RawIOBase):
    """Decompressed stream that raises ValueError if it yields more bytes than allowed.

    Args:
        stream: the decompressed bytes.
        name: name of the file, for messages.
        packed: the compressed file.
        max_bytes: limit on the unpacked size in bytes; if None, proportional to the size of
            `packed`.
    """

    def __init__(
        self,
        stream: io.BufferedIOBase | io.RawIOBase,
        name: str,
        packed: BinaryIO,
        max_bytes: int | None,
    ) -> None:
        self.stream = stream
        self.name = name
        self.packed = packed
        self.max_bytes = max_bytes
        self.n_read = 0
        self.size = _size_of(packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        n = self.stream.readinto(buffer)
        self.n_read += n
        size = self.size or self.packed.tell()
        limit = max_unpacked(size) if self.max_bytes is None else self.max_bytes
        if self.n_read > limit:
            raise too_large(self.name, limit, size)
        return n

    def close(self) -> None:
        self.stream.close()
        super().close()


def _size_of(file: BinaryIO) -> int:
    """Return the size of an open file in bytes; 0 if it cannot be determined."""
    try:
        position = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(position)
    except (OSError, ValueError):
        return 0
    return size


@contextmanager
def refused_where_damaged(name: str) -> Iterator[None]:
    """Context that converts the errors of reading a corrupt or truncated compressed file to
    ValueError.

    Raises:
        ValueError: reading failed; the message states the file.
    """
    kind = PurePosixPath(name).suffix.lower().removeprefix(".")
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, MemoryError) as error:
        if kind not in PACKED or (isinstance(error, OSError) and error.errno):
            raise
        called = {"gz": "gzip", "bz2": "bzip2", "zst": "Zstandard"}.get(kind, kind)
        raise ValueError(f"{name}: not a complete {called} file ({error}); get it again") from None


def read_file(path: Path, max_bytes: int | None = None) -> bytes:
    """Return the bytes of a file, decompressed if its name ends in `.gz`, `.bz2`, `.xz` or `.zst`.

    Args:
        max_bytes: limit on the unpacked size in bytes; by default proportional to the file size.

    Raises:
        ValueError: the path is a pipe or a device, or the compressed file is corrupt, truncated or
            too large.
    """
    check_is_file(path)
    if bare_name(path.name) == path.name:
        return path.read_bytes()
    limit = max_in_memory(path.stat().st_size) if max_bytes is None else max_bytes
    with (
        refused_where_damaged(str(path)),
        path.open("rb") as file,
        unpacked(str(path), file, limit) as stream,
    ):
        return stream.read()


def read_members(path: Path, pattern: str, max_bytes: int | None = None) -> list[tuple[str, bytes]]:
    """Return (name, bytes) of the members of a zip or tar archive that match a glob pattern, sorted
    by name.

    A folder is read like an archive: the names begin with the name of the folder. Nothing is
    written to disk. Matching members that are devices or links, or whose names could lead out of a
    folder, are rejected.

    Args:
        max_bytes: limit on the unpacked size in bytes; by default proportional to the archive size.

    Raises:
        ValueError: the path is not an archive, or the archive is truncated, unsafe, too large or
            without a matching member.
    """
    check_is_file(path, takes_folders=True)
    read = (
        _folder_members
        if path.is_dir()
        else _zip_members
        if path.suffix == ".zip"
        else _tar_members
    )
    try:
        members = sorted(read(path, pattern, max_bytes))
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        MemoryError,
        RuntimeError,  # a password, an unknown method, headers of headers of headers
    ) as error:
        raise _unreadable(path, error) from None
    except OSError as error:  # of gzip and bz2: no number
        if error.errno is not None:
            raise
        raise _unreadable(path, error) from None
    if not members:
        raise ValueError(
            f"{path}: no member matches {pattern!r}; look at its names and correct `members`"
        )
    return members


def _unreadable(path: Path, error: Exception) -> ValueError:
    """Return a ValueError for an archive that cannot be read.

    Args:
        error: the error that reading it raised.
    """
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"{path}: not a readable archive ({reason}); get it again")


class _Header(tarfile.TarInfo):
    """Tar member whose header blocks may take at most `MAX_HEADER` bytes of memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in HEADERS and self.size > MAX_HEADER):
            raise tarfile.ReadError(f"a header says {self.size:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]  # private in typeshed


def _tar_members(path: Path, pattern: str, max_bytes: int | None) -> Iterator[tuple[str, bytes]]:
    limit = max_in_memory(path.stat().st_size) if max_bytes is None else max_bytes
    total = 0
    with path.open("rb") as file:
        head = file.peek(8)
        kind = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "")
        stream = decompressed(str(path), file, kind, limit + MAX_HEADER) if kind else file
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # or it keeps every header
                total += member.size
                if total > limit:
                    raise too_large(str(path), limit, path.stat().st_size)
                if fnmatch.fnmatchcase(member.name, pattern) and not member.isdir():
                    _refuse_unsafe(member.name, member.isfile())
                    content = archive.extractfile(member)
                    assert content is not None  # as of any file
                    yield member.name, content.read()


def _refuse_unsafe(name: str, is_file: bool) -> None:
    """Raise an error if an archive member is not a regular file, or its name could lead out of a
    folder.
    """
    if not is_file:
        raise tarfile.ExtractError(f"its member {name!r} is a link or a device")
    if not is_inside(name):
        raise tarfile.ExtractError(f"its member {name!r} would leave its folder")


def _zip_members(path: Path, pattern: str, max_bytes: int | None) -> Iterator[tuple[str, bytes]]:
    size = path.stat().st_size
    limit = max_in_memory(size) if max_bytes is None else max_bytes
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > limit:
            raise too_large(str(path), limit, size)
        for member in archive.infolist():
            if not member.is_dir() and fnmatch.fnmatchcase(member.filename, pattern):
                kind = stat.S_IFMT(member.external_attr >> 16)
                _refuse_unsafe(member.filename, kind in (0, stat.S_IFREG))
                yield member.filename, archive.read(member)


def files_in(folder: Path) -> dict[str, Path]:
    """Return name -> path of all files in a folder and its subfolders, sorted by name.

    The names begin with the name of the folder.
    """
    named = (
        (f"{folder.name}/{path.relative_to(folder).as_posix()}", path)
        for path in folder.rglob("*")
        if path.is_file()
    )
    return dict(sorted(named))


def _folder_members(path: Path, pattern: str, max_bytes: int | None) -> Iterator[tuple[str, bytes]]:
    chosen = {
        name: file for name, file in files_in(path).items() if fnmatch.fnmatchcase(name, pattern)
    }
    total = sum(file.stat().st_size for file in chosen.values())
    limit = max_in_memory(total) if max_bytes is None else max_bytes
    if total > limit:
        raise too_large(str(path), limit)
    return ((name, file.read_bytes()) for name, file in chosen.items())
