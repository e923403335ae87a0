"""A file of a cache that is half-written, or another's, is made again; one that a user named is
refused by name.
"""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lslm_lightning.corpora.builtin.cache import load_or_make
from lslm_lightning.corpora.checksums import SMALL, cached_checksum
from lslm_lightning.data.packing import pack
from lslm_lightning.data.prepare import prepare
from lslm_lightning.data.prepared import INDEX, JOURNAL, Prepared
from lslm_lightning.data.stream import Stream
from lslm_lightning.evaluation.contamination import cached_text_index
from lslm_lightning.ngram.model import NgramModel
from lslm_lightning.text.recipes import Bytes
from tasks.summarization.extractive.oracle import chosen_once

DOCUMENTS = [["One dog ran.", "It was late.", "A cat slept."], ["Rain fell.", "The sun shone."]]
SUMMARIES = [["A dog ran."], ["It rained."]]
LARGE = b"x" * SMALL


def checksum_of(folder: Path) -> str:
    path = folder / "text"
    if not path.exists():
        path.write_bytes(LARGE)
    return cached_checksum(path)


def rows_of(folder: Path) -> dict:
    return load_or_make("pets", 1, lambda: {"train": [{"id": "1", "text": "a"}]})


def ids_of(folder: Path) -> list[int]:
    return pack(["one", "two"], Bytes().train(), folder / "cache/packed/a.ids").tolist()


def places_of(folder: Path) -> list[list[int]]:
    return chosen_once(DOCUMENTS, SUMMARIES, "en", 1, folder / "cache/extracts")


def grams_of(folder: Path) -> list[int]:
    known = cached_text_index(
        ["one two three four"] * 3 + ["x " * 30], "key", folder / "cache/ngrams"
    )
    return [*known.grams.tolist(), *known.wholes.tolist()]


def array(shape: str) -> bytes:
    """The header of an array of numpy that says it has that shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<u8", "fortran_order": False, "shape": (1,)}
    )
    return file.getvalue().replace(b"(1,)", shape.encode())


CACHED = {
    "checksum": checksum_of,
    "rows": rows_of,
    "ids": ids_of,
    "places": places_of,
    "grams": grams_of,
}
CONTENTS = [
    b"",
    b"\xff\xfe",
    b"[",
    b"[]",
    b"{}",
    b'{"train": 1}',
    b"[[9]]\n[0]\n",
    b"[" * 100_000,
    b"\0" * 7,
    b"\0" * 8,
    array("(10**15,)"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [*CONTENTS, None],
    ids=lambda content: "half" if content is None else repr(content[:8]),
)
@pytest.mark.parametrize("name", CACHED)
def test_a_damaged_file_of_the_cache_is_made_again(
    name: str, content: bytes | None, alone: Path
) -> None:
    read: Callable[[Path], object] = CACHED[name]
    expected = read(alone)
    files = [
        path for path in (alone / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"
    ]
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert files
    assert read(alone) == expected
    assert read(alone) == expected


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder of ids as `lslm data prepare` leaves it, with one shard."""
    np.array([3, 4, 2], np.uint16).tofile(tmp_path / "shard-00000.ids")
    shard = {"file": "shard-00000.ids", "n_document": 1, "n_byte": 2, "n_token": 3, "crc32": 0}
    (tmp_path / INDEX).write_text(json.dumps({"dtype": "uint16", "eos_id": 2, "shards": [shard]}))
    assert Prepared.open(tmp_path).ids[np.arange(4)].tolist() == [2, 3, 4, 2]
    return tmp_path


OTHER_FILES = ("../a.txt", "/etc/passwd", r"..\a.txt", "shard-00000.ids/../../a.txt")
INDICES = [
    "",
    "[]",
    "{}",
    "[" * 100_000,
    '{"dtype": "O", "eos_id": 2, "shards": []}',
    '{"dtype": "int32", "eos_id": 2, "shards": [1]}',
]


@pytest.mark.parametrize("content", INDICES, ids=lambda text: text[:20])
def test_a_damaged_index_is_named(content: str, prepared: Path) -> None:
    (prepared / INDEX).write_text(content)
    with pytest.raises(ValueError, match=rf"{INDEX} is damaged"):
        Prepared.open(prepared)


@pytest.mark.parametrize("file", OTHER_FILES)
def test_an_index_names_no_file_elsewhere(file: str, prepared: Path) -> None:
    index = json.loads((prepared / INDEX).read_text())
    index["shards"][0]["file"] = file
    (prepared / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=rf"{INDEX} is damaged"):
        Prepared.open(prepared)


@pytest.mark.slow
@pytest.mark.parametrize("line", ["{", "1", '{"file": "../a.txt", "crc32": 1}'])
def test_a_damaged_line_of_the_journal_is_made_again(line: str, alone: Path) -> None:
    (alone / "a.txt").write_text("one\ntwo\nthree\n")
    folder = alone / "prepared"
    tokenizer = Bytes().train()
    prepare(Stream("a.txt"), tokenizer, folder, 1, 4)
    whole = {path.name: path.read_bytes() for path in folder.glob("*.ids")}
    rows = (folder / JOURNAL).read_text().splitlines()
    rows[2] = line
    (folder / JOURNAL).write_text("".join(f"{row}\n" for row in rows))
    prepare(Stream("a.txt"), tokenizer, folder, 1, 4)
    assert {path.name: path.read_bytes() for path in folder.glob("*.ids")} == whole
    (folder / JOURNAL).write_text(f"{line}\n")
    with pytest.raises(ValueError, match=rf"{JOURNAL} is damaged|was begun with another"):
        prepare(Stream("a.txt"), tokenizer, folder, 1, 4)


@pytest.mark.parametrize(
    "facts", ["", "[]", "1", '{"order": "x"}', '{"order": 1000000000, "vocab_size": 1, "bos": 0}']
)
def test_a_damaged_n_gram_model_is_named(facts: str, tmp_path: Path) -> None:
    (tmp_path / "ngram.json").write_text(facts)
    with pytest.raises(ValueError, match="holds no n-gram model"):
        NgramModel.load(tmp_path)


def test_checksums_are_those_of_the_files(alone: Path) -> None:
    assert checksum_of(alone) == hashlib.sha256(LARGE).hexdigest()


def test_small_files_leave_nothing_in_the_cache(alone: Path) -> None:
    files = [alone / f"{i}.txt" for i in range(20)]
    for path in files:
        path.write_text(path.name)
    sums = {cached_checksum(path) for path in files}
    assert sums == {hashlib.sha256(path.name.encode()).hexdigest() for path in files}
    assert not any(path.is_file() for path in (alone / "cache").rglob("*"))
