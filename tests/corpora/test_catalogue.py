"""Entries say what they must, and mistakes in the user's file are named."""

import re
from pathlib import Path

import pytest

from lslm_lightning.corpora.catalogue import FORMATS, read_catalogue
from lslm_lightning.corpora.rows import required_fields

# of whose official training sets nobody here could count the shares
UNCOUNTED = ("squad-1.1", "squad-2.0")


@pytest.mark.parametrize(
    "entry", read_catalogue(Path("none")).values(), ids=lambda entry: entry.name
)
def test_packaged_entries_are_complete(entry) -> None:
    assert entry.licence
    assert entry.citation
    assert entry.home.startswith("https://")
    assert entry.format in FORMATS
    assert {name for split in entry.splits for name in entry.split_files(split)} == set(entry.files)
    for file in entry.data_files:
        assert file.url.startswith("https://")
        assert re.search("[0-9a-f]{40}", file.url) or "sha256" in file.checksums, (
            "pinned to a commit, or its content known"
        )
        assert re.fullmatch("[0-9a-f]{64}", file.checksums.get("sha256", "0" * 64))
        assert file.checksums
    assert (
        entry.format == "parallel"
        or entry.columns
        or required_fields(entry.task, entry.languages) == ("text",)
    )
    assert all(split.rows or entry.name in UNCOUNTED for split in entry.splits.values())


def test_the_users_keys_lie_over_the_packaged_ones(describe, alone: Path) -> None:
    path = alone / "mine.yaml"
    path.write_text("aeslc: {columns: {document: body, summary: subject}}\n")
    before = read_catalogue(Path("none"))["aeslc"]
    after = read_catalogue(path)["aeslc"]
    assert after.columns == {"document": "body", "summary": "subject"}
    assert (after.files, after.splits, after.licence) == (
        before.files,
        before.splits,
        before.licence,
    )


def test_the_example_of_the_users_file_is_valid() -> None:
    example = (Path(__file__).parents[2] / "configs/corpora.yaml").read_text()
    body = example.partition("for example:\n#\n")[2]
    assert read_catalogue(Path(__file__).parents[2] / "configs/corpora.yaml") == read_catalogue(
        Path("none")
    )
    path = Path("uncommented.yaml")
    path.write_text(
        "\n".join(
            line.removeprefix("# ").removeprefix("#") for line in body.splitlines() if line != "{}"
        )
    )
    assert {"my-news", "my-pairs"} <= read_catalogue(path).keys()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"licens": "MIT"}, r"corpora.yaml: pets: unknown key 'licens'; did you mean 'licence'\?"),
        (
            {"task": "translating"},
            r"pets: task='translating' needs fields, a list of those that its rows have",
        ),
        ({"format": "xml"}, r"pets: format='xml' must be one of parallel, sphinx, text,"),
        ({"empty": "skip"}, r"pets: empty='skip' must be one of refuse, keep, drop"),
        (
            {"splits": {"train": {"file": "a"}}},
            r"pets: splits.train: unknown key 'file'; did you mean 'files'\?",
        ),
        (
            {"splits": {"train": {"files": "a", "share": [0.5, 0.2]}}},
            r"splits.train.share=\[0.5, 0.2\] must be \[from, to\]",
        ),
        (
            {"splits": {"train": {"files": "a", "share": 0.9}}},
            r"splits.train.share=0.9 must be \[from, to\]",
        ),
        (
            {"splits": {"train": {"files": "a", "share": ["0", "1"]}}},
            r"splits.train.share=\['0', '1'\] must be \[from, to\]",
        ),
        (
            {"splits": {"train": {"files": "a", "where": {"title": "x"}}}},
            r"splits.train.where={'title': 'x'} must map fields to lists",
        ),
        (
            {"splits": {"train": {"files": "a", "where": ["x"]}}},
            r"splits.train.where=\['x'\] must map fields to lists",
        ),
        (
            {"splits": {"train": {"files": "a", "share": [0, 0.2]}}},
            r"splits.train.share needs share_of: characters, or",
        ),
        ({"splits": "train.en"}, r"pets: splits must map"),
    ],
)
def test_mistakes_are_named(keys, message: str, describe) -> None:
    describe(**keys)
    with pytest.raises(ValueError, match=message):
        read_catalogue()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"mine.yaml is not YAML, line \d"),
        ("- a", r"mine.yaml: must map names of corpora to their descriptions, not be a list"),
        ("a: b", r"mine.yaml: a must be a mapping .*, not 'b'"),
        ("a: {task: translation}", r"a: format, languages, splits missing"),
        ("a: {task: b}\nb: {task: b}\na: {}", r"mine.yaml, line 3: the key 'a' stands twice"),
        ("a: {task: b, format: c, task: d}", r"mine.yaml, line 1: the key 'task' stands twice"),
        ("a:\n  languages: [en, ~]", r"mine.yaml, line 2: ~ is null to YAML; write '~' in quotes"),
    ],
)
def test_a_broken_file_is_named(text: str, message: str) -> None:
    path = Path("mine.yaml")
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_catalogue(path)


def test_languages_and_columns_are_texts_without_quotes(alone: Path) -> None:
    """What YAML 1.1 takes for booleans, dates, octal and sexagesimal numbers."""
    path = alone / "mine.yaml"
    path.write_text(
        "no:\n  task: translation\n  languages: [en, no, on]\n  format: tsv\n  header: no\n  "
        "seed: 7\n"
        "  columns: {no: off, en: 012, on: 1:30, y: 2024-01-01, n: 1e3, yes: 2}\n"
        "  splits: {train: no.tsv, on: {files: 2024-01-01, rows: 5, share: [0.5, 1]}}\n  "
        "share_of: [no]\n"
    )
    entry = read_catalogue(path)["no"]
    assert entry.languages == ("en", "no", "on")
    texts = {"no": "off", "en": "012", "on": "1:30", "y": "2024-01-01", "n": "1e3", "yes": 2}
    assert entry.columns == texts
    assert (entry.header, entry.seed, entry.share_of) == (False, 7, ("no",))
    assert (entry.splits["train"].files, entry.splits["on"].files) == ("no.tsv", "2024-01-01")
    assert (entry.splits["on"].rows, entry.splits["on"].share) == (5, (0.5, 1))
