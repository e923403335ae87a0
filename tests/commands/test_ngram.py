"""N-gram models by the commands: counted, stopped, resumed, tested, found again, mixed."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from lslm_lightning.ngram.arpa import read_arpa, visible
from lslm_lightning.ngram.counting import NgramCounter
from lslm_lightning.runs import load_run
from lslm_lightning.training import window_data
from tests.commands.conftest import refused
from tests.support.mlflow_models import pyfunc_of

pytestmark = pytest.mark.slow


@pytest.fixture
def config(project, text) -> Path:
    """A model of characters."""
    settings = {
        "model": {
            "class_path": "tasks.language_modeling.ngram.NgramTask",
            "init_args": {"order": 3},
        },
        "data": {
            "class_path": "tasks.language_modeling.data.LanguageModelingData",
            "init_args": {
                "corpus": str(text),
                "tokenizer": {"class_path": "lslm_lightning.text.recipes.Characters"},
            },
        },
        "trainer": {"devices": 1},
    }
    path = project / "three.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def scores(directory: Path) -> dict[str, float]:
    return {
        s["metric"]: s["value"]
        for s in json.loads((directory / "metrics.json").read_text())["scores"]
    }


def test_a_run_is_like_all_others(lslm, config, only_run):
    outcome = lslm("run", "--config", config, "--job.minutes", "30")
    assert outcome.status == 0, outcome.err
    assert "3-gram: " in outcome.out
    directory = only_run()
    assert not (directory / "counts").exists()
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    [run] = client.search_runs([client.get_experiment_by_name("language_modeling").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["model"] == "3-gram"
    assert (
        int(run.data.params["n_parameter"]) == load_run(directory).task.model_info.n_parameter > 0
    )
    assert run.data.metrics["test/bits_per_byte"] == pytest.approx(
        scores(directory)["bits_per_byte"], abs=1e-4
    )
    stored = {
        Path(a.path).name for a in client.list_artifacts(run.info.run_id, "checkpoints/ngram")
    }
    assert stored == {path.name for path in (directory / "checkpoints/ngram").iterdir()}
    again = lslm(
        "test",
        "--config",
        directory / "config.yaml",
        "--ckpt_path",
        directory / "checkpoints/best.ckpt",
    )
    assert again.status == 0, again.err
    [other] = [
        path for path in Path("runs/language_modeling").iterdir() if path.name != directory.name
    ]
    assert scores(other) == scores(directory)
    outcome = lslm("generate", directory, "red ", "--max-length", 5)
    assert outcome.status == 0
    model = pyfunc_of(directory, Path("model"))
    assert model.predict(["red "], {"max_length": 5}) == [outcome.out.removesuffix("\n")]


def test_the_model_as_an_arpa_file_says_the_same(lslm, config, only_run, text):
    assert lslm("fit", "--config", config).status == 0
    directory = only_run()
    outcome = lslm("consolidate", directory)
    assert outcome.status == 0, outcome.err
    task = load_run(directory).task
    read = read_arpa(directory / "checkpoints/best.arpa")
    ids = task.tokenizer.encode((text / "test.txt").read_text())
    [nats] = task.token_nats([[task.tokenizer.eos_id, *ids, task.tokenizer.eos_id]])
    spelled = ["<s>", *(visible(task.tokenizer.entries().get(i, "<unk>")) for i in ids), "</s>"]
    assert "\u2581" in spelled
    row = np.array([read.words.index(word) for word in spelled])
    np.testing.assert_allclose(read.model.log_probs(row)[1:], -nats, rtol=0, atol=1e-5)
    refused(lslm("consolidate", directory, "--output", "a.safetensors"), 1, "must end in .arpa")


def test_tokens_that_look_alike_in_an_arpa_file_stay_apart(lslm, config, only_run, text):
    """A space is written as U+2581, which this text has too."""
    (text / "train.txt").write_text(
        (text / "train.txt").read_text("utf-8") + 200 * "a\u2581b c\n", "utf-8"
    )
    assert lslm("fit", "--config", config).status == 0
    assert lslm("consolidate", only_run()).status == 0
    words = read_arpa(only_run() / "checkpoints/best.arpa").words
    assert len([word for word in words if word.startswith("\u2581")]) == 2
    assert len(set(words)) == len(words)


def test_what_cannot_be_is_refused_in_one_line(lslm, config, only_run):
    refused(
        lslm("run", "--config", config, "--trainer.devices", 2),
        1,
        "NgramTask reads its texts in one process",
        "make 2",
    )
    refused(lslm("run", "--config", config, "--model.order", 0), 1, "order=0 must be at least 1")
    assert lslm("fit", "--config", config).status == 0
    directory = only_run()
    table = directory / "checkpoints/ngram/2.keys.npy"
    content = bytearray(table.read_bytes())
    content[-1] ^= 1
    table.write_bytes(content)
    refused(lslm("generate", directory, "red"), 1, str(table), "damaged")
    table.unlink()
    refused(lslm("generate", directory, "red"), 1, str(table), "missing")


@pytest.mark.parametrize("content", ["", "word"])
def test_a_corpus_of_nothing_or_one_word(lslm, project, config, content):
    (project / "little").mkdir()
    for split in ("train", "val", "test"):
        (project / f"little/{split}.txt").write_text(content)
    outcome = lslm("run", "--config", config, "--data.corpus", project / "little")
    if content.strip():
        assert outcome.status == 0, outcome.err
    else:
        refused(outcome, 1, "train.txt", "is empty")


def test_counting_that_was_stopped_goes_on(lslm, config, only_run, monkeypatch, text):
    (text / "train.txt").unlink()
    documents = [" ".join(["red green", "blue", "cat runs"][i % 3 :]) for i in range(30)]
    (text / "train.jsonl").write_text(
        "".join(json.dumps({"text": document}) + "\n" for document in documents)
    )
    for split in ("val", "test"):
        (text / f"{split}.jsonl").write_text(
            json.dumps({"text": (text / f"{split}.txt").read_text()}) + "\n"
        )
        (text / f"{split}.txt").unlink()
    monkeypatch.setattr(window_data, "PIECE", 50)
    assert lslm("run", "--config", config).status == 0
    straight = only_run()
    added = []

    def add(self, ids):
        added.append(ids)
        before(self, ids)
        if len(added) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    before = NgramCounter.add
    monkeypatch.setattr(NgramCounter, "add", add)
    assert lslm("run", "--config", config, "--job.name", "stopped").status == 130
    [stopped] = Path("runs/language_modeling").glob("stopped-*")
    refused(
        lslm("generate", stopped, "red"),
        1,
        "stopped before its n-grams were counted",
        "lslm resume",
    )
    outcome = lslm("resume", stopped)
    assert outcome.status == 0, outcome.err
    assert scores(stopped) == scores(straight)
    for path in (straight / "checkpoints/ngram").iterdir():
        assert (stopped / "checkpoints/ngram" / path.name).read_bytes() == path.read_bytes()
    assert not (stopped / "counts").exists()


def test_runs_are_mixed_with_weights_of_the_validation_split(lslm, config, project):
    """An n-gram model and one of its words alone; a run with other tokens is refused, and so are
    weights that are none.
    """
    for name, words in (
        ("three", ()),
        ("one", ("--model.order", 1)),
        ("words", ("--data.tokenizer", "lslm_lightning.text.recipes.Words")),
    ):
        assert lslm("run", "--config", config, "--job.name", name, *words).status == 0
    data = yaml.safe_load(config.read_text())["data"]

    def exam(**systems):
        path = project / "mix.yaml"
        task = "tasks.language_modeling.task.LanguageModelingTask"
        mixed = {
            name: {
                "class_path": "lslm_lightning.systems.interpolation.Interpolation",
                "init_args": init,
            }
            for name, init in systems.items()
        }
        path.write_text(
            yaml.safe_dump({"task": task, "data": data, "systems": mixed, "n_resample": 100})
        )
        return path

    runs = [f"runs/language_modeling/{name}-*" for name in ("three", "one", "words")]
    outcome = lslm(
        "evaluate",
        "--config",
        exam(tuned={"runs": runs[:2]}, first={"runs": runs[:2], "weights": [1.0, 0.0]}),
    )
    assert outcome.status == 0, outcome.err
    [folder] = Path("runs/language_modeling").glob("mix-*")
    found = json.loads((folder / "metrics.json").read_text())["systems"]
    values = {
        name: {s["metric"]: s["value"] for s in entry["scores"]} for name, entry in found.items()
    }
    [three] = Path("runs/language_modeling").glob("three-*")
    assert values["first"] == pytest.approx(scores(three))
    assert "three" in found["tuned"]["facts"]["mixture"]
    assert values["tuned"]["perplexity"] <= 1.02 * values["first"]["perplexity"]
    outcome = lslm("evaluate", "--config", exam(other={"runs": [runs[0], runs[2]]}))
    assert outcome.status == 1
    assert (
        "have different tokenizers: only probabilities of the same tokens can be mixed"
        in outcome.err + outcome.out
    )
    refused(
        lslm("evaluate", "--config", exam(wrong={"runs": runs[:2], "weights": [2.0, -1.0]})),
        1,
        "weights=[2.0, -1.0]",
        "add up to 1",
    )
