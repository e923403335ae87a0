"""Files are found in order, fetched by checksum, verified once, and never taken when they are not
what they should be.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lslm_lightning.corpora import checksums
from lslm_lightning.corpora.checksums import cached_checksum, checksum
from lslm_lightning.corpora.locations import cache_directory, data_directories
from lslm_lightning.corpora.lookup import open_corpus
from tests.corpora.conftest import PAIRS, sha256
from tests.corpora.test_archives import make_tar, make_zip

pytestmark = pytest.mark.slow

SUMS = {name: sha256(text) for name, text in PAIRS.items()}


def test_data_folders_are_searched_in_order(
    put, describe, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe()
    for folder, word in (("cache/data", "cached"), ("data", "local"), ("mine", "chosen")):
        put({"pets/train.en": word, "pets/train.de": word}, folder)
        if folder == "mine":
            monkeypatch.setenv("LSLM_DATA", "mine")
        assert [row["en"] for row in open_corpus("pets").rows("train")] == [word]
    assert data_directories() == [Path("mine"), Path("data"), alone / "cache/data"]


def test_a_data_folder_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSLM_DATA", "/does/not/exist")
    with pytest.raises(ValueError, match="LSLM_DATA=/does/not/exist is not a folder"):
        open_corpus("multi30k").rows("train")


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LSLM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_directory() == Path("/x/lslm-lightning")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path.home() / ".cache/lslm-lightning"


def test_a_missing_file_is_fetched_once(put, describe, home: str, alone: Path) -> None:
    put(PAIRS, "home")
    describe(files=SUMS, url=home)
    assert [row["de"] for row in open_corpus("pets").rows("train")] == [
        "Ein Hund.",
        "Eine Katze.",
        "Eine Kuh.",
    ]
    assert (alone / "cache/data/pets/train.en").read_text() == PAIRS["train.en"]
    shutil.rmtree(alone / "home")
    assert len(open_corpus("pets").rows("train")) == 3


def test_names_beyond_ascii_are_quoted_in_urls(put, describe, home: str) -> None:
    put({"宋/ci 1.json": '[{"text": "气和玉烛"}]'}, "home")
    describe(
        task="language_modeling",
        languages=["zh"],
        format="json",
        splits={"train": "ci 1.json"},
        url=f"{home}宋/",
    )
    assert open_corpus("pets").rows("train")[0]["text"] == "气和玉烛"


def test_what_was_fetched_must_agree(put, describe, home: str, alone: Path) -> None:
    put(PAIRS | {"train.en": "wrong"}, "home")
    describe(files=SUMS, url=home)
    told = (
        f"train.en: corrupt or truncated .*sha256 should be {SUMS['train.en']} but is "
        f"{sha256('wrong')}; nothing was kept"
    )
    with pytest.raises(ValueError, match=told) as caught:
        open_corpus("pets").rows("train")
    assert "delete" not in str(caught.value)
    assert not list((alone / "cache/data").rglob("train.en"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", None])
def test_what_cannot_be_fetched_says_what_to_do(url: str | None, describe) -> None:
    describe(
        files=SUMS, url=url, home="https://example.org/pets", licence="CC0", languages=["en", "de"]
    )
    with pytest.raises(FileNotFoundError) as caught:
        open_corpus("pets").rows("train")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("corpus pets: train.en is not here")
    assert "put it into data/pets/ (licence: CC0)" in message
    assert (url or "https://example.org/pets") in message


def test_nothing_is_fetched_into_a_folder_of_ones_own(put, describe, home: str) -> None:
    put(PAIRS, "home")
    describe(files=SUMS, url=home, folder="mine", licence="CC0")
    with pytest.raises(FileNotFoundError) as caught:
        open_corpus("pets").rows("train")
    assert str(caught.value) == (
        "corpus pets: train.en is not here; nothing is fetched into a folder of your own: "
        f"get it from {home}train.en and put it into mine/ (licence: CC0)"
    )


def test_a_page_that_is_not_there(describe, home: str) -> None:
    describe(files=SUMS, url=home)
    with pytest.raises(
        FileNotFoundError, match=r"train.en is not here; fetching failed \(HTTPError: 404 "
    ):
        open_corpus("pets").rows("train")


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: b"x" + data[1:], lambda data: b""]
)
def test_corrupt_and_truncated_files(change, put, describe, alone: Path) -> None:
    put(PAIRS, "data/pets")
    path = alone / "data/pets/train.de"
    path.write_bytes(change(path.read_bytes()))
    describe(files=SUMS)
    with pytest.raises(ValueError, match="corrupt or truncated") as caught:
        open_corpus("pets").rows("train")
    message = str(caught.value)
    assert "train.de" in message
    assert SUMS["train.de"] in message
    assert sha256(path.read_bytes()) in message


def test_a_checksum_is_computed_once_per_version(
    put, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (text * checksums.SMALL for text in "12")
    put({"f": one}, ".")
    path = alone / "f"
    computed = []
    monkeypatch.setattr(
        checksums, "checksum", lambda *arguments: computed.append(1) or checksum(*arguments)
    )
    assert [cached_checksum(path) for _ in range(3)] == [sha256(one)] * 3
    assert len(computed) == 1
    path.write_text(two)
    os.utime(path, ns=(1, 1))
    assert cached_checksum(path) == sha256(two)
    assert len(computed) == 2


def test_git_blobs_are_gits(put, alone: Path) -> None:
    put({"f": "text\n"}, ".")
    assert checksum(alone / "f", "git-blob") == hashlib.sha1(b"blob 5\0text\n").hexdigest()
    if shutil.which("git"):
        git = subprocess.run(
            ["git", "hash-object", "f"], cwd=alone, capture_output=True, text=True, check=True
        )
        assert checksum(alone / "f", "git-blob") == git.stdout.strip()


def test_members_agree_however_they_were_packed(alone: Path) -> None:
    files = {"top/mail/b.txt": b"2", "top/mail/a.txt": b"1"}
    moved = {name.replace("top", "elsewhere"): data for name, data in sorted(files.items())} | {
        "elsewhere/README": b"more"
    }
    one = make_tar(alone / "a.tar.gz", files)
    two = make_zip(alone / "b.zip", moved)
    pattern = "members *mail/*.txt"
    assert (
        checksum(one, pattern)
        == checksum(two, pattern)
        == sha256(f"{sha256('1')}  mail/a.txt\n{sha256('2')}  mail/b.txt\n")
    )


def test_one_agreeing_checksum_is_enough(describe, put, alone: Path) -> None:
    put(PAIRS, "data/pets")
    blob = checksum(alone / "data/pets/train.en", "git-blob")
    describe(
        files={"train.en": {"sha256": "0" * 64, "git-blob": blob}, "train.de": SUMS["train.de"]}
    )
    assert len(open_corpus("pets").rows("train")) == 3


ELSEWHERE = ("../..", "/tmp/x", "a/../../..", r"..\..", "C:/x", "")


@pytest.mark.parametrize("subfolder", ELSEWHERE[:-1])
def test_a_subfolder_stays_in_the_folders_of_corpora(
    subfolder: str, put, describe, home: str, alone: Path
) -> None:
    put(PAIRS, "home")
    put(PAIRS, ".")
    put(PAIRS, "cache")
    describe(files=SUMS, url=home, subfolder=subfolder)
    with pytest.raises(
        ValueError,
        match=r"must be a path inside the folder of corpora.* `folder` in configs/corpora\.yaml",
    ):
        open_corpus("pets").rows("train")


@pytest.mark.parametrize("name", [f"{folder}/x.jsonl" for folder in ELSEWHERE])
@pytest.mark.parametrize("in_the_way", [False, True])
def test_a_file_of_the_catalogue_stays_there_too(
    name: str, in_the_way: bool, put, describe, home: str, alone: Path
) -> None:
    put({"x.jsonl": '{"text": "a"}\n'}, "home" if not in_the_way else "cache")
    keys = {
        "task": "language_modeling",
        "languages": ["en"],
        "format": "jsonl",
        "splits": {"train": name},
    }
    describe(**keys, files={name: {"url": f"{home}x.jsonl"}})
    before = {path for path in alone.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="must be a path inside the folder of corpora"):
        open_corpus("pets").rows("train")
    assert {path for path in alone.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ELSEWHERE[:-1])
def test_the_name_of_a_corpus_stays_there_too(name: str, alone: Path) -> None:
    (alone / "configs").mkdir()
    entry = "{task: language_modeling, languages: [en], format: text, splits: {train: train.txt}}"
    (alone / "configs/corpora.yaml").write_text(f"'{name}': {entry}")
    with pytest.raises(ValueError, match="must be a path inside the folder of corpora"):
        open_corpus(name).rows("train")


@pytest.mark.parametrize("language", ["../../../x", "/x", "{language.__class__}", "{0}"])
def test_a_language_is_no_way_out(language: str, put, describe, alone: Path) -> None:
    put({"x": "a\n"}, ".")
    describe(languages=["en", language], splits={"train": "{language}"})
    with pytest.raises(
        (ValueError, FileNotFoundError), match=r"inside the folder of corpora|is not here"
    ):
        open_corpus("pets").rows("train")


def test_braces_in_names_of_files_mean_nothing(put, describe, alone: Path) -> None:
    pattern = "{0}{x.__class__}.{language:>9999999999}.{language}"
    put(
        {
            pattern.replace("{language}", code): text
            for code, text in (("en", "a\n"), ("de", "b\n"))
        },
        "data/pets",
    )
    describe(splits={"train": pattern})
    assert [row["de"] for row in open_corpus("pets").rows("train")] == ["b"]


@pytest.mark.parametrize("name", ["../../secret.wav", "/secret.wav"])
def test_a_row_of_a_catalogued_corpus_names_no_file_elsewhere(
    name: str, put, describe, alone: Path
) -> None:
    put({"train.csv": f"audio,text\n{name},a\n"}, "data/pets")
    put({"secret.wav": "x"}, ".")
    keys = {
        "task": "speech_recognition",
        "languages": ["en"],
        "format": "csv",
        "fields": ["audio", "text"],
    }
    describe(**keys, splits={"train": "train.csv"})
    corpus = open_corpus("pets")
    with pytest.raises(ValueError, match="must be a path inside the folder of corpora"):
        corpus.read(corpus.rows("train")[0]["audio"])


def test_an_entry_with_a_folder_of_its_own_may_lie_anywhere(put, describe, alone: Path) -> None:
    put(PAIRS, "elsewhere")
    describe(folder=str(alone / "mine"), splits={"train": "../elsewhere/train.{language}"})
    (alone / "mine").mkdir()
    assert len(open_corpus("pets").rows("train")) == 3


@pytest.mark.parametrize(
    "name",
    [
        "x/rec/../../../../cache/owned.wav",
        "rec/../../owned.wav",
        "/rec/owned.wav",
        r"rec/a\..\..\owned.wav",
    ],
)
def test_an_archive_is_unpacked_inside_its_folder(
    name: str, put, describe, home: str, alone: Path
) -> None:
    """The root is cut off the name of a member: what stood before it may have balanced what
    follows.
    """
    (alone / "home").mkdir(exist_ok=True)
    make_tar(alone / "home/a.tar.gz", {"x/rec/good.wav": b"1", name: b"2"})
    keys = {
        "task": "speech_recognition",
        "languages": ["en"],
        "format": "spoken_digits",
        "fields": ["audio", "text"],
    }
    describe(
        **keys,
        files={"rec/": {"url": f"{home}a.tar.gz"}},
        splits={"train": {"files": "rec/", "members": "*"}},
    )
    with pytest.raises(ValueError, match="would leave its folder"):
        open_corpus("pets").rows("train")
    assert not list(alone.rglob("owned.wav"))
    assert not list((alone / "cache").rglob("good.wav"))


def test_a_pattern_of_members_is_no_way_out(put, describe, home: str, alone: Path) -> None:
    (alone / "home").mkdir(exist_ok=True)
    make_tar(alone / "home/a.tar.gz", {"a../owned.wav": b"1"})
    keys = {
        "task": "speech_recognition",
        "languages": ["en"],
        "format": "spoken_digits",
        "fields": ["audio", "text"],
    }
    files = {"rec/": {"url": f"{home}a.tar.gz", "members *../*": "0" * 64}}
    describe(**keys, files=files, splits={"train": {"files": "rec/", "members": "*"}})
    with pytest.raises(ValueError, match="nothing was kept"):
        open_corpus("pets").rows("train")
    right = sha256(f"{sha256(b'1')}  ../owned.wav\n")
    describe(
        **keys,
        files=files | {"rec/": {**files["rec/"], "members *../*": right}},
        splits={"train": "rec/"},
    )
    with pytest.raises(ValueError, match="would leave its folder"):
        open_corpus("pets").rows("train")
    assert not list(alone.rglob("owned.wav"))
