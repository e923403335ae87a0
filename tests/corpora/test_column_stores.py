"""Parquet and Arrow files: what they say of themselves is not believed, and what they hold is read
as it is.
"""

import io

import numpy as np
import pyarrow
import pytest
from pyarrow import ipc, parquet

from lslm_lightning.corpora import column_stores, json_records, tables, text_lines
from lslm_lightning.corpora.readers import READERS


def read(form: str, data: bytes) -> list[dict]:
    return list(READERS[form]("f", data, True))


def packed(numbers: list[int]) -> bytes:
    return np.array(numbers, "int32").tobytes()


def arrow_bytes(batch: pyarrow.RecordBatch) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def lying(column: pyarrow.Array, true: list[int], stated: list[int]) -> bytes:
    """An Arrow file of a column whose offsets or indices are others than they were."""
    data = arrow_bytes(pyarrow.RecordBatch.from_arrays([column], ["text"]))
    assert data.count(packed(true)) == 1
    return data.replace(packed(true), packed(stated))


def texts(stated: list[int], first: bytes = b"a" * 11) -> bytes:
    column = pyarrow.array([first, b"b" * 7, b"c" * 5])
    buffers = column.buffers()
    return lying(pyarrow.Array.from_buffers(pyarrow.utf8(), 3, buffers), [0, 11, 18, 23], stated)


def lists(stated: list[int]) -> bytes:
    return lying(pyarrow.array([["a"] * 11, ["b"] * 7]), [0, 11, 18], stated)


def words(stated: list[int]) -> bytes:
    column = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([3, 5, 4], "int32"), pyarrow.array(list("abcdef"))
    )
    return lying(column, [3, 5, 4], stated)


@pytest.mark.parametrize(
    "data",
    [
        texts([0, 11, 18, 10**9]),
        texts([0, 18, 11, 23]),
        texts([-5, 11, 18, 23]),
        texts([0, 11, 18, 10**9], b"\xe9" * 11),
        words([3, 7, 4]),
        words([3, -1, 4]),
        lists([0, 11, 10**6]),
        lists([0, 18, 0]),
    ],
    ids=range(8),
)
def test_offsets_that_lead_elsewhere_end_no_process(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^f: not a readable Arrow file"):
        read("arrow", data)


def test_dictionaries_and_lists_of_arrow_and_parquet_are_read_as_they_are() -> None:
    words = pyarrow.array(["ein", None, "ein", "zwei"]).dictionary_encode()
    nested = pyarrow.array([[{"a": "x"}], [], None, [{"a": "y"}, {"a": None}]])
    table = pyarrow.table({"w": words, "n": nested, "i": [1, 2, 3, 4]})
    expected = table.to_pylist()
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    assert [dict(record) for record in READERS["parquet"]("f", sink.getvalue(), True)] == [
        dict(r) | {"id": f"f:{i}"} for i, r in enumerate(expected, 1)
    ]
    batch = table.to_batches()[0]
    for file in (arrow_bytes(batch), io.BytesIO(arrow_bytes(batch))):
        assert [record["w"] for record in READERS["arrow"]("f", file, True)] == [
            "ein",
            None,
            "ein",
            "zwei",
        ]


@pytest.mark.parametrize("n_byte", [10, 3000, 100_000])
@pytest.mark.parametrize("n_row", [1, 999, 1000, 1001, 2500])
def test_batches_of_any_size_are_the_same_rows(
    n_byte: int, n_row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_stores, "BATCH_BYTES", n_byte)
    table = pyarrow.table({"text": [f"{i} " * (i % 50) for i in range(n_row)]})
    sink = io.BytesIO()
    parquet.write_table(table, sink, row_group_size=700)
    packed = pyarrow.BufferOutputStream()
    with ipc.new_stream(
        packed, table.schema, options=ipc.IpcWriteOptions(compression="zstd")
    ) as writer:
        writer.write_table(table)
    for form, data in (("parquet", sink.getvalue()), ("arrow", packed.getvalue().to_pybytes())):
        assert [record["text"] for record in READERS[form]("f", data, True)] == table[
            "text"
        ].to_pylist()


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.string_view(),
        pyarrow.list_view(pyarrow.utf8()),
        pyarrow.run_end_encoded(pyarrow.int32(), pyarrow.utf8()),
    ],
)
def test_columns_whose_values_may_share_their_bytes_are_refused(kind: pyarrow.DataType) -> None:
    schema = pyarrow.schema([pyarrow.field("text", kind)])
    with pytest.raises(ValueError, match=r"^f: column 'text' is of type .*, which is not read"):
        column_stores.check_types("f", schema)
    with pytest.raises(ValueError, match="is not read"):
        column_stores.check_types(
            "f",
            pyarrow.schema(
                [pyarrow.field("a", pyarrow.struct([pyarrow.field("b", pyarrow.list_(kind))]))]
            ),
        )


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("seed", range(3))
def test_damaged_column_stores_are_refused_in_one_line(form: str, seed: int) -> None:
    """Bytes are replaced at random; what can still be read may be."""
    random = np.random.default_rng(seed)
    table = pyarrow.table({"text": ["a" * i for i in range(50)], "n": list(range(50))})
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    good = sink.getvalue() if form == "parquet" else arrow_bytes(table.to_batches()[0])
    messages = []
    for _ in range(200):
        data = bytearray(good)
        n = int(random.integers(1, 9))
        at = int(random.integers(len(data)))
        data[at : at + n] = [b"\xff", b"\0", b"\x7f"][random.integers(3)] * len(data[at : at + n])
        try:
            read(form, bytes(data))
        except ValueError as error:
            messages.append(str(error))
    assert messages
    assert all(message.startswith("f: ") and "\n" not in message for message in messages)


def test_a_quote_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "max_line", lambda: 1000)
    rows = b'text\n"' + b"a\n" * 5000
    with pytest.raises(
        ValueError, match=r"^f: line 2: not CSV \(field larger than field limit \(1000\)"
    ):
        list(READERS["csv"]("f", io.BytesIO(rows), True))
    assert len(next(iter(READERS["csv"]("f", rows + b'"', True)))["text"]) == 10_000


def test_a_line_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "CHUNK", 100)
    for module in (text_lines, tables, json_records):
        monkeypatch.setattr(module, "max_line", lambda: 1000)
    for form, head in (
        ("lines", b""),
        ("csv", b"text\n"),
        ("tsv", b"text\n"),
        ("jsonl", b""),
        ("json", b'[{"a": "'),
    ):
        with pytest.raises(
            ValueError,
            match=r"^f: line \d: has (more|a value of more) than 1,000 .* LSLM_MAX_UNPACKED_BYTES",
        ):
            list(READERS[form]("f", io.BytesIO(head + b"a" * 5000), True))
        assert next(iter(READERS["lines"]("f", b"a" * 5000, True)))["text"] == "a" * 5000


@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_footer_says_what_arrow_reads_in_it(compression: str, version: str) -> None:
    table = pyarrow.table(
        {"text": ["a" * (i % 7) for i in range(5000)], "n": [[{"x": i}] for i in range(5000)]}
    )
    sink = io.BytesIO()
    options = {"row_group_size": 700, "data_page_version": version}
    parquet.write_table(
        table.replace_schema_metadata({"k": "v" * 300}), sink, compression=compression, **options
    )
    metadata = parquet.ParquetFile(sink).metadata
    footer = column_stores.read_footer(sink, len(sink.getvalue()))
    assert footer[column_stores.N_ROW] == metadata.num_rows
    for i, group in enumerate(footer[column_stores.ROW_GROUPS]):
        for k, chunk in enumerate(group[column_stores.COLUMNS]):
            own = chunk[column_stores.META_DATA]
            expected = metadata.row_group(i).column(k)
            assert own[column_stores.UNCOMPRESSED] == expected.total_uncompressed_size
            assert own[column_stores.DATA_PAGE] == expected.data_page_offset
            assert own.get(column_stores.DICTIONARY) == expected.dictionary_page_offset


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_byte", "n_row"), [(10, 1000), (1 << 20, 64), (1 << 26, 1), (1 << 27, 1)]
)
def test_large_dictionaries_are_decoded_a_few_rows_at_a_time(n_byte: int, n_row: int) -> None:
    words = pyarrow.array(["a" * (n_byte - 4)])  # and four bytes of its length
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 5, "int32"), words)
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": column}), sink, store_schema=False)
    size = len(sink.getvalue())
    budget = column_stores.SizeLimit("f", size, False)
    budget.limit = 1 << 30
    assert column_stores.rows_at_once(sink, budget) == n_row
