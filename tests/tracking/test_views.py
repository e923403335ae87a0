"""The view that MLflow opens on an experiment: made of its runs, and left alone once somebody
changes it.
"""

import json
from collections.abc import Mapping
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from lslm_lightning.tracking import Store
from lslm_lightning.tracking.descriptions import DESCRIPTION
from lslm_lightning.tracking.views import (
    TAG,
    differing_parameters,
    envelope,
    headline_of,
    is_lower_better,
    is_ours,
    links,
    ordered_metrics,
    publish,
    state_of,
    view_state,
)


def run(
    metrics: Mapping[str, float] | None = None, params: Mapping[str, str] | None = None, **tags: str
) -> SimpleNamespace:
    """A run as the client returns it."""
    return SimpleNamespace(
        data=SimpleNamespace(metrics=dict(metrics or {}), params=dict(params or {}), tags=tags)
    )


def test_columns_lead_with_the_score_and_with_what_differs_and_end_with_what_all_share() -> None:
    shared = {"n_parameter": "1", "data.train_pairs": "9", "optimizer.lr": "0.1"}
    runs = [
        run(
            {"test/bleu": 1, "test/ter": 2},
            shared | {"backbone.d_model": "64"},
            headline="test/bleu",
        ),
        run(
            {"test/bleu": 2, "test/ter": 1},
            shared | {"data.train_pairs": "8"},
            headline="test/bleu",
        ),
    ]
    names = [name.split("`")[1] for name in view_state(runs)["selectedColumns"]]
    wanted = [
        "test/bleu",
        "interval",
        "backbone.d_model",
        "test/ter",
        "corpus",
        "languages",
        "model",
        "n_parameter",
    ]
    assert names == wanted
    runs[0].data.tags |= {"corpus": "one", "command": "run", "model": "LSTM"}
    runs[1].data.tags |= {"corpus": "other", "command": "evaluate"}
    runs[1].data.params["n_parameter"] = "2"
    names = [name.split("`")[1] for name in view_state(runs)["selectedColumns"]]
    differing = ["corpus", "command", "backbone.d_model", "n_parameter"]
    assert names == ["test/bleu", "interval", *differing, "test/ter", "languages", "model"]


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        ([run({"test/rouge1": 1}, headline="test/rouge1"), run({"test/bleu": 1})], "test/rouge1"),
        ([run({"test/bleu": 1, "test/bleu_deviation": 1, "test/cut_sources": 0})], "test/bleu"),
        ([run({"val/loss": 1}, headline="test/bleu")], "val/loss"),
        ([run({"test/bleu": 1, "test/chrf__": 1}, headline="test/chrf++")], "test/chrf__"),
        ([run({"test/bleu": 1, "test/错误率": 1}, headline="test/错误率")], "test/错误率"),
        ([run({"test/bleu": 1, "test/a_b": 1}, headline="test/a@b")], "test/a_b"),
        ([run({"train/loss": 1})], "val/loss"),
    ],
)
def test_the_headline_is_what_runs_say_or_the_best_that_there_is(runs: list, wanted: str) -> None:
    assert headline_of(runs) == wanted


def test_charts_begin_with_scores_of_tests_and_validations() -> None:
    names = [
        "train/loss",
        "val/loss",
        "val/bleu",
        "val/chrf",
        "test/ter",
        "test/bleu",
        "test/bleu_deviation",
    ]
    runs = [
        run(
            dict.fromkeys([*names, "epoch", "system/cpu", "data/train_pairs"], 1.0),
            headline="test/bleu",
        )
    ]
    wanted = ["test/bleu", "test/ter", "val/bleu", "val/loss", "val/chrf", "train/loss"]
    assert ordered_metrics(runs, "test/bleu") == wanted
    state = view_state(runs)
    charted = [chart["metricKey"] for chart in state["compareRunCharts"] if "metricKey" in chart]
    assert charted == wanted
    sections = [section["name"] for section in state["compareRunSections"]]
    assert sections[:3] == ["test", "settings that differ", "val"]
    untested = view_state([run({"train/loss": 1.0})])["compareRunSections"]
    assert [section["name"] for section in untested][:2] == ["settings that differ", "train"]
    ids = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= ids


def test_a_setting_that_one_run_has_and_another_has_not_differs() -> None:
    runs = [run(params={"a": "1", "same": "1"}), run(params={"same": "1", "b": "2"}), run()]
    assert "test/bleu" in view_state([run({"test/bleu": 1})])["selectedColumns"][0]
    assert differing_parameters(runs) == ["a", "b"]


def test_trainings_do_not_differ_from_evaluations_by_their_settings() -> None:
    trained = {"n_parameter": "9", "task_class": "T", "max_steps": "5", "accelerator": "cpu"}
    runs = [
        run(params={"system": "Checkpoint", "run": "a", "n_parameter": "9", "batch_size": "32"}),
        run(params={"system": "Checkpoint", "run": "b", "n_parameter": "9", "batch_size": "32"}),
        run(params={"split": "test", "n_shot": "0"}),  # of the evaluation itself
        run(params=trained | {"backbone.d_model": "8"}),
        run(params=trained | {"backbone.d_model": "16"}),
    ]
    assert differing_parameters(runs[:3]) == ["run"]
    assert differing_parameters(runs[2:]) == ["backbone.d_model"]
    assert differing_parameters(runs) == ["backbone.d_model", "run"]


def test_runs_of_an_earlier_release_do_not_fill_the_columns() -> None:
    """They have every setting, under its whole name."""
    whole = {
        "model.init_args.backbone.init_args.d_model": "64",
        "trainer.max_steps": "9",
        "seed_everything": "0",
    }
    old = run(params=whole)
    new = run(params={"n_parameter": "1", "backbone.d_model": "64"})
    resumed = run(params=whole | {"n_parameter": "2", "backbone.d_model": "32"})
    assert differing_parameters([old, new, resumed]) == ["backbone.d_model", "seed_everything"]
    assert differing_parameters([old, run(params=whole | {"trainer.max_steps": "8"})]) == [
        "trainer.max_steps"
    ]


def test_the_best_comes_first_whichever_way_the_metric_goes() -> None:
    scores = json.dumps({"wer": {"higher_is_better": False}, "bleu": {"higher_is_better": True}})
    runs = [run(), run(scores="damaged"), run(scores=scores)]
    assert is_lower_better("test/wer", runs)
    assert not is_lower_better("test/bleu", runs)
    assert is_lower_better("val/loss", [])
    renamed = run(scores=json.dumps({"error@5": {"higher_is_better": False}}))
    assert is_lower_better("test/error_5", [run(scores="[]"), renamed])


def test_parents_open_with_their_children() -> None:
    child = run({"test/bleu": 1})
    child.data.tags["mlflow.parentRunId"] = "abc"
    assert view_state([child])["runsExpanded"] == {"abc": True}


def test_a_view_that_somebody_saved_anew_is_left_alone() -> None:
    own = envelope("a", {"searchFilter": ""})
    assert is_ours("")
    assert is_ours(own)
    changed = json.loads(own)
    changed["updatedAt"] += 1
    assert not is_ours(json.dumps(changed))
    assert not is_ours("deflate;abc")
    assert state_of(own) == {"searchFilter": ""}
    assert state_of("damaged") is state_of("{}") is None


def begun() -> tuple[MlflowClient, str]:
    """An experiment with a tested run."""
    client, experiment = Store().open_experiment("toy")
    # as experiments of earlier releases are
    client.delete_experiment_tag(experiment, "mlflow.experimentKind")
    made = client.create_run(experiment, start_time=1_700_000_000_000)
    client.log_metric(made.info.run_id, "test/bleu", 1.0)
    return client, experiment


def test_an_experiment_gets_its_view_kind_and_links(store: object) -> None:
    client, experiment = begun()
    publish(client, experiment)
    tags = client.get_experiment(experiment).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert state_of(tags[TAG])["orderByKey"] == "metrics.`test/bleu`"
    assert len(tags[TAG]) < 20_000
    assert state_of(tags[f"{TAG}-parts"])["orderByKey"] == "attributes.start_time"
    assert all(address in tags[DESCRIPTION] for address in links(experiment).values())
    before = dict(tags)
    publish(client, experiment)
    assert client.get_experiment(experiment).tags == before, "nothing new, nothing written"


def test_what_people_changed_in_an_experiment_stays(store: object) -> None:
    client, experiment = begun()
    publish(client, experiment)
    mine = json.loads(client.get_experiment(experiment).tags[TAG])
    mine["updatedAt"] += 1000
    client.set_experiment_tag(experiment, TAG, json.dumps(mine))
    client.set_experiment_tag(experiment, DESCRIPTION, "For the paper.")
    client.set_experiment_tag(experiment, "mlflow.experimentKind", "finetuning")
    before = client.get_experiment(experiment).tags
    client.log_metric(client.search_runs([experiment])[0].info.run_id, "test/chrf", 1.0)
    publish(client, experiment)
    tags = client.get_experiment(experiment).tags
    assert {name: tags[name] for name in before if tags[name] != before[name]}.keys() == {
        f"{TAG}-parts"
    }


def test_many_runs_with_many_settings_fit() -> None:
    """MLflow takes 20,000 characters."""
    names = [f"{split}/metric_{i}" for split in ("test", "val", "train") for i in range(30)]
    runs = [
        run(dict.fromkeys(names, 1.0), {f"setting_{j}": str(i * j) for j in range(100)})
        for i in range(200)
    ]
    assert len(envelope("a", view_state(runs))) < 20_000
