"""Which files of a folder are a split, in which order; what does not belong together is refused by
name.
"""

import gzip
from pathlib import Path

import pytest

from lslm_lightning.corpora.file_names import File, beginnings, by_split
from lslm_lightning.corpora.lookup import open_corpus


def parallel(names: list[str]) -> dict[str, str]:
    """A sentence a file that says the file's name."""
    return {
        f"{name}.{language}": f"{name} in {language}\n"
        for name in names
        for language in ("en", "de")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002", "train-00001-of-00002"],
        ["train-00001-of-00002", "train-00002-of-00002"],
        [f"train.part{i}" for i in (1, 2, 10, 11)],
        [f"train-{i}" for i in range(1, 12)],
        [f"train_{i}" for i in range(3)],
        ["train.shard-7", "train.shard-8", "train.shard-10"],
        [f"train/part-{i}" for i in (1, 9, 10)],
        ["train/books", "train/news"],
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_parts_of_parallel_text_are_read_in_order(names: list[str], packed: bool, put) -> None:
    files = parallel(names)
    put(
        {f"{name}.gz": gzip.compress(text.encode()) for name, text in files.items()}
        if packed
        else files,
        "pairs",
    )
    corpus = open_corpus("pairs")
    assert corpus.splits == ("train",)
    rows = corpus.rows("train")
    assert [(row["en"], row["de"]) for row in rows] == [
        (f"{name} in en", f"{name} in de") for name in names
    ]
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00003", "train-00001-of-00003", "train-00002-of-00003"],
        ["train/2", "train/10"],
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "JSONL"])
def test_parts_of_tables_are_read_in_order(names: list[str], ending: str, put) -> None:
    put({f"data/{name}.{ending}": f'{{"text": "{name}"}}\n' for name in names}, "table")
    corpus = open_corpus("table")
    assert corpus.splits == ("train",)
    assert [row["text"] for row in corpus.rows("train")] == names


def test_parquet_of_the_hub_in_folders(alone: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    (alone / "set/data").mkdir(parents=True)
    for split, n in (("train", 12), ("validation", 1), ("test", 2)):
        for i in range(n):
            table = pyarrow.table(
                {"translation": [{"en": f"{split} {i}", "de": f"{split} {i} auf Deutsch"}]}
            )
            parquet.write_table(table, alone / f"set/data/{split}-{i:05}-of-{n:05}.parquet")
    corpus = open_corpus("set")
    assert {split: [row["en"] for row in corpus.rows(split)] for split in corpus.splits} == {
        "train": [f"train {i}" for i in range(12)],
        "val": ["validation 0"],
        "test": ["test 0", "test 1"],
    }


def test_test_sets_of_years_are_not_parts(put) -> None:
    put(parallel(["train", "test_2016", "test_2017", "train-extra"]), "pairs")
    assert set(open_corpus("pairs").splits) == {"train", "test_2016", "test_2017", "train-extra"}


def test_texts_that_were_tokenized_are_not_read_beside_their_own(put) -> None:
    put(parallel(["train", "train.bpe", "train.tok"]), "pairs")
    assert [row["en"] for row in open_corpus("pairs").rows("train")] == ["train in en"]


@pytest.mark.parametrize(
    "name", ["train.de-en.{}", "train.{}.txt", "TRAIN.{}", "train/news.{}", "train.{}.gz"]
)
def test_names_of_parallel_text(name: str, put) -> None:
    texts = {"en": b"Hi\n", "de": b"Hallo\n"}
    put(
        {
            name.format(lang): gzip.compress(text) if name.endswith("gz") else text
            for lang, text in texts.items()
        },
        "pairs",
    )
    [row] = open_corpus("pairs", languages=("de", "en")).rows("train")
    assert (row["en"], row["de"]) == ("Hi", "Hallo")


def test_parallel_text_without_splits_is_split_without_overlap(put) -> None:
    put(
        {
            "Europarl.de-en.en": "".join(f"e{i % 80}\n" for i in range(200)),
            "Europarl.de-en.de": "".join(f"d{i % 80}\n" for i in range(200)),
        },
        "opus",
    )
    corpus = open_corpus("opus")
    sides = {split: {row["en"] for row in corpus.rows(split)} for split in corpus.splits}
    assert set(sides) == {"train", "val", "test"}
    assert sum(map(len, sides.values())) == len(set.union(*sides.values())) == 80
    assert all(
        row["de"][1:] == row["en"][1:] for split in corpus.splits for row in corpus.rows(split)
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train-00000-of-00002.en", "train-00000-of-00002.de", "train-00001-of-00002.en"],
            r"00001-of-00002.en has no file .* in de",
        ),
        (
            [
                "train-00000-of-00003.en",
                "train-00000-of-00003.de",
                "train-00002-of-00003.en",
                "train-00002-of-00003.de",
            ],
            "no part 1 of 3",
        ),
        (
            ["data/train-00000-of-00003.jsonl", "data/train-00002-of-00003.jsonl"],
            "train has no part 1 of 3",
        ),
        (
            ["train.en", "train.de", "train.en.gz"],
            "train.en and train.en.gz are the same file twice",
        ),
        (
            ["train.jsonl", "train.jsonl.gz"],
            "train.jsonl and train.jsonl.gz are the same file twice",
        ),
        (["train.txt", "Train.txt"], "are the same file twice"),
        (
            ["dev.en", "dev.de", "validation.en", "validation.de"],
            "dev.*, validation.* are both the split val",
        ),
        (["dev.jsonl", "valid.jsonl"], "dev.jsonl, valid.jsonl are both the split val"),
        (
            ["train.en", "train.de", "train.part1.en", "train.part1.de"],
            "the one may hold the other",
        ),
        (["train.jsonl", "train-00000-of-00001.jsonl"], "the one may hold the other"),
        (
            ["corpus.en", "corpus.de", "corpus.tok.en", "corpus.tok.de"],
            "corpus.tok may hold the text of another file again",
        ),
        (["corpus.zip"], "unpack corpus.zip and give that folder"),
        (["train.jsonl", "test.csv"], "are of several formats"),
    ],
)
def test_what_does_not_belong_together_is_refused_by_name(
    names: list[str], message: str, put
) -> None:
    put(dict.fromkeys(names, '{"text": "a"}\n'), "d")
    with pytest.raises(ValueError, match=message) as caught:
        open_corpus("d")
    assert "\n" not in str(caught.value)


def test_a_folder_of_texts(put) -> None:
    put(
        {f"{folder}/{i}.txt": f"{folder} {i}" for folder in ("a", "b/c") for i in range(20)},
        "books",
    )
    corpus = open_corpus("books")
    texts = {split: [row["text"] for row in corpus.rows(split)] for split in corpus.splits}
    assert {split: len(own) for split, own in texts.items()} == {"train": 36, "val": 2, "test": 2}
    assert len({text for own in texts.values() for text in own}) == 40
    assert "40 texts, one document a file, split here by a hash of their names" in corpus.note
    assert corpus.rows("train")[0]["id"] in {
        f"{folder}/{i}.txt" for folder in ("a", "b/c") for i in range(20)
    }
    put({"new.txt": "new"}, "books")
    again = open_corpus("books")
    moved = {
        split: set(texts[split]) - {row["text"] for row in again.rows(split)} for split in texts
    }
    assert sum(map(len, moved.values())) <= 3, "one more text moves few others"


def test_a_folder_of_texts_in_folders_of_splits(put) -> None:
    put(
        {
            f"{split}/{kind}/{i}.txt": f"{split} {kind} {i}"
            for split in ("train", "test")
            for kind in ("neg", "pos")
            for i in range(2)
        },
        "imdb",
    )
    corpus = open_corpus("imdb")
    assert set(corpus.splits) == {"train", "test"}
    assert [row["text"] for row in corpus.rows("test")] == [
        "test neg 0",
        "test neg 1",
        "test pos 0",
        "test pos 1",
    ]


def test_few_texts_are_split_by_characters(put) -> None:
    put({"a.txt": "ab " * 100, "b.txt": "cd " * 100}, "books")
    corpus = open_corpus("books")
    joined = [
        "".join(corpus.rows(split)[i]["text"] for split in ("train", "val", "test")) for i in (0, 1)
    ]
    assert joined == ["ab " * 100, "cd " * 100]


def test_files_that_are_not_read_are_named(put) -> None:
    put({"train.txt": "a", "README.txt": "b"}, "books")
    assert open_corpus("books").note == "Not read, for their names say no split: README.txt."


def test_an_archive_is_to_be_unpacked(put) -> None:
    put({"corpus.zip": "PK"}, ".")
    with pytest.raises(ValueError, match=r"corpus.zip: is an archive; unpack it into a folder"):
        open_corpus("corpus.zip")


def test_documents_whose_names_begin_like_splits(put) -> None:
    names = [
        "train station.txt",
        "test_of_time.txt",
        "testimony.txt",
        "devil.txt",
        "valentine.txt",
        "emma.txt",
        "training_a_dog.txt",
    ]
    put({name: name for name in names}, "books")
    corpus = open_corpus("books")
    assert {row["text"] for split in corpus.splits for row in corpus.rows(split)} == set(names)
    assert set(corpus.splits) == {"train", "val", "test"}


def test_hidden_files_are_not_seen(put) -> None:
    hidden = {
        "._train.jsonl": b"\x00\x05",
        ".DS_Store": b"\x80",
        ".cache/train.jsonl": b"x",
        "__MACOSX/._train.jsonl": b"\x00",
    }
    put(hidden | {"data/train.jsonl": '{"text": "a"}\n', "data/._train.jsonl": b"\x00\x05"}, "d")
    assert [row["text"] for row in open_corpus("d").rows("train")] == ["a"]


def test_a_file_that_is_called_as_a_split_is_told_to_be_cut(
    put, caplog: pytest.LogCaptureFixture
) -> None:
    put({"test.jsonl": "".join(f'{{"text": "{i}"}}\n' for i in range(200))}, "d")
    with caplog.at_level("INFO"):
        assert set(open_corpus("d/test.jsonl").splits) == {"train", "val", "test"}
    assert (
        "d/test.jsonl: one file is split 90/5/5 % here; its folder as the corpus has it as a whole"
        in caplog.text
    )
    assert len(open_corpus("d").rows("test")) == 200


def test_parts_of_an_entry(put, describe) -> None:
    put(parallel(["old", "new"]) | {"old.fr": "old in fr\n", "new.fr": "new in fr\n"}, "data/pets")
    describe(
        languages=["en", "de", "fr"],
        splits={
            "train": ["old.{language}", "new.{language}"],
            "test": ["old.en", "old.de", "old.fr"],
        },
    )
    corpus = open_corpus("pets", languages=("fr", "en"))
    assert [(row["id"], row["fr"], row["en"]) for row in corpus.rows("train")] == [
        ("old:1", "old in fr", "old in en"),
        ("new:1", "new in fr", "new in en"),
    ]
    assert corpus.rows("test") == [{"id": "old:1", "en": "old in en", "fr": "old in fr"}]
    describe(languages=["en", "de", "fr"], splits={"train": ["old.en", "old.de"]})
    with pytest.raises(
        ValueError,
        match=r"splits.train.files=\['old.en', 'old.de'\] must be one file for each of en, de, fr",
    ):
        open_corpus("pets").rows("train")


def test_the_work_grows_as_the_files_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of splits with numbers that are no parts: each is looked up, not sought among all."""
    looks = 0
    equal = File.__eq__

    def counted(self: File, other: object) -> bool:
        nonlocal looks
        looks += 1
        return bool(equal(self, other))

    monkeypatch.setattr(File, "__eq__", counted)
    files = [
        File(f"test-{i}.txt", "test", f"test-{i}", "test", i, None, False, "", "text")
        for i in range(2, 600, 3)
    ]
    assert list(by_split(Path("folder"), files)) == [file.label for file in files]
    assert looks <= len(files)


@pytest.mark.parametrize(("stem", "found"), [("a", []), ("a.b", ["a"]), ("a.b.c", ["a", "a.b"])])
def test_beginnings_of_a_stem(stem: str, found: list[str]) -> None:
    assert list(beginnings(stem)) == found
