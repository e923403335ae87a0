"""The hub's data sets, read by `datasets`; here from a folder, since tests have no network."""

import json
import logging
import socket
from pathlib import Path

import pytest

from lslm_lightning.corpora import hub
from lslm_lightning.corpora.hub import is_hub_id, open_hub
from lslm_lightning.corpora.lookup import open_corpus


def test_ids() -> None:
    assert all(map(is_hub_id, ["owner/name", "Helsinki-NLP/opus-100:en-zh", "a/b_c.d"]))
    assert not any(map(is_hub_id, ["name", "./name", "/a/b", "a/b/c", "a/b:", "../b"]))


def test_a_data_set_reads_like_any_corpus(
    put, alone, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(alone / "hf"))
    put(
        {
            "train.jsonl": '{"t": {"en": "Hi", "de": "Hallo"}}\n{"t": {"en": "", "de": "b"}}\n',
            "validation.jsonl": '{"t": {"en": "c", "de": "d"}}\n',
        },
        "set",
    )
    corpus = open_hub(str(alone / "set"), {"en": "t.en", "de": "t.de"})
    assert set(corpus.splits) == {"train", "val"}
    rows = corpus.rows("train")
    assert (
        list(rows)
        == rows[:]
        == [{"id": "train:1", "en": "Hi", "de": "Hallo"}, {"id": "train:2", "en": "", "de": "b"}]
    )
    assert rows[-1] == rows[1]
    with caplog.at_level(logging.WARNING):
        assert corpus.digest("train") != corpus.digest("val")
    assert "1 of 2 rows have an empty field and are kept" in caplog.text


def table_of_sounds(path: Path, sounds: list[bytes | None]) -> None:
    """Parquet as the hub has it: sounds as bytes, and a note that the package should decode
    them.
    """
    import pyarrow
    from pyarrow import parquet

    columns = {
        "audio": [data and {"bytes": data, "path": None} for data in sounds],
        "said": [f"word {i}" for i in range(len(sounds))],
    }
    sound = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    features = {"audio": {"_type": "Audio"}, "said": {"dtype": "string", "_type": "Value"}}
    note = {"huggingface": json.dumps({"info": {"features": features}})}
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(
        pyarrow.table(
            columns, pyarrow.schema([("audio", sound), ("said", pyarrow.string())], note)
        ),
        path,
    )


def test_files_in_a_data_set_are_read_as_they_are(alone, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(alone / "hf"))
    table_of_sounds(alone / "set/train.parquet", [b"RIFF0", b"RIFF1"])
    corpus = open_hub(str(alone / "set"), {"audio": "audio", "text": "said"})
    assert list(corpus.rows("train")) == [
        {"id": f"train:{i}", "audio": f"train:{i}", "text": f"word {i - 1}"} for i in (1, 2)
    ]
    assert corpus.rows("train").texts.column_names == ["said"], (
        "rows are made without reading files"
    )
    assert [corpus.read(row["audio"]) for row in corpus.rows("train")] == [b"RIFF0", b"RIFF1"]
    table_of_sounds(alone / "other/train.parquet", [b"RIFF0", b"RIFF2"])
    other = open_hub(str(alone / "other"), {"audio": "audio", "text": "said"})
    assert other.digest("train") != corpus.digest("train"), "the digest covers the files"


def test_a_row_without_its_file_is_named(alone, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(alone / "hf"))
    table_of_sounds(alone / "set/train.parquet", [b"RIFF0", None])
    corpus = open_hub(str(alone / "set"), {"audio": "audio", "text": "said"})
    assert len(corpus.digest("train")) == 64
    with pytest.raises(FileNotFoundError, match="train:2 has nothing in its column 'audio'"):
        corpus.read("train:2")


def test_columns_that_are_called_as_fields_need_no_words(
    put, alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(alone / "hf"))
    put({"train.jsonl": '{"translation": {"en": "Hi", "de": "Hallo"}}\n'}, "set")
    corpus = open_hub(str(alone / "set"), {})
    assert (corpus.task, list(corpus.rows("train"))) == (
        "translation",
        [{"id": "train:1", "en": "Hi", "de": "Hallo"}],
    )
    put({"train.jsonl": '{"article": "A", "highlights": "a"}\n'}, "news")
    with pytest.raises(ValueError, match=r"news: no row has the column 'nix'"):
        open_hub(str(alone / "news"), {"document": "article", "summary": ["highlights", "nix"]})
    with pytest.raises(
        ValueError,
        match=r"set data.columns, for example columns: \{document: article, summary: highlights\}",
    ):
        open_hub(str(alone / "news"), {}, fields=("document", "summary"))


def test_cells_of_csv_files_are_read_as_they_are_written(
    put, alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(alone / "hf"))
    put(
        {"train.csv": 'en,de\nnull,NA\n007,1.50\nNone,"a\rb"\n', "test.csv": "en,de\ntrue,x\n"},
        "set",
    )
    folder = str(alone / "set")

    def texts(corpus) -> list[list[tuple[str, str]]]:
        return [
            [(row["en"], row["de"]) for row in corpus.rows(split)] for split in ("train", "test")
        ]

    wanted = [[("null", "NA"), ("007", "1.50"), ("None", "a\rb")], [("true", "x")]]
    assert texts(open_hub(folder, {})) == texts(open_corpus(folder)) == wanted

    (alone / "hf/set").rename(alone / "hf/owner___my_set")
    for settings in (datasets.config, pytest.importorskip("huggingface_hub").constants):
        monkeypatch.setattr(settings, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_is_reachable", lambda _: False)
    assert texts(open_hub("owner/my_set", {})) == wanted, (
        "what was read before is found without the hub"
    )


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    for settings in (datasets.config, pytest.importorskip("huggingface_hub").constants):
        monkeypatch.setattr(settings, "HF_HUB_OFFLINE", False)  # and back again afterwards

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(
        FileNotFoundError,
        match=(
            r"'owner/name' is neither in corpora.yaml .*hub has no such data set .*\(it cannot be "
            r"reached\)$"
        ),
    ):
        open_corpus("owner/name", {"text": "text"})
