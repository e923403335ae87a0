"""Pipes, devices, sockets and folders in the place of a corpus's files are refused by name, and
never read.
"""

import os
import socket
from pathlib import Path

import pytest

from lslm_lightning.__main__ import main
from lslm_lightning.corpora.archives import read_file, read_members
from lslm_lightning.corpora.checksums import checksum
from lslm_lightning.corpora.lookup import open_corpus
from lslm_lightning.data.stream import Stream

TEXT = "one\ntwo\nthree\nfour\n"


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # longer paths than a socket may have


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "part-1.txt").write_text(TEXT)


def make_dangling(path: Path) -> None:
    path.symlink_to(path.parent / "gone")


MAKERS = {
    "a named pipe": make_pipe,
    "a device": make_device,
    "a socket": make_socket,
    "a folder": make_folder,
    "a link that leads nowhere": make_dangling,
}


@pytest.fixture(params=MAKERS)
def special(request, tmp_path, monkeypatch):
    """Make a path of some kind that is no file, and return what it is called."""

    def make(name: str, folder: str = "corpus") -> str:
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        monkeypatch.chdir(path.parent)
        MAKERS[request.param](path)
        return request.param

    return make


def refused(name: str, kind: str, use) -> None:
    with pytest.raises((ValueError, OSError)) as told:
        use()
    assert name in str(told.value), told.value
    if kind != "a link that leads nowhere":
        assert kind in str(told.value), told.value


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["train.txt", "train.jsonl", "train.json", "train.txt.gz", "val.tsv", "test-1.parquet"]
)
def test_in_a_folder_of_splits(name, special, tmp_path):
    kind = special(name)
    folder = tmp_path / "corpus"
    for split in {"train", "val", "test"} - {name[:5].rstrip("."), name.partition(".")[0]}:
        (folder / f"{split}.txt").write_text(TEXT)
    refused(name, kind, lambda: open_corpus(str(folder)))


def test_one_side_of_parallel_text(special, tmp_path):
    kind = special("train.de")
    (tmp_path / "corpus" / "train.en").write_text(TEXT)
    if kind == "a folder":
        return  # train.old may be one
    refused("train.de", kind, lambda: open_corpus(str(tmp_path / "corpus")))


@pytest.mark.parametrize("name", ["notes.txt", "notes.json"])
def test_among_documents_and_alone(name, special, tmp_path):
    kind = special(name)
    folder = tmp_path / "corpus"
    if kind in ("a folder", "a link that leads nowhere"):
        return  # folders may have any name; of a link that leads nowhere, reading says so
    refused(name, kind, lambda: open_corpus(str(folder / name)))
    (folder / "a.txt").write_text(TEXT)
    if name.endswith(".txt"):
        corpus = open_corpus(str(folder))
        refused(name, kind, lambda: [corpus.rows(split) for split in corpus.splits])


def test_readers_and_streams(special, tmp_path):
    kind = special("train.txt")
    path = tmp_path / "corpus" / "train.txt"
    refused("train.txt", kind, lambda: read_file(path))
    if kind != "a folder":
        refused("train.txt", kind, lambda: checksum(path, "sha256"))
        refused("train.txt", kind, lambda: read_members(path, "*"))
        refused("train.txt", kind, lambda: Stream(str(path)).files)
        refused("train.txt", kind, lambda: Stream(str(tmp_path / "corpus")).files)
        refused("train.txt", kind, lambda: Stream(str(tmp_path / "corpus" / "*.txt")).files)


def test_a_file_of_the_catalogue(special, tmp_path, describe, monkeypatch):
    kind = special("train.txt", "data/pets")
    monkeypatch.chdir(tmp_path)
    columns = {"task": "lm", "languages": ["en"], "fields": ["text"], "columns": {"text": "text"}}
    describe(**columns, format="text", splits={"train": "train.txt"})
    refused("train.txt", kind, lambda: open_corpus("pets").rows("train"))


def test_data_check_refuses_them_in_one_line(special, tmp_path, capsys):
    kind = special("train.txt")
    if kind == "a folder":
        return  # is a corpus
    assert main(["data", "check", str(tmp_path / "corpus" / "train.txt")]) != 0
    err = capsys.readouterr().err
    assert "train.txt" in err
    assert "Traceback" not in err
    assert kind in err or kind == "a link that leads nowhere"


def test_links_to_files_and_to_folders_are_read(tmp_path):
    real = tmp_path / "real"
    linked = tmp_path / "linked"
    real.mkdir()
    linked.mkdir()
    (real / "a.txt").write_text(TEXT)
    (linked / "train.txt").symlink_to(real / "a.txt")
    (linked / "old.d").mkdir()
    assert open_corpus(str(linked)).rows("train")
    (tmp_path / "again").symlink_to(linked)
    assert open_corpus(str(tmp_path / "again")).rows("train")
    assert read_file(linked / "train.txt") == TEXT.encode()
    assert [size for _, size in Stream(str(linked)).files] == [len(TEXT)]
