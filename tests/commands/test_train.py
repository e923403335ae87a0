"""Whole jobs: from a config to a tracked, tested, reported run."""

import json
import os
import re
import shlex
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from mlflow import MlflowClient

from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.evaluation.scoring import score
from lslm_lightning.experiments.precision_choice import decided_precision
from lslm_lightning.reports.formatting import number
from lslm_lightning.runs import find_run, load_run
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.tracking.views import TAG, state_of
from lslm_lightning.training.precision import StepTimes

pytestmark = pytest.mark.slow


def mlflow_client() -> MlflowClient:
    return MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")


def runs(task: str = "translation") -> list:
    client = mlflow_client()
    experiment = client.get_experiment_by_name(task)
    return client.search_runs([experiment.experiment_id]) if experiment else []


def test_a_run_leaves_all_that_is_needed(lslm, translation, only_run):
    outcome = lslm("run", "--config", translation)
    assert outcome.status == 0, outcome.err
    directory = RunDirectory(only_run())
    for path in (
        directory.config,
        directory.tokenizer,
        directory.checkpoints / "best.ckpt",
        directory.checkpoints / "last.ckpt",
        directory.predictions / "test.jsonl",
        directory.metrics,
        directory.curves,
        directory.report / "index.html",
        directory.report / "report.md",
    ):
        assert path.stat().st_size > 0
    assert "BLEU" in outcome.out
    assert str(directory.report / "index.html") in outcome.out

    [run] = runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["task"] == "translation"
    assert run.data.tags["model"] == "Transformer"
    assert run.data.params["backbone.d_model"] == "16"
    assert len(run.data.params) < 40, "only what differs from the defaults"
    assert (
        int(run.data.params["n_parameter"]) == load_run(directory.path).task.model_info.n_parameter
    )
    assert {name.partition("/")[0] for name in run.data.metrics} <= {
        "train",
        "val",
        "test",
        "system",
        "epoch",
    }
    note = run.data.tags["mlflow.note.content"]
    conclusion = next(line for line in outcome.out.splitlines() if "the baseline" in line)
    assert note.startswith(f"**{conclusion}**\n"), "what the terminal says first"
    assert f"lslm run --config {translation}" in note
    page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/report"
    assert f"({page}/index.html)" in note
    low, high = next(
        (s["low"], s["high"])
        for s in json.loads(directory.metrics.read_text())["scores"]
        if s["metric"] == "bleu"
    )
    assert run.data.tags["interval"] == f"BLEU {number(low)} to {number(high)} (95 %)"
    assert f"{number(low)} to {number(high)}" in note
    assert run.data.tags["headline"] == "test/bleu"
    experiment = mlflow_client().get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert state_of(experiment.tags[TAG])["orderByKey"] == "metrics.`test/bleu`"
    scores = {s["metric"]: s["value"] for s in json.loads(directory.metrics.read_text())["scores"]}
    assert run.data.metrics["test/bleu"] == pytest.approx(scores["bleu"], abs=1e-4)
    assert {
        "train/loss",
        "val/loss",
        "val/bleu",
        "train/tokens_per_second",
    } <= run.data.metrics.keys()
    assert {
        (i.dataset.name, t.value)
        for i in run.inputs.dataset_inputs
        for t in i.tags
        if t.key == "mlflow.data.context"
    } >= {("pairs en-zh", split) for split in ("train", "val", "test")}
    recorded = json.loads(directory.metrics.read_text())["data"]
    assert recorded["digest"].startswith("2:")
    assert recorded["languages"] == run.data.tags["corpus.test_languages"] == "en-zh"
    assert recorded["digest"] == run.data.tags["corpus.test_digest"]
    assert recorded["digest"][:36] in {i.dataset.digest for i in run.inputs.dataset_inputs}
    assert (
        f"test split of {recorded['corpus']}, en-zh: digest {recorded['digest'][:14]}"
        in outcome.out
    )
    assert recorded["digest"] in (directory.report / "report.md").read_text()
    artifacts = {a.path for a in mlflow_client().list_artifacts(run.info.run_id)}
    assert {
        "config.yaml",
        "environment.txt",
        "tokenizer.json",
        "checkpoints",
        "predictions",
        "report",
        "metrics.json",
        "metrics.jsonl",
    } <= artifacts
    stored = mlflow_client().download_artifacts(run.info.run_id, "metrics.jsonl")
    assert Path(stored).read_text() == directory.curves.read_text()


def test_a_training_ends_with_the_command_that_tests_it(lslm, translation, only_run):
    outcome = lslm("fit", "--config", translation)
    assert outcome.status == 0, outcome.err
    directory = RunDirectory(only_run())
    *_, said, way = outcome.out.splitlines()
    assert said == f"checkpoint {directory.best}"
    program, *words = shlex.split(way.partition(": ")[2])
    assert program == "lslm"
    tested = lslm(*words)
    assert tested.status == 0, tested.err
    assert "BLEU" in tested.out


def test_scores_can_be_computed_again_from_what_was_written(lslm, translation, only_run):
    assert lslm("run", "--config", translation).status == 0
    directory = RunDirectory(only_run())
    run = load_run(directory.path)
    examples = [
        line.split("\t")
        for line in map(
            "\t".join,
            zip(
                *(Path(f"pairs/test.{x}").read_text("utf-8").splitlines() for x in ("en", "zh")),
                strict=True,
            ),
        )
    ]
    from lslm_lightning.corpora.lookup import open_corpus
    from tasks.translation.data import TranslationData

    data = TranslationData("pairs", None, source_language="en", target_language="zh")
    assert [(e.source, e.references[0]) for e in data.examples("test")] == [
        tuple(pair) for pair in examples
    ]
    assert open_corpus("pairs").languages == ("en", "zh")
    again = score(
        data.examples("test"),
        read_predictions(directory.predictions / "test.jsonl"),
        run.task.metrics("zh"),
    )
    written = json.loads(directory.metrics.read_text())["scores"]
    assert [s.value for s in again.scores] == pytest.approx([s["value"] for s in written])
    assert next(s for s in written if s["metric"] == "bleu")["signature"].count("tok:zh") == 1


def test_the_written_config_repeats_the_run_exactly(lslm, translation):
    assert (
        lslm(
            "run", "--config", translation, "--job.minutes", "0.02", "--trainer.max_steps", "-1"
        ).status
        == 0
    )
    [first] = Path("runs/translation").iterdir()
    config = yaml.safe_load((first / "config.yaml").read_text())
    assert config["trainer"]["max_steps"] >= 1
    assert config["job"]["minutes"] is None
    assert lslm("run", "--config", first / "config.yaml").status == 0
    [second] = set(Path("runs/translation").iterdir()) - {first}
    mine, again = (load_run(p).task.state_dict() for p in (first, second))
    assert all((mine[name] == again[name]).all() for name in mine)
    assert (first / "metrics.json").read_text() == (second / "metrics.json").read_text()


def test_fit_then_test_of_its_checkpoint_gives_what_run_gives(lslm, translation, only_run):
    assert lslm("run", "--config", translation).status == 0
    directory = RunDirectory(only_run())
    config = directory.config
    best = directory.checkpoints / "best.ckpt"
    arguments = ["test", "--config", config, "--ckpt_path", best, "--job.registered_model", "words"]
    other = lslm(*arguments, "--model.min_length", "2", "--job.name", "other")
    for kept in ("the model is not registered as words", "the scores are not linked to the model"):
        [line] = [line for line in other.out.splitlines() if line.startswith(kept)]
        assert "other values of `model.min_length`" in line
    shutil.rmtree(next(Path("runs/translation").glob("other-*")))
    done = lslm(*arguments)
    assert done.status == 0
    assert "registered models:/words/1, which is now @best\n" in done.out, done.err
    [tested] = [p for p in Path("runs/translation").iterdir() if p != directory.path]
    assert (tested / "metrics.json").read_text() == directory.metrics.read_text()
    assert sorted(r.info.status for r in runs()) == ["FINISHED"] * 3
    model = mlflow_client().get_logged_model(directory.beginning["model"]["model_id"])
    assert model.source_run_id == directory.run_id
    scores = {each.run_id: each.value for each in model.metrics if each.key == "test/bleu"}
    assert scores.keys() == {directory.run_id, RunDirectory(tested).run_id}
    assert find_run("models:/words@best").directory.path == directory.path.absolute()
    validated = lslm("validate", "--config", config, "--ckpt_path", best)
    assert validated.status == 0, validated.err
    assert (
        "val/loss is of all 12 examples, scores are of answers to 4 of them: digest 2:"
        in validated.out
    )
    trained = [json.loads(line) for line in directory.curves.read_text().splitlines()]
    for label, name in (("val/loss", "val/loss"), ("val/BLEU", "val/bleu")):
        [shown] = re.findall(rf"^{label} (\S+)$", validated.out, re.MULTILINE)
        assert float(shown) in [
            pytest.approx(row["value"], abs=0.01) for row in trained if row["name"] == name
        ]
    answered = lslm("predict", "--config", config, "--ckpt_path", best)
    assert answered.status == 0, answered.err
    [predicted] = Path("runs/translation").glob("*/predictions/predict.jsonl")
    assert f"predictions {predicted}\n" in answered.out
    ours, theirs = (read_predictions(p) for p in (predicted, directory.predictions / "test.jsonl"))
    assert [(p.id, p.output) for p in ours] == [(p.id, p.output) for p in theirs]
    lines = [int(p.id.rpartition(":")[2]) for p in theirs]
    assert lines == sorted(lines)  # those of the split, though batches are grouped by length


def test_a_run_killed_in_its_test_goes_on_with_the_test(lslm, translation, only_run):
    assert lslm("fit", "--config", translation).status == 0
    run = only_run()
    again = lslm(
        "run", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/last.ckpt"
    )
    assert again.status == 0, again.err
    [other] = [path for path in run.parent.iterdir() if path != run]
    assert (other / "checkpoints/best.ckpt").read_bytes() == (
        run / "checkpoints/best.ckpt"
    ).read_bytes()
    assert (other / "metrics.json").exists()


@pytest.mark.parametrize("option", ["", "=comments", "=skip_default"])
def test_the_settings_are_printed_wherever_the_option_stands(option, lslm, translation):
    Path("more.yaml").write_text("seed_everything: 7\n")
    configs = [["--config", str(translation)], ["--config", "more.yaml"]]
    changed = "--model.label_smoothing=0.25"
    words = [*configs[0], *configs[1], changed]
    outcomes = [
        lslm("run", *words[:place], f"--print_config{option}", *words[place:])
        for place in (0, 2, len(words))
    ]
    assert [outcome.status for outcome in outcomes] == [0, 0, 0]
    assert outcomes[0].out == outcomes[1].out == outcomes[2].out
    found = yaml.safe_load(outcomes[0].out)
    assert found["model"]["init_args"]["label_smoothing"] == 0.25
    assert found["seed_everything"] == 7
    assert ("enable_model_summary" in found["trainer"]) == (option != "=skip_default")
    assert not Path("runs").exists()


def test_the_mean_of_the_last_weights_competes_and_leaves_no_files(lslm, translation, only_run):
    outcome = lslm("run", "--config", translation, "--job.average", "2")
    assert outcome.status == 0, outcome.err
    assert re.search(r"val/BLEU of the mean of 2 checkpoints \S+, .* best\.ckpt \(", outcome.out)
    assert {p.name for p in (only_run() / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
        "last-1.ckpt",
        "settled",
    }
    curve = [json.loads(line) for line in (only_run() / "metrics.jsonl").read_text().splitlines()]
    assert sum("val/bleu" in str(point) for point in curve) == 2, (
        "the two validations; the mean is no point of the curve"
    )


def test_generate_uses_the_run(lslm, translation, only_run):
    assert lslm("run", "--config", translation).status == 0
    outcome = lslm("generate", only_run(), "red cat", "--search", "greedy", "--max-length", "5")
    assert outcome.status == 0, outcome.err
    assert outcome.out.endswith("\n")
    [run] = runs()
    assert (
        lslm(
            "generate", run.info.run_id[:8], "red cat", "--search", "greedy", "--max-length", "5"
        ).out
        == outcome.out
    )


def test_a_model_is_tested_where_there_is_no_training_split(
    lslm, translation, only_run, pairs, project
):
    assert lslm("fit", "--config", translation).status == 0
    run = only_run()
    (project / "elsewhere").mkdir()
    for language in ("en", "zh"):
        shutil.copy(pairs / f"test.{language}", project / "elsewhere")
    outcome = lslm(
        "test",
        "--config",
        run / "config.yaml",
        "--ckpt_path",
        run / "checkpoints/best.ckpt",
        "--data.corpus",
        "elsewhere",
    )
    assert outcome.status == 0, outcome.err
    [tested] = [path for path in run.parent.iterdir() if path != run]
    assert {
        score["n_example"] for score in json.loads((tested / "metrics.json").read_text())["scores"]
    } == {10}


def test_a_report_names_the_commit_that_was_there_when_the_run_began(
    lslm, translation, monkeypatch
):
    """Start from a clone that was never installed, too."""
    states = iter([{"git.commit": "12" * 20, "git.dirty": "false"}])
    monkeypatch.setattr("lslm_lightning.tracking.tracker.git_state", lambda: next(states))

    def uninstalled(name: str) -> str:
        if name == "lslm-lightning":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("importlib.metadata.version", uninstalled)
    monkeypatch.setattr("lslm_lightning.experiments.run_records.version", uninstalled)
    outcome = lslm(
        "run", "--config", translation, "--job.root=my runs", "--job.tags={api_key: Zq7pwx99secret}"
    )
    assert outcome.status == 0, outcome.err
    [page] = Path("my runs").glob("*/*/report/report.md")
    assert "12" * 6 in page.read_text()
    assert f"lslm run --config '{page.parents[1]}/config.yaml'" in page.read_text(), (
        "as it is typed in a shell"
    )
    assert "secret" not in page.read_text()
    assert [run.data.tags["git.commit"] for run in runs()] == ["12" * 20]


def test_a_run_is_called_by_its_config_whatever_that_is_called(
    lslm, translation, project, only_run
):
    translation.rename(project / "mine (1).yaml")
    words = ("--trainer.max_steps", "1", "--data.target_language=zh")
    outcome = lslm("fit", "--config", "mine (1).yaml", *words)
    assert outcome.status == 0, outcome.err
    assert re.fullmatch(r"mine_1_-steps_1-\w{8}", only_run().name), (
        "what is as in the config is not told"
    )


@pytest.mark.parametrize(
    ("given", "half", "used", "line"),
    [
        (
            "auto",
            0.5,
            "bf16-mixed",
            "precision: bf16-mixed (a step takes 50 ms, 100 ms in float32)",
        ),
        ("auto", 4.8, "32-true", "precision: 32-true (a step takes 100 ms, 480 ms in bfloat16)"),
        (
            "bf16-mixed",
            4.8,
            "bf16-mixed",
            "it is slower here (a step takes 480 ms, 100 ms in float32)",
        ),
        ("bf16-mixed", 0.5, "bf16-mixed", None),
        ("32-true", 0.5, "32-true", None),
    ],
)
def test_the_precision_is_told_and_kept(
    lslm, translation, only_run, monkeypatch, given, half, used, line
):
    measured = []

    def measure(task, batch, device):
        measured.append(len(batch.source))
        return StepTimes(0.1, 0.1 * half)

    monkeypatch.setattr("lslm_lightning.experiments.precision_choice.measure_steps", measure)
    outcome = lslm(
        "fit", "--config", translation, "--trainer.precision", given, "--trainer.max_steps", "1"
    )
    assert outcome.status == 0, outcome.err
    assert ("precision: " in outcome.out) == (line is not None)
    assert outcome.out.count(line or "") >= 1
    assert (
        yaml.safe_load((only_run() / "config.yaml").read_text("utf-8"))["trainer"]["precision"]
        == used
    )
    assert len(measured) == (given != "32-true")
    assert "LSLM_PRECISION" not in os.environ, "the next run in this process measures its own model"
    if given == "auto":
        monkeypatch.setattr(
            "lslm_lightning.experiments.precision_choice.measure_steps",
            lambda *_: pytest.fail("measured again"),
        )
        outcome = lslm(
            "resume", only_run(), "--trainer.max_steps", "2", "--trainer.precision", "auto"
        )
        assert outcome.status == 0, outcome.err
        assert (
            yaml.safe_load((only_run() / "config.yaml").read_text("utf-8"))["trainer"]["precision"]
            == used
        )


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
@pytest.mark.parametrize("kept", ["bf16-mixed", "auto", None])
def test_only_a_training_measures_its_precision(command, kept, monkeypatch):
    """There may be no training split to measure with."""
    monkeypatch.setattr(
        "lslm_lightning.experiments.precision_choice.measure_steps",
        lambda *_: pytest.fail("measured"),
    )
    task = SimpleNamespace(backbone="any")
    decided = decided_precision("auto", command, kept, task, None, "cpu")
    assert decided == ("bf16-mixed" if kept == "bf16-mixed" else "32-true")


def test_an_open_max_length_is_bounded_by_the_training_targets(lslm, translation, pairs, only_run):
    """An untrained model, which writes without end, is cut early, in its test and wherever its run
    is used.
    """
    config = yaml.safe_load(translation.read_text("utf-8"))
    del config["model"]["init_args"]["max_length"]
    translation.write_text(yaml.safe_dump(config))
    outcome = lslm(
        "run",
        "--config",
        translation,
        "--trainer.max_steps",
        "1",
        "--trainer.limit_val_batches",
        "0",
    )
    assert outcome.status == 0, outcome.err
    run = RunDirectory(only_run())
    # with </s>
    longest = 1 + max(len(line) for line in (pairs / "train.zh").read_text("utf-8").splitlines())
    limit = -(-longest * 3 // 2)
    assert (
        yaml.safe_load(run.config.read_text("utf-8"))["model"]["init_args"]["max_length"]
        == limit
        < 256
    )
    assert max(p.n_token for p in read_predictions(run.predictions / "test.jsonl")) <= limit
    assert load_run(run.path).task.max_length == limit
    (pairs / "train.zh").rename(pairs / "gone")  # a test needs no training split
    outcome = lslm(
        "test",
        "--config",
        translation,
        "--ckpt_path",
        run.checkpoints / "last.ckpt",
        "--job.name",
        "again",
    )
    (pairs / "gone").rename(pairs / "train.zh")
    assert outcome.status == 0, outcome.err
    [again] = Path("runs/translation").glob("again-*/config.yaml")
    assert yaml.safe_load(again.read_text("utf-8"))["model"]["init_args"]["max_length"] == limit
