"""`lslm sweep`: variants are trained once, resumed, reported together; mistakes are told in one
line.
"""

import json
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from lslm_lightning.__main__ import main
from lslm_lightning.experiments import sweep as module
from lslm_lightning.experiments.variants import read_sweep
from lslm_lightning.runs.config import read_config
from tests.commands.compared_runs import config_of
from tests.commands.conftest import refused
from tests.commands.test_pretrained import KINDS, write

pytestmark = pytest.mark.slow

NGRAM = {"class_path": "tasks.language_modeling.ngram.NgramTask"}
COPY = {"class_path": "lslm_lightning.systems.baselines.CopySource"}


OWN_NETWORK = """from lslm_lightning.models.transformer import Transformer


class OwnNetwork(Transformer):
    pass
"""


@pytest.fixture
def variants(translation, project):
    """Write the config of a sweep over the tiny translation config; keywords add keys."""

    def write(given: dict, **more: object) -> Path:
        path = project / "steps.yaml"
        path.write_text(
            yaml.safe_dump(
                {"base": yaml.safe_load(translation.read_text()), "variants": given, **more},
                sort_keys=False,
            )
        )
        return path

    return write


@pytest.fixture
def trained(lslm, monkeypatch) -> list[list[str]]:
    """Commands that a sweep gives; they are done in this process."""
    given: list[list[str]] = []

    def run(command, environment):
        given.append(command[3:])
        return main(command[3:])

    monkeypatch.setattr(module, "run_to_its_end", run)
    return given


def page() -> str:
    [path] = Path("runs/translation").glob("steps-*/evaluation.yaml")
    return (path.parent / "report/index.html").read_text()


def systems() -> dict:
    [path] = Path("runs/translation").glob("steps-*/evaluation.yaml")
    return json.loads((path.parent / "metrics.json").read_text())["systems"]


def test_variants_are_trained_once_and_stand_on_one_page(lslm, variants, trained, monkeypatch):
    given = {"copy": COPY, "small": None, "deep": {"model.backbone.n_encoder_layer": 2}}
    config = variants(given)
    outcome = lslm("sweep", "--config", config)
    assert outcome.status == 0, outcome.err
    found = systems()
    assert list(found) == ["copy", "small", "deep"]
    for name in ("small", "deep"):
        [directory] = Path("runs/translation").glob(f"steps-{name}-*")
        own = {
            s["metric"]: s["value"]
            for s in json.loads((directory / "metrics.json").read_text())["scores"]
        }
        assert {s["metric"]: s["value"] for s in found[name]["scores"]} == pytest.approx(own)
        layers = read_config(directory / "config.yaml")["model"]["init_args"]["backbone"][
            "init_args"
        ]["n_encoder_layer"]
        assert layers == (2 if name == "deep" else 1)
    assert all(name in page() for name in found)
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    runs = client.search_runs([client.get_experiment_by_name("translation").experiment_id])
    [parent] = [run for run in runs if run.data.tags.get("command") == "sweep"]
    assert parent.info.status == "FINISHED"
    children = [
        run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    ]
    assert len(children) == 2 + 3, "two trainings, three systems in the evaluation"

    assert len(trained) == 2
    [answered] = Path("runs/translation").glob("steps-*/predictions/small-*.jsonl")
    [own] = Path("runs/translation").glob("steps-small-*/predictions/test.jsonl")
    assert answered.read_bytes() == own.read_bytes(), (
        "what it answered in its own test is not asked again"
    )
    assert lslm("sweep", "--config", config).status == 0
    assert len(trained) == 2, "what is finished is not trained again"
    Path("own_network.py").write_text(OWN_NETWORK)
    monkeypatch.syspath_prepend(Path.cwd())
    more = variants(
        {
            "copy": COPY,
            "small": None,
            "deep": {"model.backbone.n_encoder_layer": 2},
            "own": {"model.backbone": "own_network.OwnNetwork"},
        }
    )
    assert lslm("sweep", "--config", more).status == 0
    assert len(trained) == 3, "a variant that is added is trained"
    assert list(systems()) == ["copy", "small", "deep", "own"]
    assert systems()["own"]["scores"], "a class that the config names is trusted"


def test_what_was_under_way_is_resumed_and_what_fails_leaves_the_others(lslm, variants, trained):
    config = variants({"good": None, "bad": {"model.label_smoothing": 2}})
    outcome = lslm("sweep", "--config", config, "--only", "bad")
    assert outcome.status == 1
    assert "no run was finished" in outcome.err.splitlines()[-1]
    outcome = lslm("sweep", "--config", config)
    assert outcome.status == 1
    assert "1 of 2 runs failed: bad" in outcome.err
    assert list(systems()) == ["good"]
    [directory] = Path("runs/translation").glob("steps-good-*")
    record = json.loads((directory / "mlflow.json").read_text())
    (directory / "mlflow.json").write_text(json.dumps(record | {"status": "KILLED"}))
    (directory / "metrics.json").unlink()
    trained.clear()
    assert lslm("sweep", "--config", config, "--only", "good").status == 0
    assert trained == [["resume", str(directory)]]


def test_networks_of_equal_size(lslm, variants, trained):
    lstm = {
        "class_path": "lslm_lightning.models.recurrent.LSTM",
        "init_args": {"n_encoder_layer": 1, "n_decoder_layer": 1},
    }
    config = variants(
        {"lstm": {"model": {"init_args": {"backbone": lstm}}}, "transformer": None},
        parameters=40_000,
    )
    assert lslm("sweep", "--config", config).status == 0
    sizes = {name: entry["facts"]["n_parameter"] for name, entry in systems().items()}
    for name, size in sizes.items():
        [directory] = Path("runs/translation").glob(f"steps-{name}-*")
        width = read_config(directory / "config.yaml")["model"]["init_args"]["backbone"][
            "init_args"
        ]["d_model"]
        assert width % 16 == 0
        assert 0.5 < size / 40_000 < 1.6, sizes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"variants": {}}, ["is no config of a sweep", "`variants`"]),
        (
            {"variant": {"a": None}, "variants": {"a": None}},
            ["'variant' is not known", "did you mean 'variants'"],
        ),
        ({"variants": {"a": 3}}, ["variant a must be settings"]),
        ({"variants": {"a/b": None}}, ["variant='a/b'"]),
        ({"variants": {"copy": COPY}}, ["none of the `variants` is trained", "lslm evaluate"]),
        ({"variants": {"a": None}, "parameters": "many"}, ["parameters='many' must be a number"]),
        ({"base": 3, "variants": {"a": None}}, ["base must be settings"]),
        ({"variants": {"a": {1: 2}}}, ["variant a must be settings"]),
    ],
)
def test_what_is_no_sweep_is_refused(lslm, project, content, words):
    path = project / "wrong.yaml"
    path.write_text(yaml.safe_dump(content))
    refused(lslm("sweep", "--config", path), 2, *words)
    refused(lslm("sweep", "--config", project / "none.yaml"), 2, "none.yaml", "does not exist")
    assert not Path("runs").exists()


def test_an_unknown_variant_is_refused(lslm, variants):
    refused(
        lslm("sweep", "--config", variants({"small": None}), "--only", "smal"),
        2,
        "--only smal",
        "small",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_pretrained_network_is_a_variant_beside_our_own(
    kind, lslm, trained, translation, project
):
    """Each has its own tokenizer, in one evaluation."""
    configs = {
        name: yaml.safe_load(make(kind, translation).read_text())
        for name, make in (("ours", config_of), ("tuned", write))
    }
    for config in configs.values():
        config["trainer"] |= {"max_steps": 4, "val_check_interval": 4}
        config["job"] = config.get("job", {}) | {"average": 1}
    path = project / "beside.yaml"
    path.write_text(yaml.safe_dump({"variants": configs}, sort_keys=False))
    outcome = lslm("sweep", "--config", path)
    assert outcome.status == 0, outcome.err
    [folder] = [found.parent for found in Path("runs").glob("*/beside-*/evaluation.yaml")]
    found = json.loads((folder / "metrics.json").read_text())
    assert list(found["systems"]) == ["ours", "tuned"]
    assert all(
        not entry["reason"] and entry["facts"]["n_parameter"] for entry in found["systems"].values()
    )
    ranked = {(p["first"], p["second"]) for p in found["pairs"] if p["metric"] == found["headline"]}
    assert ranked == ({("ours", "tuned")} if kind == "pairs" else set()), (
        "words between spaces do not tell how many bytes they are"
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"copy": {"class_path": "lslm_lightning.systems.baselines.CopySorce"}, "small": None},
            ["CopySorce", "did you mean", "CopySource"],
        ),
        (
            {"small": None, "wrong": {"model": {"init_args": {"label_smothing": 0.1}}}},
            ["variant wrong", "label_smothing"],
        ),
        ({"small": None, "seeds": {"job.seeds": 2}}, ["variant seeds", "job.seeds=2 must be 1"]),
        (
            {
                "small": None,
                "text": {"model": {"class_path": "tasks.language_modeling.ngram.NgramTask"}},
            },
            ["of one task", "text is of language_modeling"],
        ),
        (
            {"small": None, "back": {"data.source_language": "zh", "data.target_language": "en"}},
            [
                "variants small and back have different test sets (en-zh and zh-en)",
                "a sweep each",
            ],
        ),
        (
            {"small": None, "same": {"data.source_language": "zh"}},
            ["variants small and same have different test sets (en-zh and zh)"],
        ),
    ],
)
def test_what_is_wrong_in_any_variant_is_said_before_the_first_is_trained(
    lslm, variants, trained, given, words
):
    refused(lslm("sweep", "--config", variants(given)), 2, *words)
    assert not trained


def test_other_data_are_trained_on_and_answered_anew(lslm, variants, trained, pairs):
    config = variants({"copy": COPY, "small": None})
    assert lslm("sweep", "--config", config).status == 0
    for side in ("en", "zh"):
        lines = (pairs / f"test.{side}").read_text("utf-8").splitlines()
        (pairs / f"test.{side}").write_text(
            "".join(f"{line} {line}\n" for line in lines[:-1]), "utf-8"
        )
    assert lslm("sweep", "--config", config).status == 0
    assert len(trained) == 2, "the run of the other data is no run of these"
    folders = sorted(
        Path("runs/translation").glob("steps-*/evaluation.yaml"),
        key=lambda path: path.stat().st_mtime,
    )
    first, second = (json.loads((path.parent / "metrics.json").read_text()) for path in folders)
    assert first["data"]["digest"] != second["data"]["digest"]
    assert [s["n_example"] for s in second["systems"]["copy"]["scores"]] == [len(lines) - 1] * len(
        second["systems"]["copy"]["scores"]
    )


def test_widths_suit_the_heads_and_a_size_that_no_width_has_fails_the_variant(
    lslm, variants, monkeypatch
):
    given = {}

    def refuse(command, environment):
        [width] = [word for word in command if word.startswith("--model.backbone.d_model=")]
        [name] = [word for word in command if word.startswith("--job.name=")]
        given[name.split("-")[3]] = int(width.partition("=")[2])
        return 1

    monkeypatch.setattr(module, "run_to_its_end", refuse)
    # wants an even width of each head
    rotary = {"model.backbone.position": "lslm_lightning.models.positions.Rotary"}
    config = variants(
        {"three": {"model.backbone.n_head": 3}, "many": {"model.backbone.n_head": 16} | rotary},
        parameters=60_000,
    )
    assert lslm("sweep", "--config", config).status == 1
    assert given.keys() == {"three", "many"}
    assert given["three"] % 48 == given["many"] % 32 == 0
    outcome = lslm("sweep", "--config", variants({"huge": None}, parameters=1e15))
    assert outcome.status == 1
    assert "parameters=1,000,000,000,000,000 is more than this network has" in outcome.err


@pytest.mark.parametrize(
    ("change", "is_own"),
    [
        ({}, True),
        ({"trainer": {"max_steps": 99}}, False),
        ({"model": {"optimizer": {"init_args": {"lr": 0.5}}}}, False),
        ({"model": {"label_smoothing": 0.3}}, False),
        ({"trainer": {"devices": 2}}, True),
    ],
)
def test_a_run_resumed_with_other_settings_is_not_the_variants(change, is_own, variants):
    sweep = module.Sweep(read_sweep(variants({"small": None})), "steps", Path("runs"), [])
    runs = sweep.runs
    config = json.loads(json.dumps(sweep.configs["small"]))
    config["trainer"] |= change.get("trainer", {})
    own = config["model"]["init_args"]
    for name, value in change.get("model", {}).items():
        if isinstance(value, dict):
            own[name]["init_args"] |= value["init_args"]
        else:
            own[name] = value
    run = runs.folder / f"{runs.job_name('small')}-0123abcd"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert runs.directories("small") == ([run] if is_own else [])


def test_the_old_words_are_accepted_and_the_new_ones_named(lslm, project):
    path = project / "old.yaml"
    path.write_text(yaml.safe_dump({"rungs": {"a": 3}}))
    told = lslm("ladder", "--config", path)
    assert told.status == 2
    assert "variant a must be settings" in told.err.splitlines()[-1]
    assert "`lslm ladder` is called `lslm sweep` now" in told.err
    assert told.err.count("`rungs` is called `variants` now") == 1
