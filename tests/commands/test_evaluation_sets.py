"""Comparability of finished runs by their evaluation sets, whatever release tested them, from run
directories made by hand.
"""

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lslm_lightning.commands.compare import main
from lslm_lightning.contracts import Prediction
from lslm_lightning.evaluation.predictions import write_predictions
from lslm_lightning.evaluation.scoring import score, write_scores
from lslm_lightning.experiments.comparison import compare_runs
from lslm_lightning.experiments.evaluation_sets import find_set
from lslm_lightning.reports.page import write_report
from lslm_lightning.runs import RunDirectory
from lslm_lightning.text.recipes import Characters
from tasks.translation.data import TranslationData
from tasks.translation.task import TranslationTask

pytestmark = pytest.mark.slow

ROWS = [
    ("red cat", "红猫", "rote Katze"),
    ("one dog", "一狗", "ein Hund"),
    ("two birds", "两鸟", "zwei Vögel"),
    ("blue", "蓝", "blau"),
]
OLD = "last release"
NEW = "this release"


@pytest.fixture
def corpus(project) -> Path:
    """The same rows in three languages, as parallel text, with one split."""
    folder = project / "three"
    folder.mkdir()
    for i, language in enumerate(("en", "zh", "de")):
        (folder / f"test.{language}").write_text("".join(f"{row[i]}\n" for row in ROWS), "utf-8")
    return folder


def spec(corpus: Path, source: str = "en", target: str = "zh") -> dict:
    init = {"corpus": str(corpus), "source_language": source, "target_language": target}
    return {"class_path": "tasks.translation.data.TranslationData", "init_args": init}


def made(
    name: str,
    release: str,
    corpus: Path,
    source: str = "en",
    target: str = "zh",
    n: int | None = None,
    worse: int = 0,
) -> Path:
    """A run directory as `lslm test` of a release leaves it; `n` examples were scored, `worse`
    answers are wrong.
    """
    directory = RunDirectory(Path("runs/translation") / name)
    directory.predictions.mkdir(parents=True)
    data = TranslationData(str(corpus), source_language=source, target_language=target)
    examples = data.examples("test")[:n]
    config = {
        "model": {"class_path": "tasks.translation.task.TranslationTask", "init_args": {}},
        "data": spec(corpus, source, target),
    }
    directory.config.write_text("# lslm run\n" + yaml.safe_dump(config))
    Characters().train([e.references[0] for e in examples]).save(directory.tokenizer)
    predictions = [
        Prediction(e.id, "?" if i < worse else e.references[0]) for i, e in enumerate(examples)
    ]
    write_predictions(directory.predictions / "test.jsonl", predictions[::-1])
    scores = score(examples, predictions, TranslationTask.metrics(target), n_resample=10).scores
    recorded = data.recorded("test", examples)
    if release == OLD:
        recorded = {
            "corpus": data.corpus.name,
            "split": "test",
            "digest": data.corpus.digest("test"),
        }
    write_scores(directory.metrics, scores, recorded)
    return directory.path


def compared(*runs: Path) -> tuple[list[list], str]:
    """Rows of the table (name, ..., test set if there are several), and the page as text."""
    table, report, *_ = compare_runs([*map(RunDirectory, runs)], None, False, 10, "lslm compare")
    page = write_report(report, Path("page") / runs[0].name)
    words = page.with_name("report.md").read_text("utf-8") + "\n".join(
        str(getattr(n, "text", n)) for n in table.notes
    )
    return [[str(cell) for cell in row] for row in table.rows], words


def sets(rows: list[list]) -> list[str]:
    return [row[-1] for row in rows]


@pytest.mark.parametrize("releases", [(NEW, NEW), (OLD, NEW), (NEW, OLD), (OLD, OLD)])
@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("zh", "en"), ("de", "zh")])
def test_directions_of_one_corpus_do_not_compare(corpus, releases, source, target):
    """Their digest of the files is the same."""
    first = made("first", releases[0], corpus)
    second = made("second", releases[1], corpus, source, target, worse=1)
    rows, words = compared(first, second)
    assert sets(rows) == ["A", "B"]
    assert f"{corpus.name} {source}-{target} (digest 2:" in words
    assert "Scores on different test sets do not compare" in words
    assert "Pairs by" not in words


@pytest.mark.parametrize("releases", [(NEW, NEW), (OLD, NEW), (NEW, OLD), (OLD, OLD)])
def test_runs_of_two_releases_compare(corpus, releases):
    rows, words = compared(
        made("first", releases[0], corpus), made("second", releases[1], corpus, worse=2)
    )
    assert "Pairs by BLEU" in words
    assert len(rows[0]) == len(TranslationTask.metrics("zh")) + 1, "one test set is no column"
    assert words.count(
        "computed from its config and its corpus, whose files are as they were"
    ) == releases.count(OLD)


@pytest.mark.parametrize("release", [OLD, NEW])
def test_a_part_of_the_test_set_is_another(corpus, release):
    whole = made("whole", NEW, corpus)
    part = made("part", release, corpus, n=2)
    again = made("again", release, corpus, n=2, worse=1)
    rows, words = compared(whole, part)
    assert sets(rows) == ["A", "B"]
    assert "2 and 4 examples" in words
    rows, words = compared(part, again)
    assert "Pairs by BLEU" in words


def test_the_same_rows_from_another_format_compare_with_other_ids(corpus, project):
    """Ids of the file of lines are those of other rows in the parallel text: pairing goes by
    position.
    """
    lines = project / "lines"
    lines.mkdir()
    known = [
        e.id
        for e in TranslationData(str(corpus), source_language="en", target_language="zh").examples(
            "test"
        )
    ]
    rows = [
        {"id": name, "en": en, "zh": zh}
        for name, (en, zh, _) in zip(known[::-1], ROWS, strict=True)
    ]
    (lines / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    first = made("first", NEW, corpus, worse=1)
    second = made("second", NEW, lines, worse=1)
    _, words = compared(first, second)
    assert "Pairs by BLEU" in words
    assert "first − second | 0" in words.replace("**", ""), "both are wrong on the first row alone"
    shutil.rmtree(lines)
    _, words = compared(first, second)
    assert "second: its predictions are not on this disk" in words


def test_another_order_is_told_in_words(corpus, project):
    turned = project / "turned"
    turned.mkdir()
    for path in corpus.glob("test.*"):
        (turned / path.name).write_text(
            "".join(path.read_text("utf-8").splitlines(keepends=True)[::-1]), "utf-8"
        )
    rows, words = compared(made("first", NEW, corpus), made("second", NEW, turned))
    assert sets(rows) == ["A", "B"]
    assert "the same examples in another order" in words


def test_an_old_run_whose_references_have_changed_stands_apart(corpus):
    old = made("old", OLD, corpus, worse=1)
    (corpus / "test.zh").write_text("".join(f"{zh}。\n" for _, zh, _ in ROWS), "utf-8")
    new = made("new", NEW, corpus, worse=1)
    rows, words = compared(old, new)
    assert sets(rows) == ["A", "B"]
    assert (
        "old: an earlier release recorded its test set without languages, and the files of the "
        "corpus have changed since"
    ) in words
    third = made("third", NEW, corpus)
    rows, words = compared(old, new, third)
    assert "Not comparable" in words
    assert "Pairs by BLEU" in words
    assert not any(row[0] == "old" and "**" in "".join(row) for row in rows)


def test_an_old_run_whose_files_are_written_otherwise_is_known_by_its_outputs(corpus):
    """Its digest was of the bytes; line ends have changed, texts have not."""
    old = made("old", OLD, corpus, worse=1)
    for path in corpus.glob("test.*"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    _, words = compared(old, made("new", NEW, corpus, worse=2))
    assert "Pairs by BLEU" in words
    assert "its outputs have the recorded scores there; sources were not checked" in words


def test_an_old_run_whose_files_are_read_otherwise_now_stands_apart(corpus, monkeypatch):
    """The files are as they were, but what is made of them has changed: here the references."""
    old = made("old", OLD, corpus, worse=1)
    found = TranslationData.to_example
    monkeypatch.setattr(
        TranslationData,
        "to_example",
        lambda self, row: replace(found(self, row), references=("猫", "狗")),
    )
    assert (
        "this release reads the files of the corpus otherwise"
        in find_set(RunDirectory(old), {}).reason
    )
    monkeypatch.setattr(
        TranslationData,
        "to_example",
        lambda self, row: replace(found(self, row), references=("猫",)),
    )
    assert (
        "this release reads the files of the corpus otherwise"
        in find_set(RunDirectory(old), {}).reason
    )


@pytest.mark.parametrize("what", ["corpus", "outputs and files", "config", "class", "newer"])
def test_what_cannot_be_known_is_said(corpus, what):
    old = made("old", OLD, corpus)
    words = "an earlier release recorded its test set without languages"
    if what == "corpus":
        shutil.rmtree(corpus)
    if what == "outputs and files":
        (old / "predictions/test.jsonl").unlink()
        (corpus / "test.zh").write_text("".join(f"{zh}。\n" for _, zh, _ in ROWS), "utf-8")
    if what == "config":
        (old / "config.yaml").write_text(
            (old / "config.yaml").read_text().replace("source_language", "sourcelanguage")
        )
    if what == "class":
        (old / "config.yaml").write_text(
            (old / "config.yaml").read_text().replace("tasks.translation.data", "somebody.data")
        )
    if what == "newer":
        record = json.loads((old / "metrics.json").read_text("utf-8"))
        record["data"]["digest"] = "3:" + "ab" * 32
        (old / "metrics.json").write_text(json.dumps(record))
        words = "is of a newer release"
    found = find_set(RunDirectory(old), {})
    assert found.found is None
    assert words in found.reason
    assert "\n" not in found.reason


def test_two_unknown_sets_are_two(corpus):
    runs = [made(name, OLD, corpus) for name in ("first", "second")]
    shutil.rmtree(corpus)
    rows, words = compared(*runs)
    assert sets(rows) == ["A", "B"]
    assert "Pairs by" not in words


def test_a_pattern_names_a_run_in_the_terminal_and_on_the_page(corpus, capsys):
    for path in (
        made("first-1", OLD, corpus),
        made("first-2", NEW, corpus),
        made("second", NEW, corpus, worse=1),
    ):
        (path / "checkpoints").mkdir()
        (path / "checkpoints/best.ckpt").touch()
    os.utime("runs/translation/first-1/config.yaml", (1, 1))
    argv = [
        "compare",
        "runs/translation/first-*",
        "runs/translation/second",
        "--n-resample",
        "10",
        "--output",
        "page",
        "--csv",
        "all.csv",
    ]
    assert main(argv) == 0
    said = "run runs/translation/first-*: chose runs/translation/first-2, the newest of 2"
    assert capsys.readouterr().out.startswith(f"{said}\n")
    assert said in Path("page/report/report.md").read_text("utf-8").replace("\\", "")
    made("german", NEW, corpus, target="de")
    assert (
        main(
            [
                "compare",
                "runs/translation/second",
                "runs/translation/german",
                "--output",
                "other",
                "--csv",
                "all.csv",
            ]
        )
        == 0
    )
    rows = [*csv.DictReader(Path("all.csv").read_text("utf-8-sig").splitlines())]
    assert [(row["system"], row["test set"]) for row in rows] == [
        ("second", "A"),
        ("german", "B"),
    ], "a file of scores says it too"
