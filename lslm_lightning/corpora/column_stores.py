"""Size and integrity checks of Parquet and Arrow files before their values become Python objects.

A few bytes of a page, dictionary or compressed buffer may expand to gigabytes. Arrow itself checks
neither offsets nor dictionary indices of a memory-mapped file.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from lslm_lightning.corpora.thrift import Compact
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
    """Counter of the unpacked bytes of a file, with an upper limit.

    Args:
        name: name of the file, for messages.
        n_byte: size of the file in bytes.
        is_held: whether the whole file is in memory, for which a smaller limit applies.
    """

    def __init__(self, name: str, n_byte: int, is_held: bool) -> None:
        self.name = name
        self.n_byte = n_byte
        self.n_used = 0
        self.limit = max_in_memory(n_byte) if is_held else max_unpacked(n_byte)

    def check(self, n_unpacked: int) -> None:
        """Raise ValueError if `n_unpacked` bytes exceed the limit of the file."""
        if n_unpacked > self.limit:
            raise too_large(self.name, self.limit, self.n_byte)

    def use(self, n_unpacked: int) -> None:
        """Add `n_unpacked` bytes to the count.

        Raises:
            ValueError: the count exceeds the limit of the file.
        """
        self.n_used += n_unpacked
        self.check(self.n_used)


def check_types(name: str, schema: "pyarrow.Schema") -> None:
    """Raise ValueError if a column has a type whose values may share bytes.

    The size of such values after unpacking cannot be derived from their stored size.

    Args:
        name: name of the file, for messages.
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
    """Return the size of an array in bytes if every value, also a repeated one, is stored
    separately.
    """
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
    """Yield slices of a batch that are small enough to become Python objects, and count their
    bytes.

    Raises:
        ValueError: the count exceeds the limit of `budget`.
    """
    for start in range(0, len(batch), BATCH):
        yield from _halved(batch.slice(start, BATCH), budget)


def _halved(batch: "pyarrow.RecordBatch", budget: SizeLimit) -> Iterator["pyarrow.RecordBatch"]:
    """Yield a batch, halved repeatedly while a slice is larger than `BATCH_BYTES`."""
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
    """Check that all offsets and indices of a batch lie within its buffers; otherwise reading it
    would crash the process.

    Text that is not UTF-8 is accepted here, and reported with its row number when the row is read.

    Raises:
        pyarrow.ArrowInvalid: an offset or an index is out of range.
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
    """Return a view of an array with binary types in place of text types, which need not be
    UTF-8.
    """
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
    """Return the number of rows of a Parquet file to decode at a time.

    The number decreases with the size of the dictionaries of its columns.

    Raises:
        ValueError: the unpacked pages exceed the limit, or the file is not a Parquet file.
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
    """Return the FileMetaData of a Parquet file of `n_byte` bytes as a dict from field number to
    value.
    """
    file.seek(max(0, n_byte - 8))
    length = int.from_bytes(file.read(8)[:4], "little")
    file.seek(max(0, n_byte - 8 - length))
    return dict(Compact(file.read(length)).fields())


def _dictionary_bytes(chunk: dict[int, int], file: "pyarrow.NativeFile") -> int:
    """Return the unpacked size in bytes of a column chunk's dictionary page; 0 if it has none."""
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
    """Check the unpacked sizes that the compressed buffers of an Arrow file or stream declare.

    Raises:
        ValueError: a declared size exceeds the limit of the file.
        pyarrow.ArrowException, struct.error: it is not an Arrow file or stream.
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
    """Return the total unpacked size in bytes of a message's buffers.

    Args:
        metadata: header of the message, a FlatBuffers table.
        body: the buffers.
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
    """Return the offset of field `number` of the FlatBuffers table at offset `table`; 0 if it is
    absent.
    """
    names = table - _number(data, table, "<i")
    at = 4 + 2 * number
    offset = _number(data, names + at, "<H") if at < _number(data, names, "<H") else 0
    return table + offset if offset else 0


def _table(data: memoryview, table: int, number: int) -> int:
    """Return the offset of the table to which field `number` of another table refers; 0 if it is
    absent.
    """
    at = _field(data, table, number)
    return at + _number(data, at, "<I") if at else 0
