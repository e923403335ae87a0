"""Anything that lies on this machine is a corpus."""

import gzip
import io
import json
import re
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from lslm_lightning.corpora import entries
from lslm_lightning.corpora.column_proposals import columns_as_yaml
from lslm_lightning.corpora.lookup import open_corpus
from tests.corpora.conftest import PAIRS
from tests.corpora.test_roads import PACK


def test_a_folder_of_parallel_text(put) -> None:
    put(PAIRS | {"dev.en": "Hi.\n", "dev.de": "Hallo.\n", "NOTES.md": "x"}, "pairs")
    corpus = open_corpus("pairs")
    assert (corpus.task, set(corpus.languages), set(corpus.splits)) == (
        "translation",
        {"en", "de"},
        {"train", "val"},
    )
    assert corpus.rows("val") == [{"id": "dev:1", "de": "Hallo.", "en": "Hi."}]
    assert list(open_corpus("pairs", {"de": "de"}).rows("train")[0]) == ["id", "de"]
    for languages, found in ((("de",), {"de"}), (("de", "fr"), {"en", "de"}), ((), {"en", "de"})):
        assert set(open_corpus("pairs", languages=languages).languages) == found


def test_gzip_reads_like_plain_text(put) -> None:
    put(PAIRS, "plain")
    put({f"{name}.gz": gzip.compress(text.encode()) for name, text in PAIRS.items()}, "packed")
    assert open_corpus("packed").rows("train") == open_corpus("plain").rows("train")


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("train.jsonl", '{"en": "Hi", "de": "Hallo"}\n', None),
        ("train.json", '[{"en": "Hi", "de": "Hallo"}]', None),
        ("train.csv", "en,de\nHi,Hallo\n", None),
        ("train.tsv", "en\tde\nHi\tHallo\n", None),
        ("train.tsv", "Hallo\tHi\n", {"en": 1, "de": 0}),
        ("train.csv", "english,german\nHi,Hallo\n", {"en": "english", "de": "german"}),
        (
            "train.jsonl",
            '{"translation": {"en": "Hi", "de": "Hallo"}}',
            {"en": "translation.en", "de": "translation.de"},
        ),
    ],
)
def test_tables_say_the_same(name: str, text: str, columns: dict | None, put) -> None:
    put({name: text}, "table")
    row = dict(open_corpus("table", columns).rows("train")[0])
    assert row.pop("id").startswith("train.")
    assert row == {"en": "Hi", "de": "Hallo"}


def test_parquet_in_shards(put, alone: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    (alone / "table").mkdir()
    for number, text in enumerate(["a", "b"]):
        parquet.write_table(
            pyarrow.table({"text": [text]}), alone / f"table/train-0000{number}-of-00002.parquet"
        )
    corpus = open_corpus("table")
    assert corpus.splits == ("train",)
    assert [row["text"] for row in corpus.rows("train")] == ["a", "b"]


def test_summaries_with_several_references(put) -> None:
    put({"test.jsonl": '{"article": "A", "short": "a", "shorter": "b"}'}, "news")
    corpus = open_corpus("news", {"document": "article", "summary": ["short", "shorter"]})
    assert corpus.rows("test") == [{"id": "test.jsonl:1", "document": "A", "summary": ["a", "b"]}]


def test_one_text_is_cut_in_order(put) -> None:
    text = "".join(f"line {i}\n" for i in range(200))
    put({"book.txt": text}, ".")
    corpus = open_corpus("book.txt")
    assert "".join(corpus.rows(split)[0]["text"] for split in ("train", "val", "test")) == text


def test_one_table_is_split_without_overlap(put) -> None:
    put({"pairs.tsv": "en\tde\n" + "".join(f"e{i % 150}\td{i % 150}\n" for i in range(300))}, ".")
    corpus = open_corpus("pairs.tsv")
    sides = {split: {row["en"] for row in corpus.rows(split)} for split in corpus.splits}
    assert sum(map(len, sides.values())) == len(set.union(*sides.values())) == 150
    assert sum(len(corpus.rows(split)) for split in corpus.splits) == 300


@pytest.mark.parametrize("n", [3, 4, 20, 60])
def test_no_split_of_a_small_table_is_empty(put, n: int) -> None:
    put({"pairs.tsv": "en\tde\n" + "".join(f"e{i}\td{i}\n" for i in range(n))}, ".")
    corpus = open_corpus("pairs.tsv")
    sizes = [len(corpus.rows(split)) for split in ("train", "val", "test")]
    assert min(sizes) >= 1
    assert sum(sizes) == n


@pytest.mark.parametrize("ending", sorted(PACK))
def test_packed_files_are_files_of_a_corpus(ending: str, put) -> None:
    pack = PACK[ending]
    put(
        {f"test.{code}{ending}": pack(f"{code} 1\n{code} 2\n".encode()) for code in ("en", "de")},
        "parallel",
    )
    assert [row["de"] for row in open_corpus("parallel").rows("test")] == ["de 1", "de 2"]
    put({f"{split}.tsv{ending}": pack(b"en\tde\na\tb\n") for split in ("train", "test")}, "tables")
    assert open_corpus("tables").rows("test")[0]["de"] == "b"
    put({f"test.json{ending}": pack(b'{"text": "a"}\n{"text": "b"}\n')}, "lines")
    assert [row["text"] for row in open_corpus("lines").rows("test")] == ["a", "b"]
    put({f"a.txt{ending}": pack(b"abc " * 100)}, ".")
    assert open_corpus(f"a.txt{ending}").rows("train")[0]["text"].startswith("abc abc")
    if ending:
        put({"test.tsv": b"en\tde\na\tb\n"}, "tables")
        with pytest.raises(ValueError, match="are the same file twice"):
            open_corpus("tables")


def test_what_datasets_saves_is_a_corpus(put) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"text": ["a", "b"]})
    buffer = io.BytesIO()
    with pyarrow.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    about = {"train/state.json": "{}", "train/dataset_info.json": "{}", "dataset_dict.json": "{}"}
    put({"train/data-00000-of-00001.arrow": buffer.getvalue(), **about}, "saved")
    assert [row["text"] for row in open_corpus("saved").rows("train")] == ["a", "b"]


def test_languages_packed_differently_are_told(put) -> None:
    put(
        {
            "train.part1.en.gz": gzip.compress(b"a\n"),
            "train.part1.de": "x\n",
            "train.part2.en": "b\n",
            "train.part2.de": "y\n",
        },
        "d",
    )
    with pytest.raises(
        ValueError,
        match=r"train.part1.de and train.part1.en.gz are packed differently; pack all languages",
    ):
        open_corpus("d")


def test_a_column_of_several_that_nothing_has_is_refused(put) -> None:
    put({"train.csv": "en,r1\na,b\n", "test.csv": "en,r1,r2\nc,d,e\n"}, "d")
    corpus = open_corpus("d", {"en": "en", "de": ["r1", "r2"]})
    assert [corpus.rows(split)[0]["de"] for split in ("train", "test")] == [["b"], ["d", "e"]]
    for columns in (
        {"en": "en", "de": ["r1", "r3"]},
        {"document": ["en", "r3"], "summary": "r1"},
        {"text": ["r3", "r1"]},
    ):
        with pytest.raises(
            ValueError, match=r"^corpus d: no row has the column 'r3', which columns names"
        ):
            open_corpus("d", columns).rows("test")


def test_a_blank_cell_is_no_answer(put) -> None:
    put({"test.csv": "context,question,a1,a2\nc,q,a,b\nc,q,a,\nc,q,,b\nc,q,,\n"}, "d")
    corpus = open_corpus(
        "d", {"context": "context", "question": "question", "answers": ["a1", "a2"]}
    )
    assert [row["answers"] for row in corpus.rows("test")] == [["a", "b"], ["a"], ["b"], []]


@pytest.mark.parametrize("answers", ['["a", ""]', '[" ", "a"]', '["a", null]', '["", ""]'])
def test_a_blank_answer_beside_others_is_refused(answers: str, put) -> None:
    put({"test.jsonl": f'{{"context": "a", "question": "q", "answers": {answers}}}\n'}, "d")
    with pytest.raises(
        ValueError, match=r"^corpus d: test.jsonl:1: text \d of the 2 in answers is empty \(1 of 1"
    ):
        open_corpus("d").rows("test")


@pytest.mark.parametrize("answers", ["[]", '[""]', '["a", "b"]', '"a"'])
def test_no_answer_is_none(answers: str, put) -> None:
    put({"test.jsonl": f'{{"context": "a", "question": "q", "answers": {answers}}}\n'}, "d")
    assert len(open_corpus("d").rows("test")) == 1


def test_a_table_of_a_header_alone_has_no_rows(put) -> None:
    put({"test.tsv": "en\tde\n"}, "d")
    with pytest.raises(ValueError, match=r"^d/test.tsv: has no rows$"):
        open_corpus("d")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("en,de1,de2\na,b,c\n", {"en": "en", "de": ["de1", "de2"]}),
        ("source,de_0,de_1,de_2\na,b,c,d\n", {"en": "source", "de": ["de_0", "de_1", "de_2"]}),
        ("en,german,de1\na,b,c\n", {"en": "en", "de": "german"}),
    ],
)
def test_numbered_columns_are_proposed_as_references(text: str, named: dict, put) -> None:
    put({"test.csv": text}, "d")
    corpus = open_corpus("d", named)
    assert corpus.rows("test")[0]["de"] == (
        ["b", "c", "d"][: len(named["de"])] if isinstance(named["de"], list) else "b"
    )
    if isinstance(named["de"], list):
        with pytest.raises(ValueError, match=re.escape(columns_as_yaml(named))):
            open_corpus("d", languages=("en", "de"))


@pytest.mark.parametrize("name", ["test.jsonl", "test.parquet"])
def test_texts_that_say_their_language_are_read_by_it_in_any_order(name, put) -> None:
    """By position, a row that has the other order would have its sides exchanged."""
    pair = [{"language": "en", "text": "a"}, {"language": "de", "text": "b"}]
    rows = [{"translation": pair}, {"translation": pair[::-1]}]
    table = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    put({name: lines if name == "test.jsonl" else table.getvalue()}, "d")
    stated = {code: f"translation.language={code}.text" for code in ("en", "de")}
    for corpus in (
        open_corpus("d"),
        open_corpus("d", languages=("en", "de")),
        open_corpus("d", stated),
    ):
        assert corpus.languages == ("en", "de")
        assert [(row["en"], row["de"]) for row in corpus.rows("test")] == [("a", "b")] * 2


def test_a_row_without_one_of_the_languages_is_named(put) -> None:
    both = [{"lang": "en", "text": "a"}, {"lang": "de", "text": "b"}]
    rows = [both, both[:1]]
    put({"test.jsonl": "".join(json.dumps({"pair": row}) + "\n" for row in rows)}, "d")
    with pytest.raises(ValueError, match=r"test.jsonl:2: no column 'pair.lang=de.text' for de"):
        open_corpus("d").rows("test")


def test_an_empty_field_is_told_with_its_line(put) -> None:
    put({"test.json": '[{"en": "a", "de": "b"},\n\n{"en": "c", "de": ""}]'}, "d")
    with pytest.raises(ValueError, match=r"^corpus d: test.json: line 3, object 2: de empty"):
        open_corpus("d").rows("test")


def test_a_file_that_is_divided_is_read_once(put, monkeypatch) -> None:
    put({"pairs.tsv": "en\tde\n" + "".join(f"a{i}\tb{i}\n" for i in range(60))}, ".")
    corpus = open_corpus("pairs.tsv")
    read = []
    monkeypatch.setattr(
        entries,
        "read_file",
        lambda path, read_file=entries.read_file: read.append(path) or read_file(path),
    )
    ids = [row["id"] for split in corpus.splits for row in corpus.rows(split)]
    assert (len(ids), len(set(ids)), len(read)) == (60, 60, 1)


def test_too_small_to_be_split(put) -> None:
    put({"pairs.tsv": "en\tde\na\tb\n"}, ".")
    with pytest.raises(ValueError, match="too small for these shares"):
        [open_corpus("pairs.tsv").rows(split) for split in ("train", "val", "test")]


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        (
            {"a.docx": "x"},
            "d/a.docx",
            r"d/a.docx: cannot tell the format from the name; it must end in txt, tsv",
        ),
        (
            {"a.docx": "x"},
            "d",
            r"d: holds neither parallel text \(train.en, train.de\) nor train.jsonl",
        ),
        ({"train.en": "x"}, "d", r"d: holds neither parallel text"),
        (
            {"train.tsv": "x", "test.csv": "y"},
            "d",
            r"d: test.csv, train.tsv are of several formats",
        ),
        (
            {"train.tsv": "first\tsecond\na\tb\n"},
            "d",
            (
                r"train.tsv: no column is called text, .*; it has first, second: .* or columns: "
                r"\{document: first, summary: second\}"
            ),
        ),
        ({"train.jsonl": ""}, "d", r"train.jsonl: is empty"),
    ],
)
def test_what_is_no_corpus_says_why(files: dict, path: str, message: str, put) -> None:
    put(files, "d")
    with pytest.raises(ValueError, match=message):
        open_corpus(path)
