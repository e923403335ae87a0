"""`lslm gate`: pass and fail by exit status, refuse what does not compare, and write records that
build servers read.
"""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from lslm_lightning import gate
from lslm_lightning.contracts import Prediction
from lslm_lightning.evaluation.predictions import write_predictions
from lslm_lightning.evaluation.scoring import score, write_scores
from lslm_lightning.exit_status import GATE_FAILED, SettingsError
from lslm_lightning.runs import RunDirectory
from lslm_lightning.text.recipes import Characters
from tasks.translation.data import TranslationData
from tasks.translation.task import TranslationTask
from tests.commands.conftest import refused
from tests.commands.test_evaluation_sets import spec
from tests.support.junit import check_junit

pytestmark = pytest.mark.slow

N = 120
WORDS = [f"Wort{i}" for i in range(40)]


@pytest.fixture
def corpus(project: Path) -> Path:
    """Sentences of some words, in two languages."""
    rng = np.random.default_rng(0)
    folder = project / "sentences"
    folder.mkdir()
    lines = [" ".join(rng.choice(WORDS, rng.integers(5, 12))) for _ in range(N)]
    (folder / "test.de").write_text("".join(f"{line}.\n" for line in lines), "utf-8")
    (folder / "test.en").write_text("".join(f"{line.lower()}\n" for line in lines), "utf-8")
    return folder


def answered(name: str, corpus: Path, change, target: str = "de") -> Path:
    """Write a tested run whose outputs are the references, changed by `change(i, text)`."""
    directory = RunDirectory(Path("runs/translation") / name)
    directory.predictions.mkdir(parents=True)
    source = "en" if target == "de" else "de"
    data = TranslationData(str(corpus), source_language=source, target_language=target)
    examples = data.examples("test")
    config = {
        "model": {"class_path": "tasks.translation.task.TranslationTask", "init_args": {}},
        "data": spec(corpus, source, target),
    }
    directory.config.write_text(yaml.safe_dump(config))
    Characters().train([e.references[0] for e in examples]).save(directory.tokenizer)
    outputs = [Prediction(e.id, change(i, e.references[0])) for i, e in enumerate(examples)]
    write_predictions(directory.predictions / "test.jsonl", outputs)
    scores = score(examples, outputs, TranslationTask.metrics(target), n_resample=10).scores
    write_scores(directory.metrics, scores, data.recorded("test", examples))
    return directory.path


def replaced(share: float, seed: int):
    """Return a change that replaces this share of the words."""

    def change(i: int, text: str) -> str:
        rng = np.random.default_rng([seed, i])
        words = text.removesuffix(".").split()
        return " ".join(rng.choice(WORDS) if rng.random() < share else w for w in words) + "."

    return change


@pytest.fixture
def runs(corpus: Path) -> dict[str, Path]:
    return {
        "base": answered("base", corpus, replaced(0.2, 1)),
        "same": answered("same", corpus, replaced(0.2, 1)),
        "equal": answered("equal", corpus, replaced(0.2, 2)),
        "worse": answered("worse", corpus, replaced(0.6, 3)),
    }


def test_the_exit_status_tells_passed_from_failed(lslm, runs):
    base = ("--baseline", runs["base"])
    worse = lslm("gate", runs["worse"], *base, "--metric", "bleu", "--margin", 5)
    assert worse.status == GATE_FAILED
    assert "BLEU: failed, since the loss is shown to exceed 5" in worse.out
    far = lslm("gate", runs["worse"], *base, "--metric", "bleu", "--margin", 90)
    assert far.status == 0, far
    close = lslm("gate", runs["equal"], *base, "--metric", "bleu", "--margin", 0.01)
    assert close.status == GATE_FAILED, "an equal run may fail where the test set is small"
    assert "is not ruled out" in close.out
    regression = ("--rule", "regression")
    fine = lslm("gate", runs["equal"], *base, "--metric", "ter", "--margin", 0, *regression)
    assert fine.status == 0, fine
    for name in ("chrF", "test/TER"):
        assert lslm("gate", runs["same"], *base, "--metric", name, "--margin", 0.01).status == 0


def test_the_power_is_told_and_true(lslm, runs):
    """At the margin that is told for 80 %, the power that is told is 80 %."""
    arguments = ("gate", runs["equal"], "--baseline", runs["base"], "--metric", "bleu", "--margin")
    found = re.search(r"on 80 % by ([\d.]+)", lslm(*arguments, 1).out)
    again = lslm(*arguments, found[1])
    assert re.search(r"passes on (79|80|81) % of such", again.out), again.out


def test_what_does_not_compare_is_refused(lslm, runs, corpus):
    back = answered("back", corpus, lambda i, text: text, target="en")
    bleu = ("--metric", "bleu", "--margin", 1)
    refused(lslm("gate", runs["base"], "--baseline", back, *bleu), 1, "en-de", "de-en")
    refused(lslm("gate", runs["base"], "--baseline", runs["base"], *bleu), 2, "name two")
    refused(lslm("gate", runs["base"], "--baseline", "runs/none", *bleu), 1, "runs/none")
    wrong = ("--metric", "wer", "--margin", 1)
    refused(lslm("gate", runs["equal"], "--baseline", runs["base"], *wrong), 1, "wer", "bleu")
    (RunDirectory(runs["equal"]).predictions / "test.jsonl").unlink()
    refused(lslm("gate", runs["equal"], "--baseline", runs["base"], *bleu), 1, "predictions")


def test_other_signatures_are_refused(lslm, runs):
    metrics = runs["equal"] / "metrics.json"
    metrics.write_text(metrics.read_text().replace("smooth:exp", "smooth:floor"))
    found = lslm("gate", runs["equal"], "--baseline", runs["base"], "--metric=bleu", "--margin=1")
    refused(found, 1, "smooth", "BLEU")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--metric", "bleu"), "1 of --metric and 0 of --margin"),
        (("--metric", "bleu", "--margin", "-1"), "at least 0"),
        (("--metric", "bleu", "--margin", "0"), "margin of bleu is 0"),
        (("--metric", "bleu", "--margin", "nan"), "margin of bleu"),
        (("--metric", "bleu", "--margin", "1", "--level", "0.7"), "level=0.7"),
        (("--metric", "bleu", "--margin", "1", "--rule", "fair"), "rule='fair'"),
        (("--metric", "bleu", "--margin", "1", "--n-resample", "5"), "--n-resample 5"),
        (("--metric", "bleu", "--margin", "0,5"), "--margin='0,5' must be a number"),
        (("--metric", "bleu", "--margin", "1", "--n-resample", "2.5"), "--n-resample='2.5'"),
        (("--metric", "bleu", "--margin", "1", "--metric", "BLEU", "--margin", "1"), "BLEU"),
        ((), "nothing to check"),
        (("--file", "none.yaml"), "none.yaml"),
    ],
)
def test_wrong_arguments_are_told_from_a_failed_gate(lslm, runs, arguments, words):
    refused(lslm("gate", runs["equal"], "--baseline", runs["base"], *arguments), 2, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("metric: {bleu: 1}", "'metric'"),
        ("metrics: {bleu: much}", "margin of bleu"),
        ("metrics: {bleu: {margin: 1, by: 2}}", "'by'"),
        ("outputs: {contains: a}", "list of assertions"),
        ("outputs: [{contain: a}]", "'contain'"),
        ("outputs: [{contains: a, json: true}]", "has one of"),
        ("outputs: [{contains: 3}]", "contains: must be a text"),
        ("outputs: [{matches: '['}]", "regular expression"),
        ("outputs: [{contains: a, at_least: 120 %}]", "at_least='120 %'"),
        ("outputs: [{contains: a, at_least: baseline}]", "margin of at_least: baseline is 0"),
        ("outputs: [{script: han}]", "ISO 15924"),
        ("- 1", "no mapping"),
    ],
)
def test_faults_of_the_file_are_named(lslm, runs, project, content, words):
    (project / "gate.yaml").write_text(content)
    found = lslm("gate", runs["equal"], "--baseline", runs["base"], "--file", "gate.yaml")
    refused(found, 2, "gate.yaml", words)


def test_assertions_on_outputs(lslm, corpus, project):
    """Each output is made so that it is known which assertions hold."""
    hostile = 'a]]>&<b>"\x00\x1b[31m\udcff'.encode("utf-8", "replace").decode()

    def change(i: int, text: str) -> str:
        return {0: "", 1: f"TODO {text}", 2: "完全是中文的句子。", 3: hostile}.get(i, text)

    run = answered("odd", corpus, change)
    base = answered("whole", corpus, lambda i, text: text)
    outputs = [
        {"not_contains": "TODO"},
        {"not_contains": "TODO", "at_least": "99 %"},
        {"min_characters": 1, "at_least": "99 %"},
        {"matches": r"\.$", "at_least": "98 %"},
        {"script": "Latn", "at_least": 0.99},
        {"not_matches": "TO|中文", "at_least": "baseline", "margin": 10},
        {"not_matches": "TO|中文", "at_least": "baseline", "margin": 1},
        {"max_characters": 5, "at_least": "1 %"},
        {"json": True, "at_least": "0 %"},
    ]
    (project / "gate.yaml").write_text(yaml.safe_dump({"outputs": outputs}, allow_unicode=True))
    arguments = ("--file", "gate.yaml", "--junit", "gate.xml", "--summary", "summary.md")
    found = lslm("gate", run, "--baseline", base, *arguments)
    assert found.status == GATE_FAILED, found
    [suite] = check_junit(Path("gate.xml"))
    cases = suite.findall("testcase")
    failed = [i for i, case in enumerate(cases) if case.find("failure") is not None]
    assert failed == [0, 3, 6, 7]
    assert "contains 'TODO' at character 1" in cases[0].find("failure").text
    assert len(cases) == len(outputs)
    text = Path("gate.xml").read_text("utf-8")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", text)
    summary = Path("summary.md").read_text("utf-8")
    assert summary.count("❌") == 4
    lslm("gate", run, "--file", "gate.yaml", "--baseline", base, "--summary", "summary.md")
    assert Path("summary.md").read_text("utf-8") == 2 * summary, "a summary is added to its file"


def test_assertions_alone_need_no_baseline(lslm, runs, project):
    (project / "gate.yaml").write_text("outputs: [{min_characters: 1}]")
    assert lslm("gate", runs["base"], "--file", "gate.yaml").status == 0
    (project / "gate.yaml").write_text("metrics: {bleu: 1}")
    refused(lslm("gate", runs["base"], "--file", "gate.yaml"), 2, "--baseline")


def test_seeds_stand_for_their_recipe(lslm, corpus):
    """Parents of several seeds are groups; one run beside them has no variance over seeds."""
    for name, share in (("old", 0.2), ("new", 0.22), ("bad", 0.5)):
        for seed in range(3):
            answered(f"{name}-seed-{seed}-00000000", corpus, replaced(share, 10 * seed))
        parent = Path(f"runs/translation/{name}")
        shutil.copytree(f"runs/translation/{name}-seed-0-00000000", parent)
        (parent / "metrics.json").write_text('{"seeds": 3, "summary": {}}')
    old, new, bad = (f"runs/translation/{name}" for name in ("old", "new", "bad"))
    assert gate(new, old, {"bleu": 30}).passed
    assert not gate(bad, old, {"bleu": 5}).passed
    with pytest.raises(ValueError, match="3 runs and a baseline of 1"):
        gate(new, f"{bad}-seed-0-00000000", {"bleu": 5})


def test_systems_of_an_evaluation(lslm, runs, corpus, project):
    """They are gated by the predictions that the evaluation wrote."""
    config = {
        "task": "tasks.translation.task.TranslationTask",
        "data": spec(corpus, "en", "de"),
        "systems": {
            name: {
                "class_path": "lslm_lightning.systems.outputs.Outputs",
                "init_args": {"path": str(runs[name] / "predictions/test.jsonl")},
            }
            for name in ("base", "equal", "worse")
        },
        "n_resample": 100,
    }
    (project / "three.yaml").write_text(yaml.safe_dump(config))
    of = ("--evaluation", "three.yaml", "--metric", "bleu", "--margin", 15)
    early = lslm("gate", "equal", "--baseline", "base", *of)
    refused(early, 1, "lslm evaluate --config three.yaml")
    assert lslm("evaluate", "--config", "three.yaml").status == 0
    assert lslm("gate", "equal", "--baseline", "base", *of).status == 0
    assert lslm("gate", "worse", "--baseline", "base", *of).status == GATE_FAILED
    refused(lslm("gate", "none", "--baseline", "base", *of), 2, "'none'", "worse")


def test_from_python(runs):
    found = gate(runs["equal"], runs["base"], {"bleu": 20, "ter": 20})
    assert found.passed
    assert [check.name for check in found.checks] == ["BLEU", "TER"]
    own = gate(runs["base"], runs["equal"], {"bleu": 20, "ter": 20})
    for one, other in zip(found.checks, own.checks, strict=True):
        assert one.test.loss == pytest.approx(-other.test.loss)
    with pytest.raises(SettingsError, match="rule='x'"):
        gate(runs["equal"], runs["base"], {"bleu": 1}, rule="x")


@pytest.mark.parametrize("option", ["--junit", "--summary"])
@pytest.mark.parametrize(("place", "words"), [("file/below", "written"), ("folder", "is a folder")])
def test_records_that_cannot_be_written_are_told_before_the_work(
    lslm, project, option, place, words
):
    (project / "file").write_text("x")
    (project / "folder").mkdir()
    gate = ("gate", "none", "--baseline", "nor-this", "--metric", "bleu", "--margin", "1")
    done = lslm(*gate, option, place)
    refused(done, 2, f"{option} {place}", words)
