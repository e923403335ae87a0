"""Readers of Parquet and Arrow files, which yield a record for each row."""

import io
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lslm_lightning.corpora.archives import LFS_POINTER, refuse_pointer
from lslm_lightning.corpora.column_stores import (
    SizeLimit,
    bounded_slices,
    check_messages,
    check_offsets,
    check_types,
    rows_at_once,
)
from lslm_lightning.corpora.tables import check_distinct
from lslm_lightning.corpora.text_lines import Source
from lslm_lightning.corpora.values import Record
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    import pyarrow


def read_parquet(
    name: str, source: Source, header: bool, column: str | None = None
) -> Iterator[Record]:
    """Yield a record for every row of a Parquet file.

    Args:
        header: ignored; the file stores the names of its columns.
        column: read this column alone; all columns if it is None or the file lacks it.
    """
    from pyarrow import parquet  # slow to import

    def batches() -> Iterator["pyarrow.RecordBatch"]:
        opened, budget = _random_access(name, source)
        file = parquet.ParquetFile(opened)
        names = file.schema_arrow.names
        check_distinct(f"{name}: the schema", names)
        check_types(name, file.schema_arrow)
        n_row = rows_at_once(opened, budget)
        for batch in file.iter_batches(n_row, columns=[column] if column in names else None):
            yield from bounded_slices(batch, budget)

    return _rows(name, "Parquet", batches())


def read_arrow(
    name: str, source: Source, header: bool, column: str | None = None
) -> Iterator[Record]:
    """Yield a record for every row of a file or stream in Arrow's IPC format, as `datasets` saves
    them.

    Args:
        header: ignored; the file stores the names of its columns.
        column: read this column alone; all columns if it is None or the file lacks it.
    """
    import pyarrow
    from pyarrow import ipc

    def batches() -> Iterator["pyarrow.RecordBatch"]:
        file, budget = _random_access(name, source)
        check_messages(file, budget)
        try:
            opened = ipc.open_file(file)
            stored = (opened.get_batch(number) for number in range(opened.num_record_batches))
        except pyarrow.ArrowInvalid:
            file.seek(0)
            stored = opened = ipc.open_stream(file)
        names = opened.schema.names
        check_distinct(f"{name}: the schema", names)
        check_types(name, opened.schema)
        for batch in stored:
            batch = batch.select([column]) if column in names else batch
            check_offsets(batch)
            yield from bounded_slices(batch, budget)

    return _rows(name, "Arrow", batches())


def _random_access(name: str, source: Source) -> tuple["pyarrow.NativeFile", SizeLimit]:
    """Return a file object that Arrow can read at any offset, and the limit on its unpacked size.

    A stream without random access is read into memory first.
    """
    import pyarrow

    if isinstance(source, bytes) or not source.seekable():
        data = source if isinstance(source, bytes) else source.read()
        refuse_pointer(name, data)
        return pyarrow.BufferReader(data), SizeLimit(name, len(data), True)
    refuse_pointer(name, source.read(len(LFS_POINTER)))
    n_byte = source.seek(0, io.SEEK_END)
    source.seek(0)
    return pyarrow.PythonFile(source, "r"), SizeLimit(name, n_byte, False)


def _rows(name: str, kind: str, batches: Iterator["pyarrow.RecordBatch"]) -> Iterator[Record]:
    """Yield a record for every row of the batches.

    Args:
        name: name of the file, for ids and messages.
        kind: name of the file format, for messages.
    """
    import pyarrow

    number = 0
    try:
        for batch in batches:
            for values in _values(name, number, batch):
                number += 1
                yield Record(f"{name}:{number}", values)
    except (pyarrow.ArrowException, OSError, MemoryError, struct.error) as error:
        raise ValueError(
            f"{name}: not a readable {kind} file ({' '.join(str(error).split())[:160]})"
        ) from None


def _values(name: str, n_before: int, batch: "pyarrow.RecordBatch") -> list[JsonObject]:
    """Return the rows of a batch, each a dict from column to value.

    Args:
        name: name of the file, for messages.
        n_before: number of rows in the file before this batch, for messages.

    Raises:
        ValueError: a text is not UTF-8, or two fields of a struct have the same name.
    """
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        if len(batch) > 1:
            return [
                value
                for i in range(len(batch))
                for value in _values(name, n_before + i, batch.slice(i, 1))
            ]
        raise ValueError(
            f"{name}: row {n_before + 1}: a text is not UTF-8 ({error.reason}, "
            f"{error.object[:20]!r})"
        ) from None
    except ValueError as error:
        raise ValueError(f"{name}: rows from {n_before + 1} on: {error}") from None
