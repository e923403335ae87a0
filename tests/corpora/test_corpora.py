"""Corpora by name: what their descriptions promise, on the real files where they are here."""

import hashlib
import os
from pathlib import Path

import pytest

from lslm_lightning.corpora.catalogue import read_catalogue
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.corpora.fetching import local_file
from lslm_lightning.corpora.lookup import open_corpus
from lslm_lightning.corpora.rows import LISTS, MAY_BE_EMPTY
from tests.corpora.conftest import PAIRS

FOLDER = os.environ.get("LSLM_DATA")


@pytest.fixture
def real(real_data: Path, monkeypatch: pytest.MonkeyPatch):
    """Opens a real corpus, or skips the test."""
    monkeypatch.setenv("LSLM_DATA", str(Path(FOLDER or "").absolute()))

    def open_real(name: str) -> Corpus:
        entry = read_catalogue(Path("none"))[name]
        if not any(local_file(entry, file) for file in entry.data_files):
            pytest.skip(f"needs the corpus {name}, which LSLM_DATA={real_data} does not hold")
        return open_corpus(name)

    return open_real


def here(corpus: Corpus) -> list[str]:
    """Splits all of whose files are here."""
    entry = read_catalogue(Path("none"))[corpus.name]
    found = {file.name for file in entry.data_files if local_file(entry, file)}
    return [split for split in corpus.splits if set(entry.split_files(split)) <= found]


@pytest.mark.slow
@pytest.mark.parametrize("name", read_catalogue(Path("none")))
def test_real_corpora_are_as_declared(name: str, real) -> None:
    corpus = real(name)
    for split in here(corpus):
        rows = corpus.rows(split)
        assert len(rows) == corpus.sizes[split]
        assert len({row["id"] for row in rows}) == len(rows)
        for field, value in (item for row in rows for item in row.items()):
            assert isinstance(value, list if field in LISTS else str)
            assert value or field in MAY_BE_EMPTY


def test_tinyshakespeare_is_cut_as_nanogpt_cuts_it(real) -> None:
    corpus = real("tinyshakespeare")
    text = (Path(os.environ["LSLM_DATA"]) / "tinyshakespeare/input.txt").read_text("utf-8")
    assert corpus.rows("train")[0]["text"] == text[: int(0.9 * len(text))]
    assert (
        corpus.rows("val")[0]["text"]
        == corpus.rows("test")[0]["text"]
        == text[int(0.9 * len(text)) :]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields"), [("tatoeba-zh-en", ("en", "zh")), ("chinese-poetry-ci", ("text",))]
)
def test_unofficial_splits_share_nothing(name: str, fields: tuple[str, ...], real) -> None:
    corpus = real(name)
    for field in fields:
        values = {
            split: {row[field] for row in corpus.rows(split)} for split in ("train", "val", "test")
        }
        assert sum(map(len, values.values())) == len(set.union(*values.values()))


@pytest.mark.slow
def test_brown_counts_are_those_nltk_reports(real) -> None:
    corpus = real("brown")
    texts = [row["text"] for split in corpus.splits for row in corpus.rows(split)]
    assert len(texts) == 500
    assert sum(text.count("\n") + 1 for text in texts) == 57340
    assert sum(len(text.split()) for text in texts) == 1161192


def test_wikitext_counts_are_the_published_ones(real) -> None:
    corpus = real("wikitext-2")
    tokens = {
        split: sum(len(line.split()) + 1 for line in corpus.rows(split)[0]["text"].split("\n")[:-1])
        for split in ("val", "test")
    }
    assert tokens == {"val": 217646, "test": 245569}


@pytest.mark.slow
def test_aeslc_references_begin_with_the_original(real, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = real("aeslc")
    test = corpus.rows("test")
    assert {len(row["summary"]) for row in test} == {4}
    original = open_corpus("aeslc", {"summary": "subject"})
    assert [row["summary"] for row in original.rows("test")] == [row["summary"][:1] for row in test]
    assert original.digest("test") != corpus.digest("test")


def test_languages_that_are_not_asked_for_are_not_read(real) -> None:
    corpus = real("multi30k")
    pair = open_corpus("multi30k", {"en": "en", "de": "de"})
    assert pair.languages == ("en", "de")
    assert pair.rows("val") == [
        {field: row[field] for field in ("id", "en", "de")} for row in corpus.rows("val")
    ]


# Laws on a corpus of three lines


@pytest.mark.slow
def test_the_digest_follows_the_data_and_how_it_is_read(put, describe) -> None:
    put(PAIRS | {"test.en": "A dog.\n", "test.de": "Ein Hund.\n"}, "data/pets")
    splits = {"train": "train.{language}", "test": "test.{language}"}
    describe(splits=splits)
    first = open_corpus("pets")
    digests = {
        first.digest("train"),
        first.digest("test"),
        open_corpus("pets", {"en": "en"}).digest("train"),
    }
    describe(splits=splits, empty="drop")
    digests.add(open_corpus("pets").digest("train"))
    put(
        {
            "train.de": PAIRS["train.de"] + "Ein Tier.\n",
            "train.en": PAIRS["train.en"] + "An animal.\n",
        },
        "data/pets",
    )
    digests.add(open_corpus("pets").digest("train"))
    assert len(digests) == 5
    assert open_corpus("pets").digest("train") == open_corpus("pets").digest("train")


def test_a_digest_needs_no_file_whose_checksum_is_declared(describe) -> None:
    describe(
        files={name: hashlib.sha256(text.encode()).hexdigest() for name, text in PAIRS.items()}
    )
    assert len(open_corpus("pets").digest("train")) == 64


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train.de": "Ein Hund.\n"}, "train.en has 3, train.de has 1"),
        (
            {"train.de": b"Ein Hund.\nEine K\xe4tze.\nx\n"},
            r"train.de: line 2: byte 16 \(0xe4\) is not UTF-8",
        ),
        ({"train.de": ""}, "train.de: is empty"),
        (
            {"train.de": "Ein Hund.\n\nEine Kuh.\n"},
            r"corpus pets: train:2: de empty \(1 of 3 rows have an empty field\)",
        ),
    ],
)
def test_bad_input_is_refused(files: dict, message: str, put, describe) -> None:
    put(PAIRS | files, "data/pets")
    describe()
    with pytest.raises(ValueError, match=message) as caught:
        open_corpus("pets").rows("train")
    assert "\n" not in str(caught.value)


def test_a_split_that_is_not_there(describe) -> None:
    describe(note="There is no test.")
    with pytest.raises(
        ValueError, match=r"corpus pets has no split 'test'; it has train. There is no test."
    ):
        open_corpus("pets").rows("test")


def test_ids_must_differ(put, describe) -> None:
    put({"train.tsv": "1\ta\tb\n1\tc\td\n"}, "data/pets")
    describe(
        format="tsv",
        header=False,
        columns={"id": 0, "en": 1, "de": 2},
        splits={"train": "train.tsv"},
    )
    with pytest.raises(
        ValueError,
        match="ids must be unique, but train has 1 for 2 rows; choose another column for id",
    ):
        open_corpus("pets").rows("train")


def test_a_misspelt_name() -> None:
    with pytest.raises(
        ValueError,
        match=r"corpus 'multi3k' is neither in corpora.yaml nor .*; did you mean 'multi30k'\?",
    ):
        open_corpus("multi3k")


def test_a_misspelt_path_is_told_from_a_hub_id(put):
    put({"train.txt": "a"}, "data/code")
    message = (
        r"'data/cod' is no path here \(did you mean 'data/code'\?\); if it is an id .* say "
        r"so with columns"
    )
    with pytest.raises(ValueError, match=message):
        open_corpus("data/cod")
