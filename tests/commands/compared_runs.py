"""Comparison of a disturbed run with an undisturbed one."""

import json
from collections import Counter
from pathlib import Path

import torch
import yaml
from mlflow import MlflowClient

from lslm_lightning.tracking.names import mlflow_name
from tests.support import question_corpus
from tests.support.tone_corpus import write_spoken

STEPS = 30
SETTINGS = {
    "max_steps": STEPS,
    "val_check_interval": 12,
    "log_every_n_steps": 5,
    "accumulate_grad_batches": 2,
    "enable_progress_bar": False,
}


def config_of(kind: str, tiny: Path) -> Path:
    """A config that trains for seconds, saves often, and accumulates gradients, with dropout.

    Args:
        kind: "pairs"; "windows", "rows" in order, or a "stream" of text; "spans" of passages;
            "recordings".
        tiny: that of a translation; files are made beside it.
    """
    project = tiny.parent
    spec = yaml.safe_load(tiny.read_text())
    spec["trainer"] |= SETTINGS
    spec["job"] = {"save_every_steps": 3, "average": 2}
    spec["model"]["init_args"]["backbone"]["init_args"]["dropout"] = 0.2
    if kind in ("windows", "rows", "stream"):
        for split in ("train", "val", "test"):
            (project / f"{split}.txt").write_text(
                "red green blue one two three " * (90 if split == "train" else 4)
            )
        spec["model"] = {
            "class_path": "tasks.language_modeling.task.LanguageModelingTask",
            "init_args": {"context": 16, "backbone": spec["model"]["init_args"]["backbone"]},
        }
        spec["model"]["init_args"]["backbone"]["init_args"]["n_encoder_layer"] = 0
        init = {
            "corpus": str(project),
            "tokenizer": spec["data"]["init_args"]["tokenizer"],
            "batch_size": 3,
        }
        spec["data"] = {
            "class_path": "tasks.language_modeling.data.LanguageModelingData",
            "init_args": init,
        }
    if kind == "rows":
        backbone = {"d_model": 16, "n_encoder_layer": 0, "n_decoder_layer": 2, "dropout": 0.2}
        spec["model"]["init_args"]["backbone"] = {
            "class_path": "lslm_lightning.models.recurrent.LSTM",
            "init_args": backbone,
        }
        spec["data"]["init_args"]["contiguous"] = True
    if kind == "stream":
        (project / "shards").mkdir()
        for i in range(3):
            texts = [
                " ".join(
                    f"{word}{(i * j) % 7}" for word in ("red", "green", "一二", "blue")[: 1 + j % 4]
                )
                for j in range(60)
            ]
            (project / f"shards/{i}.txt").write_text("\n".join(texts) + "\n")
        stream = {
            "class_path": "lslm_lightning.data.stream.Stream",
            "init_args": {"path": f"{project}/shards/*.txt"},
        }
        spec["data"]["init_args"] |= {"stream": stream, "n_lane": 4, "buffer": 8}
    if kind == "spans":
        sizes = {"max_length": 40, "stride": 8, "max_question_length": 10}
        backbone = spec["model"]["init_args"]["backbone"]
        backbone["init_args"]["n_decoder_layer"] = 0
        spec["model"] = {
            "class_path": "tasks.question_answering.extractive.task.SpanTask",
            "init_args": {"backbone": backbone, **sizes},
        }
        init = {
            "corpus": str(question_corpus.write(project / "questions", n=90)),
            "max_tokens": 300,
            "n_validation_example": 12,
        }
        spec["data"] = {
            "class_path": "tasks.question_answering.extractive.data.SpanData",
            "init_args": init,
        }
        init["tokenizer"] = {"class_path": "lslm_lightning.text.recipes.Words"}
    if kind == "recordings":
        write_spoken(project / "spoken")
        front_end = {
            "class_path": "lslm_lightning.audio.front_end.Waveforms",
            "init_args": {"sample_rate_hz": 8000, "n_mel": 20},
        }
        subsampling = {
            "class_path": "lslm_lightning.models.subsampling.Subsampling",
            "init_args": {"stride": 2, "n_channel": 4},
        }
        search = {"class_path": "lslm_lightning.decoding.CtcGreedy"}
        own = {
            "front_end": front_end,
            "subsampling": subsampling,
            "ctc_weight": 0.5,
            "tempo": 0.1,
            "search": search,
        }
        backbone = spec["model"]["init_args"]["backbone"]
        spec["model"] = {
            "class_path": "tasks.speech_recognition.task.SpeechRecognitionTask",
            "init_args": own | {"backbone": backbone},
        }
        init = {
            "corpus": str(project / "spoken"),
            "tokenizer": spec["data"]["init_args"]["tokenizer"],
            "max_frames": 300,
        }
        spec["data"] = {"class_path": "tasks.speech_recognition.data.SpeechData", "init_args": init}
    path = project / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def points(run: Path) -> dict[str, list]:
    """Return (step, value) of each metric that does not depend on the clock, as they were
    written.
    """
    found: dict[str, list] = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if not row["name"].startswith(("system/", "epoch")) and "per_second" not in row["name"]:
            found.setdefault(row["name"], []).append((row["step"], row["value"]))
    return found


def same_state(first: Path, second: Path) -> None:
    one, two = (torch.load(path, weights_only=True) for path in (first, second))
    assert one["global_step"] == two["global_step"], (
        f"{first.name}: steps {one['global_step']} and {two['global_step']}"
    )
    others = [
        name
        for name in one["state_dict"]
        if not torch.equal(one["state_dict"][name], two["state_dict"][name])
    ]
    assert not others, f"{first.name}: {len(others)} weights are others, {others[0]} is one"


def same_run(straight: Path, resumed: Path, store: str | None = None) -> None:
    """Weights, curves, scores, and what MLflow, by default this project's own, has of the curves of
    the second.
    """
    for name in ("last.ckpt", "best.ckpt"):
        same_state(straight / "checkpoints" / name, resumed / "checkpoints" / name)
    expected = points(straight)
    found = points(resumed)
    others = [
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    ]
    assert not others, (
        f"curves differ: {[(name, expected.get(name), found.get(name)) for name in others][:2]}"
    )
    scores = [
        json.loads((run / "metrics.json").read_text())["scores"] for run in (straight, resumed)
    ]
    assert scores[0] == scores[1], f"scores differ: {scores}"
    client = MlflowClient(store or f"sqlite:///{Path('mlflow.db').absolute()}")
    run_id = json.loads((resumed / "mlflow.json").read_text())["run_id"]
    assert (status := client.get_run(run_id).info.status) == "FINISHED", status
    for name, own in expected.items():
        assert sorted((m.step, m.value) for m in client.get_metric_history(run_id, name)) == sorted(
            own
        ), name


def only(pattern: str) -> Path:
    [path] = Path("runs").glob(f"*/{pattern}")
    return path


def delivered(run: Path, store: str) -> dict[str, int]:
    """Points that the run has on disk, and how many of these MLflow lacks, or has that are not
    there or more than once.
    """
    run_id = json.loads((run / "mlflow.json").read_text())["run_id"]
    client = MlflowClient(store)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = {"points": len(rows), "missing": 0, "doubled": 0}
    for name in {row["name"] for row in rows}:
        own = Counter((row["step"], row["value"]) for row in rows if row["name"] == name)
        there = Counter(
            (m.step, m.value) for m in client.get_metric_history(run_id, mlflow_name(name))
        )
        found["missing"] += (own - there).total()
        found["doubled"] += (there - own).total()
    return found
