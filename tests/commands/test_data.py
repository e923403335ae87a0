"""`lslm data`, as a user sees it: what it prints, its exit status, how soon it answers."""

import gzip
import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import pytest
import yaml

from lslm_lightning.__main__ import main
from lslm_lightning.experiments.corpora import columns_given

CONFIG = """
pets:
  task: translation
  languages: [en, de]
  licence: CC0
  format: parallel
  files: {train.en.gz: %s, train.de.gz: null}
  splits: {train: {files: "train.{language}.gz", rows: 2}}
  note: "Of [two] animals."
"""


@pytest.fixture
def pets(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one corpus of its own; its folder."""
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("LSLM_DATA", raising=False)
    folder = project / "data/pets"
    folder.mkdir(parents=True)
    for language, text in (("en", "A dog.\nA big cat.\n"), ("de", "Ein Hund.\nEine Katze.\n")):
        (folder / f"train.{language}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (project / "configs").mkdir()
    describe(project, sha256((folder / "train.en.gz").read_bytes()))
    return folder


def sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def describe(project: Path, checksum: str) -> None:
    (project / "configs/corpora.yaml").write_text(CONFIG % checksum)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "data"),
    [
        (["A dog.", ""], "tasks.question_answering.extractive.data.SpanData"),
        (["A dog.", "Two animals."], "tasks.question_answering.data.GenerativeData"),
    ],
)
def test_spans_are_told_from_free_answers(
    answers: list[str], data: str, project: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = [
        {"context": "A dog. A big cat.", "question": "Who?", "answers": [text] if text else []}
        for text in answers
    ]
    file = project / "asked/train.jsonl"
    file.parent.mkdir()
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["data", "check", "asked"]) == 0
    config = yaml.safe_load(capsys.readouterr().out.partition("same data:")[2])
    assert config["data"]["class_path"] == data


@pytest.mark.slow
def test_list(pets: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = {
        name: next(line.split() for line in lines if line.split()[:1] == [name])
        for name in ("pets", "multi30k", "cldr", "docstrings")
    }
    assert line["pets"] == ["pets", "en", "de", "train", "2", "CC0", "here"]
    assert line["multi30k"][-2:] == ["not", "here"]
    assert line["cldr"][-2:] == line["docstrings"][-2:] == ["built", "in"]
    assert {"language modeling", "translation", "summarization"} <= {text.strip() for text in lines}


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["elsewhere", "elsewhere/", "./elsewhere"])
def test_list_knows_the_chosen_folder(
    chosen: str, pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (pets.parent / "pets").rename(pets.parent.parent / "moved")
    Path("elsewhere").mkdir()
    Path("moved").rename("elsewhere/pets")
    monkeypatch.setenv("LSLM_DATA", chosen)
    assert main(["data", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert next(line[-1] for line in lines if line[:1] == ["pets"]) == "LSLM_DATA"
    assert ["LSLM_DATA", "elsewhere/<corpus>/"] in lines


def test_chinese_of_a_region_has_no_words_to_count(
    pets: Path, capsys: pytest.CaptureFixture
) -> None:
    config = Path("configs/corpora.yaml")
    config.write_text(
        CONFIG.replace("[en, de]", "[en, zh-TW]").replace("train.de.gz", "train.zh-TW.gz") % "null"
    )
    (pets / "train.de.gz").rename(pets / "train.zh-TW.gz")
    assert main(["data", "check", "pets"]) == 0
    # after its first rows
    [row] = [
        line.split()
        for line in capsys.readouterr().out.splitlines()
        if line.split()[:1] == ["zh-TW"]
    ][1:]
    assert row == ["zh-TW", "10.0", "11"], "mean length and longest, no mean of words"


@pytest.mark.slow
def test_list_says_what_is_missing(pets: Path, capsys: pytest.CaptureFixture) -> None:
    (pets / "train.de.gz").unlink()
    assert main(["data", "list"]) == 0
    assert "here, but not train.de.gz" in capsys.readouterr().out


def test_check(pets: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "check", "pets"]) == 0
    out, err = capsys.readouterr()
    assert not err
    rows = [line.split() for line in out.splitlines()]
    assert [
        "train.en.gz",
        str((pets / "train.en.gz").stat().st_size),
        "checksum",
        "agrees",
        "data/pets",
    ] in rows
    assert [
        "train.de.gz",
        str((pets / "train.de.gz").stat().st_size),
        "no",
        "checksum",
        "known",
        "data/pets",
    ] in rows
    assert next(row for row in rows if row[:1] == ["train"])[:6] == [
        "train",
        "2",
        "en",
        "8.0",
        "2.5",
        "10",
    ]
    assert "note: Of [two] animals." in out


def test_check_of_a_path(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    (project / "poems.txt").write_text("天地玄黄\n" * 50)
    assert main(["data", "check", "poems.txt"]) == 0
    assert "225" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "train.en.gz").write_bytes(b"x"),
            "train.en.gz: corrupt or truncated (1 bytes): sha256 should be",
        ),
        (
            lambda folder: (folder / "train.de.gz").write_bytes(b"x"),
            "train.de.gz: not a complete gzip file",
        ),
        (
            lambda folder: (folder / "train.de.gz").unlink(),
            "corpus pets, not here: train.de.gz; lslm data fetch pets gets what is missing",
        ),
        (
            lambda folder: (folder / "train.de.gz").write_bytes(gzip.compress(b"a\n")),
            "train.en.gz has 2, train.de.gz has 1",
        ),
        (
            lambda folder: (folder / "train.de.gz").write_bytes(gzip.compress(b"a\n\n")),
            "train:2: de empty",
        ),
        (
            lambda folder: (folder / "train.de.gz").write_bytes(gzip.compress(b"a\n\xff\n")),
            "line 2: byte 2 (0xff) is not UTF-8",
        ),
    ],
)
def test_check_finds_faults(
    damage, message: str, pets: Path, capsys: pytest.CaptureFixture
) -> None:
    damage(pets)
    assert main(["data", "check", "pets"]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_check_does_not_trust_what_it_remembers(pets: Path, capsys: pytest.CaptureFixture) -> None:
    path = pets / "train.en.gz"
    assert main(["data", "check", "pets"]) == 0
    data = path.read_bytes()
    status = path.stat()
    path.write_bytes(data[:-1] + b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert main(["data", "check", "pets"]) == 1
    assert "corrupt or truncated" in capsys.readouterr().err


def test_check_counts_rows(pets: Path, capsys: pytest.CaptureFixture) -> None:
    config = Path("configs/corpora.yaml")
    config.write_text(config.read_text().replace("rows: 2", "rows: 3"))
    assert main(["data", "check", "pets"]) == 1
    assert "corpus pets: train has 2 rows, but 3 are declared" in capsys.readouterr().err


@pytest.mark.slow
def test_fetch(pets: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "fetch", "pets"]) == 0
    out = capsys.readouterr().out
    assert "licence: CC0" in out
    assert "train.en.gz: was here, checksum agrees, data/pets/train.en.gz" in out
    (pets / "train.de.gz").unlink()
    assert main(["data", "fetch", "pets"]) == 1
    err = capsys.readouterr().err
    assert err == (
        "lslm: corpus pets: train.de.gz is not here; no public home is known: put it into "
        "data/pets/ (licence: CC0)\n"
    )
    assert main(["data", "fetch", "cldr"]) == 0


@pytest.mark.slow
def test_pairs_one_line_off_are_told(pets: Path, capsys: pytest.CaptureFixture) -> None:
    texts = [
        f"Herr {i * 7919 % 1000} {'sah und ' * (i * 31 % 9)}{i * 104729 % 997}" for i in range(600)
    ]
    folder = Path("pairs")
    folder.mkdir()
    for split, by in (("train", 1), ("val", 0)):
        (folder / f"{split}.en").write_text(
            "\n".join(text.replace("sah und", "saw") for text in texts)
        )
        (folder / f"{split}.de").write_text(
            "\n".join([*texts[-by:], *texts[:-by]] if by else texts)
        )
    assert main(["data", "check", "pairs"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "! train: sources of about lines " in out
    assert "with the targets 1 line further up rather than with their own" in out  # de comes first
    assert "! val" not in out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["fetch", "pest"], 1, "corpus 'pest' is not in corpora.yaml"),
        (["check", "pest"], 1, "did you mean 'pets'?"),
        (["check"], 2, "the following arguments are required: NAME"),
        (["show"], 2, "invalid choice: 'show'"),
        ([], 2, "required"),
    ],
)
def test_wrong_words(
    words: list[str], status: int, message: str, pets: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["data", *words]) == status
    assert message in capsys.readouterr().err


def test_a_broken_catalogue_is_one_line(pets: Path, capsys: pytest.CaptureFixture) -> None:
    Path("configs/corpora.yaml").write_text("a: [")
    assert main(["data", "list"]) == 1
    assert capsys.readouterr().err.startswith("lslm: configs/corpora.yaml is not YAML")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["list"], ["--help"]])
def test_it_answers_soon_and_imports_nothing_heavy(words: list[str], pets: Path) -> None:
    code = f"""
import sys
from lslm_lightning.__main__ import main
main(["data", *{words}])
slow = "torch lightning mlflow datasets pyarrow transformers babel requests"
heavy = set(slow.split()) & set(sys.modules)
n_module = len(sys.modules)
many = f"imported {{n_module}} modules" if n_module > 1000 else 0
sys.exit(f"imported {{heavy}}" if heavy else many)
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


PASTED = {
    "chat.jsonl": (
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", '
        '"content": "Hello"}]}\n'
    ),
    "languages.csv": "German,English\nHallo,Hi\n",
    "norwegian.csv": "no,en\nHei,Hi\n",
    "struct.jsonl": '{"translation": {"en": "Hi", "id": "Halo"}}\n',
    "summaries.csv": "document,summary\na,b\n",
    "questions.jsonl": (
        '{"question": "q", "context": "a c", "answers": {"text": ["c"], "answer_start": [2]}}\n'
    ),
    "sounds.csv": "audio,text\na.wav,hi\n",
    "text.txt": "one two three\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PASTED)
def test_the_config_that_check_shows_works(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    import yaml
    from jsonargparse import ArgumentParser

    from lslm_lightning.training.data import TaskData

    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    folder = project / name.split(".")[0]
    folder.mkdir()
    (folder / f"test.{name.split('.')[1]}").write_text(PASTED[name], "utf-8")
    assert main(["data", "check", folder.name]) == 0
    out = capsys.readouterr().out
    pasted = yaml.safe_load(out[out.index("task: tasks.") :])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(TaskData, "data")
    data = parser.instantiate_classes(parser.parse_object({"data": pasted["data"]})).data
    [example] = data.examples("test")
    assert example.references[0]
    assert pasted["task"].split(".")[1] == pasted["data"]["class_path"].split(".")[1]


def test_check_takes_columns(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    (project / "news.csv").write_text(
        "id,article,highlights\n"
        + "".join(f"{i},long {i},\x1b[31mshort\u202e {i}\n" for i in range(300))
    )
    assert main(["data", "check", "news.csv"]) == 1
    out, err = capsys.readouterr()
    assert "perhaps columns: {document: article, summary: highlights}" in out
    assert "news.csv: no column is called text, document and summary" in err
    assert (
        main(["data", "check", "news.csv", "--columns", "{document: article, summary: highlights}"])
        == 0
    )
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["article", "text", "document", "long", "0", "long", "1"] in rows
    assert [
        "highlights",
        "text",
        "summary",
        r"\x1b[31mshort\u202e",
        "0",
        r"\x1b[31mshort\u202e",
        "1",
    ] in rows
    assert "\x1b" not in out
    assert "summary: highlights" in out[out.index("task: ") :]


@pytest.mark.parametrize("given", ["article", "[a]", "{a: [", "{1: a}", "1"])
def test_columns_that_are_no_mapping(given: str, pets: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "check", "pets", "--columns", given]) == 2
    assert (
        "must map fields to columns, as in '{en: english, de: german}'" in capsys.readouterr().err
    )


def test_norwegian_is_a_field_on_the_command_line_and_a_field_stands_once(
    pets: Path, capsys: pytest.CaptureFixture
) -> None:
    assert columns_given("{no: norwegian, en: english, on: 1e3}") == {
        "no": "norwegian",
        "en": "english",
        "on": "1e3",
    }
    assert main(["data", "check", "pets", "--columns", "{en: english, en: german}"]) == 2
    assert "the key 'en' stands twice" in capsys.readouterr().err


def test_check_of_a_name_of_no_format(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (project / "notes.md").write_text("abc")
    assert main(["data", "check", "notes.md"]) == 1
    assert (
        "notes.md: cannot tell the format from the name; it must end in txt"
        in capsys.readouterr().err
    )


def test_a_fault_is_told_once(project: Path, capsys: pytest.CaptureFixture) -> None:
    (project / "a.tsv").write_text("en\tde\na\tb\nc\n")
    assert main(["data", "check", "a.tsv"]) == 1
    assert capsys.readouterr().err.count("line 3: has 1 columns") == 1


def test_check_names_file_and_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    (project / "pairs").mkdir()
    (project / "pairs/train.jsonl").write_text(
        '{"en": "a", "de": "b"}\n{"en": "a", "de": ["b", ""]}\n'
    )
    assert main(["data", "check", "pairs"]) == 1
    out, err = capsys.readouterr()
    assert "train.jsonl:2: text 2 of the 2 in de is empty" in err
    assert "task: " not in out


def test_check_reads_what_the_data_class_of_an_own_task_reads(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(project)])
    (project / "spoken_numbers.py").write_text(
        "class Spoken:\n    fields = ('written', 'read')\n\n\nclass Nothing:\n    pass\n"
    )
    rows = "".join(f"{i},number {i}\n" for i in range(100))
    (project / "numbers.csv").write_text(f"written,read\n{rows}")
    assert main(["data", "check", "numbers.csv"]) == 1
    assert "--data CLASS" in capsys.readouterr().err
    assert main(["data", "check", "numbers.csv", "--data", "spoken_numbers.Spoken"]) == 0
    assert {"written", "read"} <= set(capsys.readouterr().out.split())
    assert main(["data", "check", "numbers.csv", "--data", "spoken_numbers.Nothing"]) == 1
    assert "--data=spoken_numbers.Nothing" in capsys.readouterr().err


def test_recordings_are_measured_and_what_a_training_lacks_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("soundfile")
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    folder = project / "calls"
    folder.mkdir()
    for number, seconds in enumerate((1, 3)):
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(2 * 8000 * seconds))
    (folder / "train.csv").write_text("audio,text\n0.wav,a\n1.wav,b\n2.wav,c\n")
    assert main(["data", "check", "calls"]) == 0
    out = capsys.readouterr().out
    assert ["train", "3", "audio", "2.0", "s", "3.0", "s"] in [
        line.split()[:7] for line in out.splitlines()
    ]
    [missing, absent] = [line for line in out.splitlines() if line.startswith("!")]
    assert "1 of 3" in missing
    assert "2.wav" in missing
    assert "calls has no val, test" in absent


def test_the_longest_column_is_proposed_as_text(
    project: Path, capsys: pytest.CaptureFixture
) -> None:
    (project / "poems.csv").write_text("heading,lines\nSpring,In spring one sleeps till late.\n")
    assert main(["data", "check", "poems.csv"]) == 1
    out, err = capsys.readouterr()
    assert "columns: {text: lines}" in out
    assert "{document: lines, summary: heading}" in err
