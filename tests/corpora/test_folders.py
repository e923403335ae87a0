"""Corpora of many files: folders with one checksum, what rows name, and readers of both."""

from pathlib import Path

import pytest

from lslm_lightning.__main__ import main
from lslm_lightning.corpora.checksums import cached_checksum, checksum
from lslm_lightning.corpora.lookup import open_corpus
from tests.corpora.conftest import sha256
from tests.corpora.test_archives import make_tar

SOUNDS = {
    "recordings/0_anna_0.wav": "a",
    "recordings/1_anna_1.wav": "b",
    "recordings/2_otto_0.wav": "c",
}
LISTED = sha256("".join(f"{sha256(text)}  {name}\n" for name, text in SOUNDS.items()))
DIGITS = {
    "task": "speech",
    "languages": ["en"],
    "fields": ["audio", "text"],
    "columns": {"audio": "audio", "text": "text", "speaker": "speaker", "index": "index"},
    "format": "spoken_digits",
    "files": {"recordings/": {"members *recordings/*.wav": LISTED}},
}
SPLITS = {
    split: {"files": "recordings/", "members": "*.wav", "where": where}
    for split, where in {
        "train": {"index": ["0"]},
        "test": {"speaker": ["anna"], "index": ["1"]},
    }.items()
}


def test_a_folder_is_verified_read_and_chosen_from(
    put, describe, capsys: pytest.CaptureFixture
) -> None:
    put(SOUNDS, "data/pets")
    describe(**DIGITS, splits=SPLITS)
    corpus = open_corpus("pets")
    rows = corpus.rows("train")
    assert [(row["id"], row["audio"], row["text"], row["speaker"]) for row in rows] == [
        ("0_anna_0", "recordings/0_anna_0.wav", "zero", "anna"),
        ("2_otto_0", "recordings/2_otto_0.wav", "two", "otto"),
    ]
    assert [row["id"] for row in corpus.rows("test")] == ["1_anna_1"]
    assert corpus.read("recordings/2_otto_0.wav") == b"c"
    with pytest.raises(
        FileNotFoundError, match=r"corpus pets: recordings/none.wav is not here, and a row names it"
    ):
        corpus.read("recordings/none.wav")
    assert main(["data", "check", "pets"]) == 0
    assert "checksum agrees" in capsys.readouterr().out


@pytest.mark.parametrize("harm", ["another byte", "one more", "one less"])
def test_any_change_in_a_folder_is_seen(
    harm, put, describe, alone: Path, capsys: pytest.CaptureFixture
) -> None:
    put(SOUNDS, "data/pets")
    describe(**DIGITS, splits=SPLITS)
    open_corpus("pets").rows("train")
    folder = alone / "data/pets/recordings"
    if harm == "another byte":
        (folder / "1_anna_1.wav").write_text("x")
    elif harm == "one more":
        (folder / "3_anna_3.wav").write_text("")
    else:
        (folder / "1_anna_1.wav").unlink()
    with pytest.raises(
        ValueError, match=r"recordings: corrupt or truncated \(\d bytes\): members .* should be"
    ):
        open_corpus("pets").rows("train")
    assert main(["data", "check", "pets"]) == 1
    assert "corrupt or truncated" in capsys.readouterr().err


def test_a_folder_comes_from_an_archive(describe, home: str, alone: Path) -> None:
    packed = {f"pets-1234/{name}": text.encode() for name, text in SOUNDS.items()} | {
        "pets-1234/README": b"more"
    }
    make_tar(alone / "home/all.tar.gz", packed)
    files = {"recordings/": DIGITS["files"]["recordings/"] | {"url": f"{home}all.tar.gz"}}
    describe(**DIGITS | {"files": files}, splits=SPLITS)
    assert len(open_corpus("pets").rows("train")) == 2
    unpacked = alone / "cache/data/pets/recordings"
    assert {f"recordings/{path.name}" for path in unpacked.iterdir()} == SOUNDS.keys()
    assert open_corpus("pets").read("recordings/0_anna_0.wav") == b"a"


def test_the_checksum_of_a_folder_is_that_of_what_it_was_packed_from(put, alone: Path) -> None:
    put(SOUNDS, "top")
    archive = make_tar(
        alone / "a.tar.gz", {f"x/{name}": text.encode() for name, text in SOUNDS.items()}
    )
    pattern = "members *recordings/*.wav"
    assert checksum(alone / "top/recordings", pattern) == checksum(archive, pattern) == LISTED
    assert (
        cached_checksum(alone / "top/recordings", pattern)
        == cached_checksum(alone / "top/recordings", pattern)
        == LISTED
    )


@pytest.mark.slow
def test_names_of_recordings_must_say_what_is_said(put, describe) -> None:
    put({"recordings/seven.wav": "a"}, "data/pets")
    describe(**DIGITS | {"files": {}}, splits=SPLITS)
    with pytest.raises(
        ValueError,
        match=r"recordings/seven.wav: the name of a recording must be DIGIT_SPEAKER_INDEX.wav",
    ):
        open_corpus("pets").rows("train")


SPHINX = {
    "task": "speech",
    "languages": ["en"],
    "fields": ["audio", "text", "speaker"],
    "columns": {"audio": "audio", "text": "text", "speaker": "speaker"},
    "format": "sphinx",
    "splits": {"train": ["etc/a.fileids", "etc/a.transcription", "feat/"]},
}
UTTERANCES = {
    "etc/a.fileids": "close/anna/one-anna\nclose/otto/two-otto\n",
    "etc/a.transcription": "YES (one-anna)\nH I (two-otto)\n",
    "feat/close/anna/one-anna.mfc": "1",
    "feat/close/otto/two-otto.mfc": "2",
}


def test_utterances_of_sphinx(put, describe, alone: Path) -> None:
    put(UTTERANCES, "data/pets")
    describe(**SPHINX)
    corpus = open_corpus("pets")
    assert list(corpus.rows("train")) == [
        {
            "id": "one-anna",
            "audio": "feat/close/anna/one-anna.mfc",
            "text": "YES",
            "speaker": "anna",
        },
        {
            "id": "two-otto",
            "audio": "feat/close/otto/two-otto.mfc",
            "text": "H I",
            "speaker": "otto",
        },
    ]
    assert [corpus.read(row["audio"]) for row in corpus.rows("train")] == [b"1", b"2"]
    before = corpus.digest("train")
    (alone / "data/pets/feat/close/otto/two-otto.mfc").write_text("3")
    assert open_corpus("pets").digest("train") != before, "the digest covers what rows name"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"etc/a.transcription": "YES (one-anna)\n"},
            r"a.fileids has 2 lines and a.transcription 1",
        ),
        (
            {"etc/a.transcription": "YES (one-anna)\nH I (other)\n"},
            r"a.transcription: line 2: must end in \(two-otto\)",
        ),
        ({"etc/a.transcription": "YES\nH I\n"}, r"line 1: must end in \(one-anna\)"),
    ],
)
def test_lines_that_do_not_belong_together(changed, words: str, put, describe) -> None:
    put(UTTERANCES | changed, "data/pets")
    describe(**SPHINX)
    with pytest.raises(ValueError, match=words):
        open_corpus("pets").rows("train")


def test_a_file_of_sphinx_that_is_lacking(put, describe) -> None:
    put(UTTERANCES, "data/pets")
    describe(**SPHINX | {"splits": {"train": ["etc/a.fileids", "etc/a.transcription"]}})
    with pytest.raises(
        ValueError,
        match=(
            r"format sphinx needs a file \*.fileids, one \*.transcription and a folder of "
            r"features"
        ),
    ):
        open_corpus("pets").rows("train")


def test_the_digest_of_a_manifest_covers_what_it_names(put, alone: Path) -> None:
    put(
        {
            "set/train.jsonl": (
                '{"audio": "a.wav", "text": "one"}\n{"audio": "b.wav", "text": "two"}\n'
            ),
            "set/a.wav": "1",
        },
        ".",
    )
    corpus = open_corpus("set")
    assert [row["audio"] for row in corpus.rows("train")] == ["a.wav", "b.wav"]
    lacking = corpus.digest("train")
    put({"set/b.wav": "2"}, ".")
    there = open_corpus("set").digest("train")
    put({"set/b.wav": "3"}, ".")
    assert len({lacking, there, open_corpus("set").digest("train")}) == 3
    put({"set/unnamed.wav": "4"}, ".")
    assert open_corpus("set").digest("train") not in (lacking, there)
