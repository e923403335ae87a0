"""Metrics of torchmetrics that YAML names score validation, test and evaluation alike."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from torchmetrics.text import CharErrorRate

from lslm_lightning import score
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.experiments.finished_runs import extra_metrics, metrics_of_spec
from lslm_lightning.runs import load_run
from lslm_lightning.runs.trust import only_trusted
from tasks.translation.data import TranslationData
from tests.support.bert import write_bert

CHRF = {"class_path": "torchmetrics.text.CHRFScore", "init_args": {"n_word_order": 0}}
CER = {"class_path": "torchmetrics.text.CharErrorRate"}
NAMES = ["CHRFScore", "CharErrorRate", *(f"BERTScore_{n}" for n in ("precision", "recall", "f1"))]


def scores_of(record: list[dict]) -> dict[str, dict]:
    by_name = {score["metric"]: score for score in record}
    return {name: by_name[name] for name in NAMES if name in by_name}


@pytest.fixture
def bert(project, pairs):
    """A learned metric, of which no page of the internet knows."""
    folder = write_bert(project / "bert", (pairs / "train.zh").read_text("utf-8"))
    settings = {"model_name_or_path": folder, "num_layers": 2, "max_length": 32, "truncation": True}
    return {"class_path": "torchmetrics.text.BERTScore", "init_args": settings}


@pytest.fixture
def run(lslm, translation, only_run, bert):
    """A run whose task has extra metrics."""
    config = yaml.safe_load(translation.read_text())
    config["model"]["init_args"]["extra_metrics"] = [CHRF, CER, bert]
    translation.write_text(yaml.safe_dump(config))
    outcome = lslm("run", "--config", translation)
    assert outcome.status == 0, outcome.err
    return only_run()


@pytest.mark.slow
def test_a_run_and_an_evaluation_score_alike(lslm, run, pairs, project, bert):
    logged = {json.loads(line)["name"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    assert {f"val/{name}" for name in NAMES} <= logged
    tested = scores_of(json.loads((run / "metrics.json").read_text())["scores"])
    assert list(tested) == NAMES

    loaded = load_run(str(run))
    assert loaded.task.extra_metrics == [], "what answers needs none"
    outputs = {p.id: p.output for p in read_predictions(run / "predictions/test.jsonl")}
    examples = TranslationData(str(pairs), source_language="en", target_language="zh").examples(
        "test"
    )
    theirs = CharErrorRate()
    theirs.update([outputs[e.id] for e in examples], [e.references[0] for e in examples])
    assert tested["CharErrorRate"]["value"] == pytest.approx(float(theirs.compute()), rel=1e-5)

    data = {"corpus": str(pairs), "source_language": "en", "target_language": "zh"}
    config = {
        "task": "tasks.translation.task.TranslationTask",
        "data": {"class_path": "tasks.translation.data.TranslationData", "init_args": data},
        "metrics": [CHRF, CER, bert, {"class_path": "lslm_lightning.metrics.bleu.Chrf"}],
        "n_resample": 1000,
        "systems": {
            "run": {
                "class_path": "lslm_lightning.systems.checkpoint.Checkpoint",
                "init_args": {"run": str(run)},
            },
            "copy": {"class_path": "lslm_lightning.systems.baselines.CopySource"},
        },
    }
    (project / "evaluation.yaml").write_text(yaml.safe_dump(config))
    outcome = lslm("evaluate", "--config", project / "evaluation.yaml")
    assert outcome.status == 0, outcome.err
    [path] = Path("runs/translation").glob("evaluation-*/metrics.json")
    found = json.loads(path.read_text())
    evaluated = scores_of(found["systems"]["run"]["scores"])
    for name in NAMES:
        for key in ("value", "signature", "higher_is_better", "n_example"):
            assert evaluated[name][key] == tested[name][key]
        assert evaluated[name]["low"] == pytest.approx(tested[name]["low"])
    assert {pair["metric"] for pair in found["pairs"]} >= set(NAMES)

    config["metrics"] = [{"class_path": "torchmetrics.text.Perplexity"}]
    (project / "evaluation.yaml").write_text(yaml.safe_dump(config))
    outcome = lslm("evaluate", "--config", project / "evaluation.yaml")
    assert outcome.status != 0
    assert "torchmetrics.text.Perplexity reads logits" in outcome.err


@pytest.mark.slow
def test_texts_are_scored_from_python_as_by_the_command(lslm, pairs, project):
    bleu = {"class_path": "lslm_lightning.metrics.bleu.Bleu", "init_args": {"language": "zh"}}
    references = (pairs / "test.zh").read_text("utf-8").splitlines()
    outputs = [text[1:] or "不" for text in references]
    (project / "outputs.txt").write_text("".join(f"{text}\n" for text in outputs), "utf-8")
    config = {
        "task": "tasks.translation.task.TranslationTask",
        "data": {
            "class_path": "tasks.translation.data.TranslationData",
            "init_args": {"corpus": str(pairs), "source_language": "en", "target_language": "zh"},
        },
        "metrics": [bleu, CHRF, CER],
        "n_resample": 50,
        "systems": {
            "ours": {
                "class_path": "lslm_lightning.systems.outputs.Outputs",
                "init_args": {"path": "outputs.txt"},
            }
        },
    }
    (project / "evaluation.yaml").write_text(yaml.safe_dump(config))
    outcome = lslm("evaluate", "--config", project / "evaluation.yaml")
    assert outcome.status == 0, outcome.err
    [path] = Path("runs/translation").glob("evaluation-*/metrics.json")
    by_command = json.loads(path.read_text())["systems"]["ours"]["scores"]
    by_call = score(outputs, references, ["bleu", CHRF, CER], language="zh", n_resample=50)
    assert [asdict(each) for each in by_call.scores] == by_command


def test_runs_are_compared_by_the_extra_metrics_that_they_share():
    def finished(*specs):
        settings = {"init_args": {"extra_metrics": list(specs)}} if specs else {}
        return SimpleNamespace(config={"model": settings})

    shared = extra_metrics([finished(CHRF, CER), finished(CER, CHRF)])
    assert [metric.name for metric in shared] == NAMES[:2]
    assert [metric.name for metric in extra_metrics([finished(CHRF, CER), finished(CER)])] == [
        "CharErrorRate"
    ]
    assert extra_metrics([finished(CER), finished()]) == []
    named = finished({"class_path": "os.system", "init_args": {"command": "true"}})
    with pytest.raises(ValueError, match=r"os\.system.* --trust"):
        extra_metrics([named, named])


def test_a_metric_is_imported_under_the_same_check_as_every_class():
    """Also where nothing looked at the config before."""
    by_name = "lslm_lightning.evaluation.texts.metrics_at"
    for path in ("os.system", by_name):
        with only_trusted(training=True), pytest.raises(ValueError, match=rf"{path}.* --trust"):
            metrics_of_spec({"class_path": path, "init_args": {"class_path": "os.system"}})
