"""One text by every road, line for line or column for column: the same text, or the same
refusal.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from lslm_lightning.corpora.hub import open_hub
from lslm_lightning.corpora.lookup import open_corpus
from lslm_lightning.corpora.readers import READERS
from lslm_lightning.corpora.rows import to_row
from lslm_lightning.data.prepare import prepare
from lslm_lightning.data.stream import Stream, format_of
from lslm_lightning.text.recipes import Bytes

NASTY = [
    "null",
    "NA",
    "None",
    "nan",
    "true",
    "007",
    "1e5",
    "3.0",
    "-0",
    "1,5",
    '"quoted"',
    'one " quote',
    '"',
    "a,b;c|d",
    "lone\rreturn",
    "return at the end\r\r",
    "two\nlines",
    "two\r\nlines",
    "tab\tin it",
    " spaces around ",
    "\u3000wide\u00a0",
    "line\u2028and\u2029paragraph",
    "next\u0085line",
    "\x0bvertical\x0cform\x1c\x1d\x1e",
    "\ufeffmark\ufeff",
    "😀 👨‍👩‍👧 🏽",
    "e\u0301 नि ก็",
    "中文，标点。",
    "مرحبا \u202bبالعالم\u202c",
    "\\u0000 \\n",
    "{'text': 1}",
    "x" * 200_000,
]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pyarrow.compress(data, codec="zstd", asbytes=True),
}
FIRST = "first"  # so that no text stands where a byte order mark may

text = st.text(
    st.sampled_from("a\"',;|\t \n\r\0\u2028\u0085\ufeff\x0b\x1c文é😀\u0301\\{")
    | st.characters(codec="utf-8"),
    max_size=12,
)


def written(texts: list[str]) -> dict[str, bytes]:
    """Files by their names, each with all texts, in the formats that can hold them."""
    rows = [{"text": one} for one in texts]
    table = io.StringIO(newline="")
    csv.writer(table).writerows([["text"], *([one] for one in texts)])
    unquoted = "".join(f"{_cell(one)}\n" for one in ["text", *texts])
    arrow = pyarrow.table({"text": texts})
    columns = io.BytesIO()
    stream = io.BytesIO()
    parquet.write_table(arrow, columns)
    with ipc.new_stream(stream, arrow.schema) as writer:
        writer.write_table(arrow)
    files = {
        "a.csv": table.getvalue().encode(),
        "b.csv": unquoted.encode(),
        "a.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode(),
        "b.jsonl": "\r\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(
            "utf-8-sig"
        ),
        "a.json": json.dumps(rows).encode(),
        "b.json": json.dumps(rows, indent=1, ensure_ascii=False).encode(),
        "c.json": "".join(json.dumps(row) + "\n" for row in rows).encode(),
        "a.parquet": columns.getvalue(),
        "a.arrow": stream.getvalue(),
    }
    if not any("\n" in one or one.endswith("\r") for one in texts):
        files["a.txt"] = "".join(f"{one}\r\n" for one in texts).encode()
        if not any("\t" in one for one in texts):
            files["a.tsv"] = "".join(f"{one}\t1\n" for one in ["text", *texts]).encode()
    return files


def _cell(one: str) -> str:
    """As RFC 4180 has it, without a quote where none is needed."""
    return (
        '"' + one.replace('"', '""') + '"'
        if any(mark in one for mark in '",\n') or not one or one.endswith("\r")
        else one
    )


def read(name: str, data: bytes) -> list[str]:
    """The texts as a corpus has them."""
    return [
        to_row(record, {}, ("text",))["text"]
        for record in READERS[format_of(name)](name, data, True)
    ]


def streamed(path: Path) -> list[str]:
    return list(Stream(str(path), empty="keep").documents(0))


@settings(max_examples=60, deadline=None)
@given(st.lists(text, min_size=1, max_size=4))
def test_any_text_is_the_same_in_every_format(tmp_path_factory, texts):
    texts = [FIRST, *texts]
    folder = tmp_path_factory.mktemp("roads")
    for name, data in written(texts).items():
        (folder / name).write_bytes(data)
        if "\0" in "".join(texts):
            for road in (
                lambda name=name, data=data: read(name, data),
                lambda name=name: streamed(folder / name),
            ):
                with pytest.raises(ValueError, match=rf"{name}.*NUL"):
                    road()
        else:
            assert read(name, data) == texts, name
            assert streamed(folder / name) == texts, name


@pytest.mark.parametrize("ending", PACK)
def test_nasty_texts_are_the_same_packed_or_not(ending, tmp_path):
    for texts in (NASTY, one_line(NASTY)):
        for name, data in written([FIRST, *texts]).items():
            path = tmp_path / (name + ending)
            path.write_bytes(PACK[ending](data))
            assert streamed(path) == [FIRST, *texts], name


def one_line(texts: list[str]) -> list[str]:
    return [
        one for one in texts if not any(mark in one for mark in "\n\t") and not one.endswith("\r")
    ]


def test_a_stream_goes_on_at_any_document(tmp_path):
    for name, data in written([FIRST, *NASTY]).items():
        (tmp_path / name).write_bytes(data)
        stream = Stream(str(tmp_path / name))
        assert list(stream.documents(0, 7)) == NASTY[6:]
        assert list(stream.documents(0, 1000)) == []


@pytest.mark.slow
def test_a_corpus_a_stream_and_prepared_ids_have_the_same_texts(tmp_path, monkeypatch):
    """The tokens of what was prepared, one a byte, decoded again."""
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))
    tokenizer = Bytes().train()
    found = {}
    texts = [FIRST, *NASTY[:-1]]
    for name in ("a.csv", "a.jsonl", "a.json", "a.parquet"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        path = folder / f"train.{name[2:]}"
        path.write_bytes(written(texts)[name])
        corpus = [row["text"] for row in open_corpus(str(folder), {"text": "text"}).rows("train")]
        assert corpus == streamed(path) == texts
    (tmp_path / "all").mkdir()
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / "all" / name).write_bytes(written(texts)[name])
        made = prepare(
            Stream(str(tmp_path / "all" / name)), tokenizer, tmp_path / f"ids-{name}", 1, 10**9
        )
        ids = np.asarray(made.ids[np.arange(1, len(made.ids))])
        parts = np.split(ids, np.flatnonzero(ids == tokenizer.eos_id) + 1)[:-1]
        found[name] = [tokenizer.decode(part[:-1].tolist()) for part in parts]
    assert found == {"a.csv": texts, "a.jsonl": texts}


def test_a_data_set_of_the_hub_has_the_same_texts(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    for name in ("a.jsonl", "a.parquet"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / f"train.{name[2:]}").write_bytes(written([FIRST, *NASTY])[name])
        assert [row["text"] for row in open_hub(str(folder), {"text": "text"}).rows("train")] == [
            FIRST,
            *NASTY,
        ]


BLANK = ["first", " \u3000 ", "third"]
FOLDED = {"refuse": None, "keep": BLANK, "drop": [BLANK[0], BLANK[2]]}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.jsonl", "b.jsonl", "a.json", "a.parquet", "a.arrow", "a.txt"]
)
@pytest.mark.parametrize("empty", FOLDED)
def test_a_blank_text_is_refused_kept_or_dropped_by_every_road(empty, name, describe, put):
    """A corpus, a stream, and what is prepared of it: the same texts, or the same line named."""
    lines = "\n".join([*BLANK, ""]).encode()
    put({name: lines if name == "a.txt" else written(BLANK)[name]}, "data/pets")
    form = "lines" if name == "a.txt" else name[2:]
    split = {"train": name}
    describe(task="language_modeling", languages=["en"], format=form, splits=split, empty=empty)
    stream = Stream(f"data/pets/{name}", empty=empty)
    tokenizer = Bytes().train()

    def prepared():
        made = prepare(stream, tokenizer, Path("ids"), 1, 10**9)
        ids = np.asarray(made.ids[np.arange(1, len(made.ids))])
        parts = np.split(ids, np.flatnonzero(ids == tokenizer.eos_id) + 1)[:-1]
        return [tokenizer.decode(part[:-1].tolist()) for part in parts]

    for road in (
        lambda: [row["text"] for row in open_corpus("pets").rows("train")],
        lambda: [*filter(stream.keeps, stream.documents(0))],
        prepared,
    ):
        if FOLDED[empty] is None:
            with pytest.raises(ValueError, match=rf"{name}:.*text (is )?empty.*drop"):
                road()
        else:
            assert road() == FOLDED[empty]


def table_of(values: list, kind: pyarrow.DataType) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": pyarrow.array(values, kind)}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "value", ["3.0", "1.50", "1e5", "1E+05", "-0", "-0.0", "0.1000000000000000055", "7", "9" * 5000]
)
def test_a_number_is_its_digits(value, tmp_path):
    for name, data in {
        "a.csv": f"text\n{value}\n",
        "a.jsonl": f'{{"text": {value}}}\n',
        "a.json": f'[{{"text": {value}}}]',
    }.items():
        (tmp_path / name).write_text(data)
        assert read(name, data.encode()) == streamed(tmp_path / name) == [value]


def test_numbers_of_column_stores_are_as_python_writes_them():
    assert read("a.parquet", table_of([3.0, 0.1, None], pyarrow.float64())) == ["3.0", "0.1", ""]
    assert read("a.parquet", table_of([3, 2**62], pyarrow.int64())) == ["3", str(2**62)]
    assert read(
        "a.parquet", table_of([Decimal("3.00"), Decimal("0.10")], pyarrow.decimal128(9, 2))
    ) == ["3.00", "0.10"]


@pytest.mark.parametrize("value", ["null", '"a"', '["a", null, 3]'])
def test_nothing_is_an_empty_text_and_a_list_is_joined(value, tmp_path):
    expected = {"null": "", '"a"': "a"}.get(value, "a  3")
    for name, data in {
        "a.jsonl": f'{{"text": {value}}}\n',
        "a.json": f'[{{"text": {value}}}]',
    }.items():
        (tmp_path / name).write_text(data)
        assert read(name, data.encode()) == streamed(tmp_path / name) == [expected]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (r'"x\ud83d"', r"text has half a surrogate pair, \\ud83d, at character 2"),
        (r'"\ude00\ud83d"', r"text has half a surrogate pair, \\ude00, at character 1"),
        (r'["ok", "\udc00"]', r"text has half a surrogate pair, \\udc00"),
        (r'"x\u0000"', r"text has a NUL, U\+0000, at character 2"),
        ("NaN", "text must be text, not NaN; if nothing is meant, write null"),
        ("Infinity", "text must be text, not Infinity"),
        ("-Infinity", "text must be text, not -Infinity"),
        ("true", 'text must be text, not true; if the word is meant, put it in quotes: "true"'),
        ("[false]", "text must be text, not false"),
        ('{"a": 1}', "text must be text, not dict"),
        ('"x", "text": "y"', "the key 'text' stands twice in one object"),
        ('"x", "m": {"a": 1, "a": 2}', "the key 'a' stands twice in one object"),
        ("01", "not JSON"),
        ("'x'", "not JSON"),
        ('"\x07"', "not JSON"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line_by_every_road(value, message, tmp_path):
    for name, where, data in (
        ("a.jsonl", "(:| line )3:", f'{{"text": "a"}}\n\n{{"text": {value}}}\n'),
        ("a.json", " line 2(, object 2)?:", f'[{{"text": "a"}},\n{{"text": {value}}}]'),
        ("b.json", " line 2(, object 2)?:", f'{{"text": "a"}}\n{{"text": {value}}}\n'),
    ):
        (tmp_path / name).write_text(data)
        for road in (
            lambda name=name, data=data: read(name, data.encode()),
            lambda name=name: streamed(tmp_path / name),
        ):
            with pytest.raises(ValueError, match=f"{name}:?{where} {message}"):
                road()


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (pyarrow.bool_(), True, "not true"),
        (pyarrow.float64(), float("nan"), "not NaN"),
        (pyarrow.float32(), float("-inf"), "not -Infinity"),
        (pyarrow.string(), "x\0", "has a NUL"),
        (pyarrow.binary(), b"x", "not bytes"),
        (pyarrow.list_(pyarrow.bool_()), [False], "not false"),
    ],
)
def test_what_is_no_text_in_a_table_of_columns_is_refused_with_its_row(kind, value, message):
    with pytest.raises(ValueError, match=rf"^a.parquet:2: text .*{message}"):
        read("a.parquet", table_of([None, value], kind))


def test_a_value_that_nobody_reads_is_nobodys_fault():
    assert read("a.jsonl", b'{"text": "a", "score": NaN, "ok": true, "raw": "\\ud83d"}\n') == ["a"]


def test_columns_of_changing_types_are_read(tmp_path):
    """Arrow's reader of JSON gives up where a column is a number here and a text there, and a list
    of lists of both.
    """
    rows = [
        {"text": "a", "ner": [[0, 4, "Protein"]], "n": 1},
        {"text": 2.50, "ner": [["x"], {}], "n": "one"},
        {"text": "b", "ner": None},
    ]
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows).replace("2.5", "2.50")
    )
    assert (
        streamed(tmp_path / "a.jsonl")
        == read("a.jsonl", (tmp_path / "a.jsonl").read_bytes())
        == ["a", "2.50", "b"]
    )
