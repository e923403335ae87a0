"""Pretrained models through the commands of our own: trained, stopped, resumed, used and compared,
when their folder is gone.
"""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from mlflow import MlflowClient
from transformers import GPT2Config, GPT2LMHeadModel, MarianConfig, MarianMTModel

from lslm_lightning.runs import load_run
from lslm_lightning.runs.config import read_config
from lslm_lightning.systems.hugging_face import HuggingFaceSystem
from lslm_lightning.systems.hugging_face_scores import token_nats
from tests import conftest
from tests.commands.compared_runs import config_of, points, same_run
from tests.commands.conftest import refused
from tests.commands.test_processes import SHARDED, ended
from tests.commands.test_resume import StopAt, halves, only
from tests.pretrained.conftest import EOS, PAD, SIDES, save

pytestmark = pytest.mark.slow

WORDS = ["<pad>", "</s>", "<unk>", *conftest.WORDS, *"红绿蓝一二三猫狗鸟跑睡"]
KINDS = {
    "pairs": "encoder_decoder.PretrainedEncoderDecoder",
    "windows": "decoder.PretrainedDecoder",
}


def write(kind: str, tiny: Path) -> Path:
    """A config that trains for seconds, and beside it the folder of the model that it names."""
    folder = tiny.parent / "pretrained"
    path = config_of(kind, tiny)
    torch.manual_seed(0)
    if kind == "pairs":
        ids = {
            "vocab_size": len(WORDS),
            "pad_token_id": PAD,
            "eos_token_id": EOS,
            "decoder_start_token_id": PAD,
        }
        model = MarianMTModel(MarianConfig(**ids, **SIDES, d_model=16, max_position_embeddings=64))
    else:
        sizes = {"n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=len(WORDS), bos_token_id=EOS, eos_token_id=EOS, **sizes)
        )
    save(model, folder, kind == "pairs", WORDS)
    spec = yaml.safe_load(path.read_text())
    backbone = {
        "class_path": f"lslm_lightning.pretrained.{KINDS[kind]}",
        "init_args": {"path": str(folder)},
    }
    spec["model"]["init_args"]["backbone"] = backbone
    spec["data"]["init_args"]["tokenizer"] = {
        "class_path": "lslm_lightning.text.hugging_face.HuggingFaceTokenizer",
        "init_args": {"path": str(folder)},
    }
    if kind == "pairs":
        spec["data"]["init_args"] |= {"max_source_length": 40, "max_target_length": 40}
    path.write_text(yaml.safe_dump(spec))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_needs_its_folder_no_more(kind, lslm, translation, project, monkeypatch):
    """Stopped half-way it ends as if nothing had happened, though the folder is gone."""
    monkeypatch.setattr(StopAt, "done", False)
    path = write(kind, translation)
    assert lslm("run", "--config", path, "--job.name=straight").status == 0
    stopped = halves(lslm, path, "stopped")
    (project / "pretrained").rename(project / "elsewhere")
    outcome = lslm("resume", stopped)
    assert outcome.status == 0, outcome.err
    same_run(only("straight-*"), stopped)
    used = lslm("generate", stopped, "red green")
    assert used.status == 0, used.err
    directory = load_run(stopped).directory
    run_id = directory.run_id
    settled = read_config(directory.config)["model"]["init_args"]["backbone"]["init_args"]["config"]
    assert settled["vocab_size"] == len(WORDS)
    params = MlflowClient(f"sqlite:///{project}/mlflow.db").get_run(run_id).data.params
    assert params["backbone.path"].endswith("pretrained")
    assert len(params) < 40, "what the folder says of the network stays in config.yaml"
    shutil.rmtree(stopped)
    again = load_run(run_id)  # from MLflow
    assert again.task.backbone.has_weights
    assert again.tokenizer.digest == again.task.backbone.tokenizer_digest


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("kind", "layout"), [("pairs", ("--trainer.strategy=ddp",)), ("windows", SHARDED)]
)
def test_two_processes_train_as_one(kind, layout, lslm, together, translation, project):
    """Whole on both, or in parts, layer by layer; what was trained in parts is used as a whole when
    the folder is gone.
    """
    path = write(kind, translation)
    words = ("--trainer.max_steps=6", "--job.average=1")
    assert lslm("run", "--config", path, *words, "--job.name=one").status == 0
    two = (
        "--trainer.devices=2",
        "--trainer.accumulate_grad_batches=1",
        "--trainer.val_check_interval=6",
        "--job.name=two",
    )
    ended(together("run", "--config", path, *words, *layout, *two))
    shutil.rmtree(project / "pretrained")
    one, two = (
        {k: [v for _, v in found] for k, found in points(only(f"{name}-*")).items()}
        for name in ("one", "two")
    )
    assert two["val/loss"] == pytest.approx(one["val/loss"], rel=1e-5)
    weights = [load_run(only(f"{name}-*")).task.state_dict() for name in ("one", "two")]
    assert all(
        torch.allclose(weight, weights[1][name], atol=1e-5) for name, weight in weights[0].items()
    )


def test_training_begins_with_the_weights_of_the_folder(lslm, translation, project):
    """A step of no size leaves the model as the system of the same folder has it."""
    path = write("windows", translation)
    still = ("--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr=0.0", "--job.average=1")
    outcome = lslm(
        "run", "--config", path, *still, "--trainer.max_steps=2", "--trainer.val_check_interval=2"
    )
    assert outcome.status == 0, outcome.err
    task = load_run(only("windows-*")).task
    system = HuggingFaceSystem(str(project / "pretrained"), context=16)
    row = [EOS, *range(3, 20), EOS]
    expected, _ = token_nats(system.loaded.model, row, 16, 16)
    assert task.token_nats([row])[0] == pytest.approx(expected, rel=1e-5)


def test_beside_one_of_our_own(lslm, translation, project):
    """One evaluation of a fine-tuned model, the folder itself, and a Transformer trained from
    scratch.
    """
    quick = ("--trainer.max_steps=4", "--trainer.val_check_interval=4")
    assert lslm("run", "--config", translation, "--job.name=ours").status == 0
    assert (
        lslm("run", "--config", write("pairs", translation), *quick, "--job.name=tuned").status == 0
    )
    ours = only("ours-*")
    tuned = only("tuned-*")
    spec = yaml.safe_load(translation.read_text())
    data = {
        name: spec["data"]["init_args"][name]
        for name in ("corpus", "source_language", "target_language")
    }
    checkpoint = "lslm_lightning.systems.checkpoint.Checkpoint"
    folder = {
        "class_path": "lslm_lightning.systems.hugging_face.HuggingFaceSystem",
        "init_args": {"path": "pretrained", "max_new_tokens": 20},
    }
    systems = {
        run.name: {"class_path": checkpoint, "init_args": {"run": str(run)}}
        for run in (ours, tuned)
    } | {"as_it_was": folder}
    exam = {
        "task": spec["model"]["class_path"],
        "data": {"class_path": spec["data"]["class_path"], "init_args": data},
    }
    (project / "evaluation.yaml").write_text(
        yaml.safe_dump(exam | {"systems": systems, "n_resample": 100})
    )
    outcome = lslm("evaluate", "--config", "evaluation.yaml")
    assert outcome.status == 0, outcome.err
    assert all(name in outcome.out for name in ("ours", "tuned", "as_it_was"))
    outcome = lslm("compare", ours, tuned, "--n-resample", 100)
    assert outcome.status == 0, outcome.err
    [page] = Path("runs/translation").glob("compare-*/report/index.html")
    assert "PretrainedEncoderDecoder" in page.read_text("utf-8")


def test_what_cannot_be_fine_tuned_is_one_line(lslm, translation, project):
    path = write("pairs", translation)
    assert path.exists()
    for words, said in [
        (
            ["--model.backbone.path", "nobody/nothing"],
            ["nobody/nothing is no model that can be used"],
        ),
        (
            ["--model.backbone", "lslm_lightning.pretrained.decoder.PretrainedDecoder"],
            ["a marian has an encoder"],
        ),
        (
            ["--data.tokenizer", "lslm_lightning.text.recipes.Characters"],
            ["its own tokenizer", "text.hugging_face.HuggingFaceTokenizer"],
        ),
        (["--model.max_length=100"], ["max_length=64", "101 tokens"]),
    ]:
        refused(lslm("fit", "--config", path, *words), 1, *said)
    (project / "pretrained/tokenizer.json").unlink()
    (project / "pretrained/tokenizer_config.json").unlink()
    refused(lslm("fit", "--config", path), 1, "pretrained has no tokenizer that can be used")
    assert not Path("runs/translation").exists() or not list(Path("runs/translation").iterdir())
