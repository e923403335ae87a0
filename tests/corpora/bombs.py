"""Files of a few kilobytes that ask for gigabytes; run as a script, each is read under a limit of
memory.
"""

import bz2
import gzip
import json
import lzma
import resource
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
from pyarrow import ipc, parquet

from lslm_lightning.corpora.archives import read_file, read_members
from lslm_lightning.data.stream import Stream

# 400 MB in all
PART = b"a" * (4 << 20)
N_PART = 100
ROOM = 700 << 20  # bytes that reading may take; the least cap is 64 MiB, held as bytes and text


def packed(path: Path, compress: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(compress(PART) * N_PART)
    return path


def zstandard(data: bytes) -> bytes:
    return pyarrow.compress(data, "zstd", asbytes=True)


def tar(path: Path, kind: bytes) -> Path:
    """A tar file whose first header of that kind is of 400 MB."""
    header = tarfile.TarInfo("x")
    header.type = kind
    header.size = len(PART) * N_PART
    body = gzip.compress(header.tobuf(tarfile.USTAR_FORMAT)) + gzip.compress(PART) * N_PART
    path.write_bytes(body)
    return path


def zipped(path: Path) -> Path:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.txt", "w") as file,
    ):
        for _ in range(N_PART // 2):
            file.write(PART)
    return path


def parquet_plain(path: Path) -> Path:
    """Row groups of 16 MB of one letter, 800 MB in all."""
    table = pyarrow.table({"text": ["a" * (1 << 20)] * 16})
    with parquet.ParquetWriter(
        path, table.schema, use_dictionary=False, compression="zstd"
    ) as file:
        for _ in range(50):
            file.write_table(table)
    return path


def parquet_dictionary(path: Path) -> Path:
    """Ten thousand rows that are the same 256 kB."""
    words = pyarrow.array(["a" * (1 << 18)])
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 10_000, "int32"), words)
    parquet.write_table(pyarrow.table({"text": column}), path, store_schema=False)
    return path


def parquet_of_nothing(path: Path) -> Path:
    parquet.write_table(
        pyarrow.table({"text": pyarrow.nulls(20_000_000)}), path, compression="zstd"
    )
    return path


def arrow_of(
    path: Path, table: pyarrow.Table, new: Callable = ipc.new_file, compression: str | None = None
) -> Path:
    with new(path, table.schema, options=ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return path


def arrow_dictionary(path: Path) -> Path:
    words = pyarrow.array(["a" * (1 << 20)])
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 10_000, "int32"), words)
    return arrow_of(path, pyarrow.table({"text": column}))


def arrow_claim(path: Path, new: Callable = ipc.new_file) -> Path:
    """A compressed buffer that says it has a terabyte."""
    arrow_of(path, pyarrow.table({"text": ["a" * 100_000]}), new, "zstd")
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<q", 100_000), struct.pack("<q", 1 << 40)))
    return path


def arrow_packed(path: Path, new: Callable = ipc.new_file) -> Path:
    return arrow_of(path, pyarrow.table({"text": ["a" * (200 << 20)]}), new, "zstd")


MAKERS: dict[str, Callable[[Path], Path]] = {
    "text.txt.gz": lambda path: packed(path, gzip.compress),
    "text.jsonl.bz2": lambda path: packed(path, bz2.compress),
    "text.csv.xz": lambda path: packed(path, lzma.compress),
    "text.tsv.zst": lambda path: packed(path, zstandard),
    "pax.tar.gz": lambda path: tar(path, tarfile.XHDTYPE),
    "global.tar.gz": lambda path: tar(path, tarfile.XGLTYPE),
    "name.tar.gz": lambda path: tar(path, tarfile.GNUTYPE_LONGNAME),
    "link.tar.gz": lambda path: tar(path, tarfile.GNUTYPE_LONGLINK),
    "member.tar.gz": lambda path: tar(path, tarfile.REGTYPE),
    "member.zip": zipped,
    "plain.parquet": parquet_plain,
    "dictionary.parquet": parquet_dictionary,
    "nulls.parquet": parquet_of_nothing,
    "dictionary.arrow": arrow_dictionary,
    "claim.arrow": arrow_claim,
    "packed.arrow": arrow_packed,
    "stream.arrow": lambda path: arrow_packed(path, ipc.new_stream),
}


def read(path: Path) -> None:
    """Read a file in every way that there is."""
    if ".tar" in path.name or path.suffix == ".zip":
        read_members(path, "*")
    elif path.suffix in (".parquet", ".arrow"):
        for _ in Stream(str(path)).documents(0):
            pass
    else:
        read_file(path)


def main(folder: Path) -> None:
    """Print what came of each file, as JSON."""
    paths = [make(folder / name) for name, make in MAKERS.items()]
    ipc.open_stream(
        arrow_of(folder / "warm", pyarrow.table({"a": [1]}), ipc.new_stream).read_bytes()
    )
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM,) * 2)
    found = {}
    for path in paths:
        try:
            read(path)
            found[path.name] = "read"
        except ValueError as error:
            found[path.name] = str(error)
        except BaseException as error:
            found[path.name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
