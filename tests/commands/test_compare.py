"""`lslm compare`: finished runs on one page, seeds as recipes, tables of an experiment, and what
does not compare.
"""

import csv
import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag

from lslm_lightning.experiments import leaderboard
from lslm_lightning.experiments.finished_runs import n_parameter, open_one
from lslm_lightning.runs import RunDirectory
from lslm_lightning.systems.checkpoint import Checkpoint
from tasks.translation.data import TranslationData
from tests.commands.conftest import refused
from tests.commands.test_evaluation_sets import OLD, ROWS, made

pytestmark = pytest.mark.slow

QUICK = ("--n-resample", 100)
DIGEST = "2:" + "0123456789" * 6 + "abcd"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder for what is trained once and copied for each test."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def two_runs(lslm, project, translation, kept):
    """Two runs of different width, which read 3 tokens of a source."""
    if not (kept / "runs").exists():
        for width, name in ((16, "narrow"), (32, "wide")):
            settings = [
                f"--model.backbone.d_model={width}",
                f"--job.name={name}",
                "--model.max_source_length=3",
            ]
            outcome = lslm("run", "--config", translation, *settings)
            assert outcome.status == 0, outcome.err
        shutil.copytree(project / "runs", kept / "runs")
        shutil.copy(project / "mlflow.db", kept)
    else:
        shutil.copytree(kept / "runs", project / "runs")
        shutil.copy(kept / "mlflow.db", project)
        # the corpus is a folder of the test that trained them
        for path in (project / "runs").glob("*/*/config.yaml"):
            path.write_text(
                path.read_text("utf-8").replace(
                    yaml.safe_load(path.read_text("utf-8"))["data"]["init_args"]["corpus"],
                    str(project / "pairs"),
                )
            )
    return [next(Path("runs/translation").glob(f"{name}-*")) for name in ("narrow", "wide")]


def page() -> str:
    [found] = Path("runs/translation").glob("compare-*/report/index.html")
    return found.read_text("utf-8")


def test_two_runs_on_one_page(lslm, two_runs, project):
    outcome = lslm("compare", *two_runs, *QUICK, "--csv", project / "scores.csv")
    assert outcome.status == 0, outcome.err
    found = page()
    for words in (
        "Pairs by BLEU",
        "d_model",
        "Learning curves",
        "Samples",
        *(run.name for run in two_runs),
    ):
        assert words in found, words
    assert "Config differences" in found
    assert (
        "vocab_size" not in found.partition("Config differences")[2].partition("</section>")[0]
    ), "what is equal is no difference"
    with (project / "scores.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    own = {
        run.name: json.loads((run / "metrics.json").read_text("utf-8"))["findings"]
        for run in two_runs
    }
    for name, findings in own.items():  # those of the evaluation set and of other runs are beside
        cut = "10 of 10 sources were read up to max_source_length=3 tokens"
        assert {"check": "cut sources", "system": "this run", "words": cut} in findings
        for each in findings:
            whose = name if each["system"] else "evaluation set"
            assert f"! {each['check']} ({whose}): {each['words']}" in outcome.out
            assert each["check"] in found
    recorded = {
        run.name: {
            s["metric"]: s["value"]
            for s in json.loads((run / "metrics.json").read_text())["scores"]
        }
        for run in two_runs
    }
    assert {row["system"]: pytest.approx(float(row["bleu"])) for row in rows} == {
        name: found["bleu"] for name, found in recorded.items()
    }


def test_where_a_run_cuts_is_on_record_and_known_of_an_earlier_release(two_runs):
    directory = RunDirectory(two_runs[0])
    facts = open_one(directory, "").facts
    cut = "10 of 10 sources were read up to max_source_length=3 tokens"
    assert facts == {"limit": "max_length=20", "cut_sources": cut}
    record = json.loads(directory.metrics.read_text("utf-8"))
    assert record.pop("facts") == facts
    directory.metrics.write_text(json.dumps(record), "utf-8")
    assert open_one(directory, "").facts == facts


def test_seeds_are_compared_with_the_noise_of_training(lslm, two_runs):
    """Two parents of seeds, as `lslm run --seeds 2` leaves them; the second seed of each has some
    answers of the other run.
    """
    parents = []
    for run, other in (two_runs, two_runs[::-1]):
        parent = run.parent / f"{run.name[:4]}-seeds"
        for seed in (0, 1):
            child = shutil.copytree(run, run.parent / f"{parent.name}-seed-{seed}-{run.name[-8:]}")
            if seed:
                mixed = (run / "predictions/test.jsonl").read_text().splitlines()[:5]
                known = {json.loads(line)["id"] for line in mixed}
                mixed += [
                    line
                    for line in (other / "predictions/test.jsonl").read_text().splitlines()
                    if json.loads(line)["id"] not in known
                ]
                (child / "predictions/test.jsonl").write_text("\n".join(mixed) + "\n")
        parent.mkdir()
        shutil.copy(run / "config.yaml", parent)
        (parent / "metrics.json").write_text(json.dumps({"seeds": 2, "summary": {}}))
        parents.append(parent)
    outcome = lslm("compare", *parents, *QUICK)
    assert outcome.status == 0, outcome.err
    assert "deviation from seeds" in page()
    assert all(f"-seed-{seed}-" in outcome.out for seed in (0, 1))


def test_other_data_are_shown_and_not_ranked(lslm, two_runs, translation, pairs):
    """An odd one takes the tests from nobody else."""
    whole = {language: (pairs / f"test.{language}").read_text("utf-8") for language in ("en", "zh")}
    for language in ("en", "zh"):
        path = pairs / f"test.{language}"
        path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:8]), "utf-8")
    assert lslm("run", "--config", translation, "--job.name=other").status == 0
    other = next(Path("runs/translation").glob("other-*"))
    for language, text in whole.items():
        (pairs / f"test.{language}").write_text(text, "utf-8")
    outcome = lslm("compare", two_runs[0], other, *QUICK)
    assert outcome.status == 0, outcome.err
    assert f"{other.name}: tested on {pairs} en-zh (digest 2:" in page()
    assert "Pairs by" not in page()
    shutil.rmtree(*Path("runs/translation").glob("compare-*"))
    outcome = lslm("compare", other, *two_runs, *QUICK)
    assert outcome.status == 0, outcome.err
    assert f"{other.name}: tested on" in page()
    assert "Not comparable" in page()
    assert "Pairs by" in page()


def test_the_order_of_predictions_is_no_matter(lslm, two_runs):
    """A run writes its predictions batch by batch; sections of the task read them in the order of
    the test set.
    """
    assert lslm("compare", *two_runs, *QUICK).status == 0
    [first] = Path("runs/translation").glob("compare-*/report/report.md")
    before = first.read_text("utf-8")
    shutil.rmtree(first.parents[1])
    for run in two_runs:
        path = run / "predictions/test.jsonl"
        path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[::-1]), "utf-8")
    assert lslm("compare", *two_runs, *QUICK).status == 0
    [again] = Path("runs/translation").glob("compare-*/report/report.md")
    assert "Coverage of the source" in before
    without_time = partial(re.sub, r"\d\d-\d\d \d\d:\d\d", "")
    assert without_time(again.read_text("utf-8")) == without_time(before)


def test_a_run_that_is_named_twice(lslm, two_runs):
    refused(lslm("compare", two_runs[0], two_runs[0]), 1, "named twice")


def test_other_signatures_are_named(lslm, two_runs):
    path = two_runs[1] / "metrics.json"
    path.write_text(path.read_text().replace("tok:zh", "tok:13a"))
    assert lslm("compare", *two_runs, *QUICK).status == 0
    assert "tok is zh and 13a" in page()


def test_the_table_of_an_experiment(lslm, two_runs):
    outcome = lslm(
        "compare", "--experiment", "translation", "--metric", "test/bleu", "--csv", "all.csv"
    )
    assert outcome.status == 0, outcome.err
    with open("all.csv", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    values = [float(row["test/bleu"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert {row["run"] for row in rows} == {run.name for run in two_runs}
    assert all(run.name in outcome.out for run in two_runs)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, ["two runs or more"]),
        (["one"], 2, ["two runs or more"]),
        (["nowhere", "runs/none"], 1, ["nowhere"]),
        (["--experiment", "nothing"], 1, ["no experiment 'nothing'"]),
        (["--experiment", "translation", "runs/a"], 2, ["two runs or more"]),
    ],
)
def test_what_is_refused(lslm, arguments, status, words):
    refused(lslm("compare", *arguments), status, *words)


def test_a_run_that_was_not_tested(lslm, translation, two_runs):
    assert lslm("fit", "--config", translation, "--job.name=trained").status == 0
    trained = next(Path("runs/translation").glob("trained-*"))
    refused(lslm("compare", two_runs[0], trained), 1, "was not tested", "lslm test")


def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path):
    from lslm_lightning.experiments.csv_table import write_csv
    from lslm_lightning.reports.blocks import Table
    from lslm_lightning.safety.visible_text import visible

    evil = [
        "=1+1",
        "@x",
        "-minus",
        " \t=1+1",
        "\n=1+1",
        "\r=1+1",
        "＝1+1",
        "　＋1",
        "－1",
        "＠x",
        "\tx",
    ]
    write_csv(
        Table(["=name", "value"], [[text, -1.5] for text in evil] + [["plain", None]]),
        tmp_path / "a.csv",
    )
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["'=name", "value"],
        *([f"'{visible(text)}", "-1.5"] for text in evil),
        ["plain", ""],
    ]


def test_a_run_whose_answers_are_not_whole_is_named_and_the_others_are_compared(lslm, two_runs):
    third = shutil.copytree(two_runs[0], two_runs[0].parent / "third-00000000")
    path = third / "predictions/test.jsonl"
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:5]), "utf-8")
    outcome = lslm("compare", *two_runs, third, *QUICK)
    assert outcome.status == 0, outcome.err
    assert "third-00000000: its predictions are not on this disk, or not all." in page()
    assert "Pairs by" in page()


def test_a_run_is_as_large_as_its_model(two_runs):
    """Not as its checkpoint, which holds tied weights and buffers too."""
    for run in two_runs:
        assert n_parameter(RunDirectory(run)) == Checkpoint(str(run)).info()["n_parameter"]


@pytest.fixture
def logged(project):
    """Makes runs in MLflow as tests leave them."""
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.create_experiment("translation")

    def log(
        name,
        metrics,
        status="FINISHED",
        signature="tok:13a",
        corpus="wmt",
        digest=DIGEST,
        up=True,
        params=(),
        inputs=(),
        **tags,
    ):
        scores = {
            metric: {"unit": "", "higher_is_better": up, "signature": signature, "n_example": 10}
            for metric in metrics
        }
        tags = {
            "corpus": corpus,
            "corpus.test_digest": digest,
            "scores": json.dumps(scores),
            "command": "run",
        } | tags
        run = client.create_run(experiment, tags=tags, run_name=name)
        for metric, value in metrics.items():
            client.log_metric(run.info.run_id, metric if "/" in metric else f"test/{metric}", value)
        for key, value in dict(params).items():
            client.log_param(run.info.run_id, key, value)
        for split, own in dict(inputs).items():
            tags = [InputTag("mlflow.data.context", split), InputTag("digest", own)]
            client.log_inputs(
                run.info.run_id, [DatasetInput(Dataset(corpus, own[:36], "local", "{}"), tags)]
            )
        client.set_terminated(run.info.run_id, status)
        return run.info.run_id

    return log


def groups(metric="bleu") -> list[str]:
    """Names of runs, best first, in groups that are ranked together: "a b | c"."""
    table = leaderboard.leaderboard("translation", metric)
    found = {}
    for row in table.rows:
        found.setdefault(row[1], []).append(row[0])
    return sorted(" ".join(names) for names in found.values())


def test_only_runs_of_one_test_set_and_signature_are_ranked_together(logged, monkeypatch):
    monkeypatch.setattr(leaderboard, "PAGE", 2)
    for name, value in (("low", 20.0), ("high", 40.0), ("middle", 30.0)):
        logged(name, {"bleu": value})
    logged("other words", {"bleu": 90.0}, signature="tok:char")
    logged("other data", {"bleu": 95.0}, digest="2:" + "f" * 64)
    logged("another file", {"bleu": 39.0}, corpus="news")
    logged("still running", {"bleu": 100.0}, status="RUNNING")
    table = leaderboard.leaderboard("translation", "bleu")
    for name in ("BLEU", "test/BLEU", "test/bleu"):
        assert leaderboard.leaderboard("translation", name) == table, "as people read it"
    assert [(h.name, h.column) for h in table.headings()][2] == ("test/BLEU", "test/bleu")
    assert [row[0] for row in table.rows][:4] == ["high", "another file", "middle", "low"]
    assert [row[1] for row in table.rows] == ["A", "A", "A", "A", "B", "C"]
    assert {row[0] for row in table.rows[4:]} == {"other words", "other data"}
    assert sum("tok:13a" in n.text for n in table.notes[:-1]) == 2
    assert {row[table.columns.index("data")] for row in table.rows} == {
        "2:012345678901",
        "2:ffffffffffff",
    }
    assert table.notes[-1] == "Runs that are not finished and are not shown: 1."


def test_parts_of_a_signature_that_may_differ_separate_no_runs(logged):
    logged("reads 400", {"rouge1": 20.0}, signature="lang:en|source:400")
    logged("reads 800", {"rouge1": 30.0}, signature="lang:en|source:800")
    logged("a baseline", {"rouge1": 25.0}, signature="lang:en")
    logged("other rules", {"rouge1": 99.0}, signature="lang:zh")
    assert groups("rouge1") == ["other rules", "reads 800 a baseline reads 400"]


def test_scores_without_windows_are_ranked_with_those_that_have_them(logged):
    """As `lslm compare` and `lslm sweep` rank them; sizes of windows separate language models."""
    logged("xz", {"bits": 3.0}, signature="nrefs:1", up=False)
    logged("wide", {"bits": 2.0}, signature="nrefs:1|context:64|stride:32", up=False)
    logged("five grams", {"bits": 1.0}, signature="nrefs:1", up=False)
    assert groups("bits") == ["five grams wide xz"]
    logged("far", {"bits": 1.5}, signature="nrefs:1|context:128|stride:64", up=False)
    logged("by words", {"bits": 0.5}, signature="nrefs:1|tokens:words", up=False)
    table = leaderboard.leaderboard("translation", "bits")
    sets = {row[0]: row[1] for row in table.rows}
    assert sets["xz"] == sets["five grams"] == "A, B"
    assert {sets["wide"], sets["far"]} == {"A", "B"}
    assert sets["by words"] == "C"


def test_old_runs_are_told_apart_by_languages_and_unknown_ones_stand_alone(logged):
    """The last release recorded one digest of files for all directions."""
    files = "ab" * 32
    data = "data.init_args."
    directions = {
        "to zh": ("en", "zh"),
        "to zh too": ("en", "zh"),
        "to de": ("en", "de"),
        "from zh": ("zh", "en"),
    }
    for i, (name, (source, target)) in enumerate(directions.items()):
        params = {
            f"{data}source_language": source,
            f"{data}target_language": target,
            f"{data}max_tokens": str(i),
        }
        logged(name, {"bleu": 10.0 * i}, digest=files, params=params)
    for name in ("unknown", "unknown too"):
        logged(name, {"bleu": 50.0}, digest=files)
    parent = logged("evaluation", {}, digest=files)
    for name in ("one system", "another"):
        logged(name, {"bleu": 50.0}, digest=files, **{"mlflow.parentRunId": parent, "system": name})
    assert groups() == [
        "another one system",
        "from zh",
        "to de",
        "to zh too to zh",
        "unknown",
        "unknown too",
    ]
    notes = [
        getattr(note, "text", note) for note in leaderboard.leaderboard("translation", "bleu").notes
    ]
    assert any("wmt en-de, digest 1:abababababab (of files)" in note for note in notes)
    assert sum("its languages are not known" in note for note in notes) == 3
    assert "its runs stand apart where these cannot be found" in notes[-1]


def test_old_runs_whose_directory_is_here_stand_with_new_ones(logged, project):
    corpus = project / "three"
    corpus.mkdir()
    for i, language in enumerate(("en", "zh", "de")):
        (corpus / f"test.{language}").write_text("".join(f"{row[i]}\n" for row in ROWS), "utf-8")
    files = TranslationData(str(corpus), source_language="en", target_language="zh").corpus.digest(
        "test"
    )
    new = (
        TranslationData(str(corpus), source_language="en", target_language="zh")
        .evaluation_set("test")
        .digest
    )
    logged("new", {"bleu": 20.0}, digest=new)
    for name, target in (("old", "zh"), ("other", "de")):
        here = made(name, OLD, corpus, target=target)
        logged(name, {"bleu": 30.0}, digest=files, **{"lslm.directory": str(here.absolute())})
    parent = made("seeds-seed-0-12345678", OLD, corpus).parent / "seeds"
    parent.mkdir()
    logged(
        "seeds",
        {"bleu": 10.0},
        digest=files,
        seeds="2",
        **{"lslm.directory": str(parent.absolute())},
    )
    assert groups() == ["old new seeds", "other"]


def test_validations_are_told_apart_by_their_own_data(logged):
    """Not by the digest of a test; a limit of validated examples is a part of what was asked."""
    inputs = {"val": "2:" + "c" * 64}
    limit = "data.init_args.n_validation_example"
    logged("best", {"val/bleu": 50.0}, inputs=inputs, params={limit: 200})
    logged("second", {"val/bleu": 40.0}, inputs=inputs, params={limit: 200}, digest="2:" + "d" * 64)
    logged("fewer", {"val/bleu": 90.0}, inputs=inputs, params={limit: 20})
    logged("other", {"val/bleu": 95.0}, inputs={"val": "2:" + "e" * 64}, params={limit: 200})
    assert groups("val/bleu") == ["best second", "fewer", "other"]


def test_shots_of_questions_are_shown(logged):
    for n in ("0", "1", "5"):
        logged(f"asked with {n}", {"bleu": float(n)}, system="gpt", n_shot=n)
    table = leaderboard.leaderboard("translation", "bleu")
    assert [row[table.columns.index("kind")] for row in table.rows] == [
        "evaluated, 5 shots",
        "evaluated, 1 shot",
        "evaluated",
    ]


def test_which_way_is_up_is_on_record(logged):
    """A name of anybody's own; deviations over seeds are no metrics of their own."""
    for name, value in (("worse", 3.0), ("better", 2.0)):
        logged(name, {"my_error": value, "my_error_deviation": 0.5}, up=False, seeds="3")
    table = leaderboard.leaderboard("translation")
    assert [row[0] for row in table.rows] == ["better", "worse"]
    assert [h.name for h in table.headings()] == [
        "run",
        "set",
        "test/my_error",
        "kind",
        "corpus",
        "data",
        "seed",
        "MLflow id",
    ]
    assert table.headings()[2].higher_is_better is False
    assert {row[3] for row in table.rows} == {"mean of 3 seeds"}
