"""Checks of the size and the soundness of Parquet and Arrow files before their values become Python
objects.

A page, a dictionary or a compressed buffer of a few bytes may stand for gigabytes, and Arrow checks
neither the offsets nor the indices of a file that it maps.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from lslm_lightning.data.thrift import Compact
from lslm_lightning.safety.limits import max_in_memory, max_unpacked, too_large
from lslm_lightning.types import Json

if TYPE_CHECKING:
    import pyarrow

Fields: TypeAlias = dict[int, Json]
"""Number of a field -> value, in a structure of a Parquet footer."""
BATCH = 1000  # rows that are held at once
BATCH_BYTES = 64 << 20  # and their bytes, but for a single row
ROW_BYTES = 16  # that a row counts at least: one of nulls has none of its own
DICTIONARY_PAGE = 2  # of Parquet's PageType
DICTIONARY_BATCH = 2  # of Arrow's MessageHeader


class SizeLimit:
    """Counter of the bytes that a file unpacks to, with a limit.

    Args:
        name: of the file, for messages.
        n_byte: size of the file.
        is_held: whether the whole file is in memory, so that the smaller limit holds.
    """

    def __init__(self, name: str, n_byte: int, is_held: bool) -> None:
        self.name = name
        self.n_byte = n_byte
        self.n_used = 0
        self.limit = max_in_memory(n_byte) if is_held else max_unpacked(n_byte)

    def check(self, n_unpacked: int) -> None:
        """Refuse to unpack more bytes than the limit at once.

        Raises:
            ValueError: `n_unpacked` is more than the file may unpack to.
        """
        if n_unpacked > self.limit:
            raise too_large(self.name, self.limit, self.n_byte)

    def use(self, n_unpacked: int) -> None:
        """Count bytes that are unpacked now.

        Raises:
            ValueError: all that were counted are more than the file may unpack to.
        """
        self.n_used += n_unpacked
        self.check(self.n_used)


def check_types(name: str, schema: "pyarrow.Schema") -> None:
    """Refuse columns whose values may share their bytes, so that their size says nothing.

    Raises:
        ValueError: naming the column and its type.
    """
    from pyarrow import types

    def is_shared(kind: "pyarrow.DataType") -> bool:
        kind = getattr(kind, "storage_type", kind)
        shared = (
            types.is_string_view,
            types.is_binary_view,
            types.is_list_view,
            types.is_large_list_view,
            types.is_union,
            types.is_run_end_encoded,
        )
        if any(holds(kind) for holds in shared):
            return True
        if types.is_dictionary(kind):
            return types.is_nested(kind.value_type) or is_shared(kind.value_type)
        return any(is_shared(kind.field(i).type) for i in range(kind.num_fields))

    for field in schema:
        if is_shared(field.type):
            raise ValueError(
                f"{name}: column {field.name!r} is of type {field.type}, which is not read; write "
                "the file with plain strings, lists and structs"
            )


def unpacked_bytes(array: "pyarrow.Array") -> int:
    """Return the bytes that an array's values take when each is stored by itself."""
    from pyarrow import compute, types

    kind = array.type
    if hasattr(kind, "storage_type"):
        return unpacked_bytes(array.storage)
    if types.is_dictionary(kind):
        entries = array.dictionary
        if len(entries) == 0 or types.is_null(kind.value_type):
            return 0
        if not (
            types.is_binary(entries.type)
            or types.is_large_binary(entries.type)
            or _is_text(entries.type)
        ):
            return len(array) * entries.nbytes // len(entries)
        lengths = compute.binary_length(entries).take(array.indices)
        return compute.sum(lengths).as_py() or 0
    if types.is_struct(kind):
        return sum(unpacked_bytes(field) for field in array.flatten())
    if types.is_nested(kind):
        return unpacked_bytes(array.flatten())
    return array.nbytes


def _is_text(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def bounded_slices(
    batch: "pyarrow.RecordBatch", budget: SizeLimit
) -> Iterator["pyarrow.RecordBatch"]:
    """Yield a batch in parts that stay small as Python objects, and count their bytes.

    Raises:
        ValueError: there are too many of them.
    """
    for start in range(0, len(batch), BATCH):
        yield from _halved(batch.slice(start, BATCH), budget)


def _halved(batch: "pyarrow.RecordBatch", budget: SizeLimit) -> Iterator["pyarrow.RecordBatch"]:
    """Yield a batch, halved again and again while it is larger than `BATCH_BYTES`."""
    n_byte = sum(map(unpacked_bytes, batch.columns))
    budget.check(n_byte)
    if n_byte > BATCH_BYTES and len(batch) > 1:
        half = len(batch) // 2
        yield from _halved(batch.slice(0, half), budget)
        yield from _halved(batch.slice(half), budget)
        return
    budget.use(max(n_byte, ROW_BYTES * len(batch)))
    yield batch


def check_offsets(batch: "pyarrow.RecordBatch") -> None:
    """Refuse a batch whose offsets or indices lead beyond its buffers: reading it would end the
    process. Text that is not UTF-8 passes; its reader names the row.

    Raises:
        pyarrow.ArrowInvalid: an offset or an index leads beyond its buffer.
    """
    import pyarrow

    for column in batch.columns:
        try:
            column.validate(full=True)
        except pyarrow.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            _as_bytes(column).validate(full=True)


def _as_bytes(array: "pyarrow.Array") -> "pyarrow.Array":
    """Return a view of an array with its texts as bytes, which need not be UTF-8."""
    import pyarrow
    from pyarrow import types

    def plain(kind: "pyarrow.DataType") -> "pyarrow.DataType":
        if types.is_string(kind):
            return pyarrow.binary()
        if types.is_large_string(kind):
            return pyarrow.large_binary()
        if types.is_struct(kind):
            return pyarrow.struct([field.with_type(plain(field.type)) for field in kind])
        if types.is_list(kind):
            return pyarrow.list_(kind.value_field.with_type(plain(kind.value_type)))
        if types.is_large_list(kind):
            return pyarrow.large_list(kind.value_field.with_type(plain(kind.value_type)))
        return kind

    return array.view(plain(array.type))


# Parquet

# fields of FileMetaData
N_ROW = 3
ROW_GROUPS = 4
COLUMNS = 1  # of RowGroup
META_DATA = 3  # of ColumnChunk
# of ColumnMetaData
UNCOMPRESSED = 6
DATA_PAGE = 9
DICTIONARY = 11
# of PageHeader
PAGE_TYPE = 1
PAGE_BYTES = 2


def rows_at_once(file: "pyarrow.NativeFile", budget: SizeLimit) -> int:
    """Return how many rows of a Parquet file may be decoded together, by the largest dictionaries
    of its columns.

    Raises:
        ValueError: its pages unpack to too much, or it is no such file.
    """
    try:
        footer = read_footer(file, budget.n_byte)
        groups = [[chunk[META_DATA] for chunk in group[COLUMNS]] for group in footer[ROW_GROUPS]]
        n_byte = sum(chunk[UNCOMPRESSED] for group in groups for chunk in group)
        largest = max(
            (sum(_dictionary_bytes(chunk, file) for chunk in group) for group in groups), default=0
        )
        n_row = footer[N_ROW]
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{budget.name}: not a readable Parquet file (its footer: {reason})"
        ) from None
    budget.check(n_byte)
    budget.check(ROW_BYTES * n_row)
    return max(1, min(BATCH, BATCH_BYTES // max(1, largest)))


def read_footer(file: "pyarrow.NativeFile", n_byte: int) -> Fields:
    """Return the FileMetaData of a Parquet file of `n_byte` bytes, by the numbers of its fields."""
    file.seek(max(0, n_byte - 8))
    length = int.from_bytes(file.read(8)[:4], "little")
    file.seek(max(0, n_byte - 8 - length))
    return dict(Compact(file.read(length)).fields())


def _dictionary_bytes(chunk: dict[int, int], file: "pyarrow.NativeFile") -> int:
    """Return the bytes of a column's dictionary, by the header of its first page; 0 without one."""
    start = min(chunk[DATA_PAGE], chunk.get(DICTIONARY) or chunk[DATA_PAGE])
    file.seek(max(0, start))
    kind = None
    for number, value in Compact(file.read(32)).fields():
        if number == PAGE_TYPE:
            kind = value
        elif number == PAGE_BYTES:
            return value if kind == DICTIONARY_PAGE else 0
    return 0


# Arrow


def check_messages(file: "pyarrow.NativeFile", budget: SizeLimit) -> None:
    """Refuse an Arrow file or stream whose compressed buffers state a larger size than is allowed.

    Raises:
        ValueError: a stated size is more than the file may unpack to.
        pyarrow.ArrowException, struct.error: it is no Arrow file or stream.
    """
    from pyarrow import ipc

    is_file = file.read(6) == b"ARROW1"
    file.seek(8 if is_file else 0)
    reader = ipc.MessageReader.open_stream(file)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            break
        if message.type in ("record batch", "dictionary"):
            budget.check(_stated_bytes(memoryview(message.metadata), memoryview(message.body)))
    file.seek(0)


def _stated_bytes(metadata: memoryview, body: memoryview) -> int:
    """Return the unpacked bytes of a message's buffers, as its metadata (a FlatBuffers table)
    states them.
    """
    root = _number(metadata, 0, "<I")
    kind = _field(metadata, root, 1)
    batch = _table(metadata, root, 2)
    if batch and kind and metadata[kind] == DICTIONARY_BATCH:
        batch = _table(metadata, batch, 1)
    if not batch or not _field(metadata, batch, 3):  # not compressed
        return len(body)
    buffers = _table(metadata, batch, 2)
    total = 0
    for i in range(_number(metadata, buffers, "<I") if buffers else 0):
        start, length = struct.unpack_from("<qq", metadata, buffers + 4 + 16 * i)
        if length > 0:
            stated = _number(body, start, "<q")
            total += length if stated == -1 else max(0, stated)
    return total


def _number(data: memoryview, at: int, form: str) -> int:
    return struct.unpack_from(form, data, at)[0]


def _field(data: memoryview, table: int, number: int) -> int:
    """Return the offset of a field of a FlatBuffers table; 0 where it is absent."""
    names = table - _number(data, table, "<i")
    at = 4 + 2 * number
    offset = _number(data, names + at, "<H") if at < _number(data, names, "<H") else 0
    return table + offset if offset else 0


def _table(data: memoryview, table: int, number: int) -> int:
    """Return the offset of the table that a field refers to; 0 where it is absent."""
    at = _field(data, table, number)
    return at + _number(data, at, "<I") if at else 0
