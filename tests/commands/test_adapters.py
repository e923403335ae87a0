"""Adapters through the commands: trained, stopped, resumed, saved for peft, planned and refused."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from lslm_lightning.adapters.low_rank import BASE, is_of_adapter
from lslm_lightning.runs import load_run
from tests.commands.compared_runs import config_of, points, same_run
from tests.commands.conftest import refused
from tests.commands.test_pretrained import write
from tests.commands.test_processes import SHARDED, TENSOR, ended
from tests.commands.test_resume import StopAt, halves, only

pytestmark = pytest.mark.slow

LORA = "lslm_lightning.adapters.LoRA"
DORA = "lslm_lightning.adapters.DoRA"


def adapted(path: Path, kind: str = LORA, **settings: object) -> Path:
    """Write the config of `path` with an adapter beside it."""
    spec = yaml.safe_load(path.read_text())
    given = {"rank": 2, "targets": ["query", "value", "output"], **settings}
    spec["model"]["init_args"]["adapter"] = {"class_path": kind, "init_args": given}
    spec["model"]["init_args"]["optimizer"] = {
        "class_path": "torch.optim.AdamW",
        "init_args": {"lr": 0.02},
    }
    new = path.with_name(f"adapted_{path.name}")
    new.write_text(yaml.safe_dump(spec))
    return new


def in_base(weights: dict) -> dict:
    """Return the weights that a base has, under its names."""
    return {
        name.replace(f".{BASE}.", "."): weight
        for name, weight in weights.items()
        if not is_of_adapter(name)
    }


def same(one: dict, two: dict) -> None:
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


@pytest.fixture
def base(lslm, translation) -> Path:
    """Return the directory of a trained run of a network of our own."""
    path = config_of("windows", translation)
    quick = ("--trainer.max_steps=6", "--trainer.val_check_interval=6", "--job.average=1")
    outcome = lslm("run", "--config", path, "--job.name=base", *quick)
    assert outcome.status == 0, outcome.err
    return only("base-*")


def test_an_adapter_of_a_pretrained_network(lslm, translation, project, monkeypatch):
    """Stopped half-way it ends as if nothing had happened; its base stays as it was, and peft loads
    what it trained.
    """
    monkeypatch.setattr(StopAt, "done", False)
    path = adapted(write("windows", translation), DORA, dropout=0.1)
    outcome = lslm("run", "--config", path, "--job.name=straight")
    assert outcome.status == 0, outcome.err
    stopped = halves(lslm, path, "stopped")
    folder = project / "pretrained"
    kept = folder.rename(project / "elsewhere")
    outcome = lslm("resume", stopped)
    assert outcome.status == 0, outcome.err
    same_run(only("straight-*"), stopped)
    task = load_run(stopped).task
    network = AutoModelForCausalLM.from_pretrained(kept).eval()
    same(in_base(task.backbone.model.state_dict()), network.state_dict())
    saved = torch.load(stopped / "checkpoints/last.ckpt", weights_only=True)
    trained = [w.shape for name, w in saved["state_dict"].items() if is_of_adapter(name)]
    moments = [state["exp_avg"].shape for state in saved["optimizer_states"][0]["state"].values()]
    assert sorted(moments) == sorted(trained), "the optimizer has moments of the adapter alone"
    n_trained = sum(shape.numel() for shape in trained)
    assert f"{n_trained:,} of them trained" in outcome.out
    assert f"{n_trained:,}" in (stopped / "report/index.html").read_text()
    ids = torch.arange(3, 12)[None]
    ours = task.logits(ids)
    assert not torch.allclose(ours, network(ids).logits, atol=1e-2)
    theirs = PeftModel.from_pretrained(network, stopped / "adapter").eval()
    torch.testing.assert_close(theirs(ids).logits, ours, rtol=0, atol=1e-6)


def test_two_adapters_of_one_base_of_our_own(base, lslm, translation, monkeypatch, project):
    """Each run names its base, and needs it no more when it was trained."""
    monkeypatch.setattr(StopAt, "done", False)
    before = load_run(base).task
    plain = project / "windows.yaml"
    for name, kind, also in (("one", LORA, []), ("two", DORA, ["embedding"])):
        path = adapted(plain, kind, base=str(base), also_train=also)
        outcome = lslm("run", "--config", path, f"--job.name={name}")
        assert outcome.status == 0, outcome.err
    stopped = halves(lslm, path, "stopped")
    base.rename(project / "elsewhere")
    outcome = lslm("resume", stopped)
    assert outcome.status == 0, outcome.err
    same_run(only("two-*"), stopped)
    one, two = (load_run(only(f"{name}-*")).task for name in ("one", "two"))
    same(in_base(one.state_dict()), before.state_dict())
    same(in_base(two.backbone.state_dict()), before.backbone.state_dict())
    assert not torch.equal(two.embedding.weight, before.embedding.weight)
    ids = torch.arange(3, 12)[None]
    for run in ("one", "two"):
        task = load_run(only(f"{run}-*")).task
        again = PeftModel.from_pretrained(
            load_run(project / "elsewhere").task.backbone, only(f"{run}-*") / "adapter"
        ).eval()
        y, _ = again.base_model.model.decode(task.embedding(ids))
        torch.testing.assert_close(task.head(y, task.embedding.weight), task.logits(ids))


def test_a_base_that_has_an_adapter_itself(base, lslm, project):
    """Is adapted as it was trained, with its own adapter merged into it."""
    plain = project / "windows.yaml"
    quick = ("--trainer.max_steps=2", "--trainer.val_check_interval=2", "--job.average=1")
    first = adapted(plain, base=str(base))
    assert lslm("run", "--config", first, "--job.name=first", *quick).status == 0
    still = ("--model.optimizer.lr=0", "--model.optimizer.weight_decay=0")
    second = adapted(plain, DORA, base=str(only("first-*")))
    outcome = lslm("run", "--config", second, "--job.name=second", *quick, *still)
    assert outcome.status == 0, outcome.err
    ids = torch.arange(3, 12)[None]
    expected = load_run(only("first-*")).task.logits(ids)
    torch.testing.assert_close(load_run(only("second-*")).task.logits(ids), expected)


@pytest.mark.distributed
def test_two_processes_train_an_adapter_as_one(lslm, together, translation, project):
    """In parts; LoRA has the weights of DoRA but one."""
    path = adapted(write("windows", translation), DORA)
    words = ("--trainer.max_steps=6", "--job.average=1")
    outcome = lslm("run", "--config", path, *words, "--job.name=one")
    assert outcome.status == 0, outcome.err
    two = (
        "--trainer.devices=2",
        "--trainer.accumulate_grad_batches=1",
        "--trainer.val_check_interval=6",
        "--job.name=two",
    )
    ended(together("run", "--config", path, *words, *SHARDED, *two))
    shutil.rmtree(project / "pretrained")
    one, two = (
        {k: [v for _, v in found] for k, found in points(only(f"{name}-*")).items()}
        for name in ("one", "two")
    )
    assert two["val/loss"] == pytest.approx(one["val/loss"], rel=1e-5)
    weights = [load_run(only(f"{name}-*")).task.state_dict() for name in ("one", "two")]
    same(in_base(weights[0]), in_base(weights[1]))
    adapters = [
        load_file(only(f"{name}-*") / "adapter/adapter_model.safetensors")
        for name in ("one", "two")
    ]
    assert adapters[0].keys() == adapters[1].keys()
    for name, weight in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], weight, rtol=0, atol=1e-5)


def test_the_settings_of_an_adapter_stay_when_training_resumes(lslm, translation):
    path = adapted(write("windows", translation))
    quick = ("--trainer.max_steps=2", "--trainer.val_check_interval=2", "--job.average=1")
    assert lslm("fit", "--config", path, *quick, "--job.name=first").status == 0
    run = only("first-*")
    longer = ("--trainer.max_steps=4", "--model.adapter.alpha=4")
    refused(lslm("resume", run, *longer), 1, "model.adapter.alpha (16 then, 4 now)")


WRONG = {
    "--model.adapter.targets=[gate]": ("model.adapter.targets", "'gate'", "query", "c_attn"),
    "--model.adapter.rank=20": ("model.adapter.rank=20", "at most 16", "attn.c_attn"),
    "--model.adapter.rank=0": ("model.adapter.rank=0", "at least 1"),
    "--model.adapter.dropout=1": ("model.adapter.dropout=1", "below 1"),
    "--model.adapter.also_train=[tail]": ("also_train", "'tail'", "embedding, head"),
    "--model.adapter.base=runs/other": ("model.adapter.base=runs/other", "pretrained"),
}


@pytest.mark.parametrize("setting", WRONG)
def test_what_does_not_fit_is_refused_in_one_line(setting, lslm, translation):
    path = adapted(write("windows", translation), targets=["query"])
    refused(lslm("run", "--config", path, setting), 1, *WRONG[setting])
    assert not list(Path("runs").glob("*/*")), "before there is a run"


def test_layers_with_an_adapter_are_not_split(lslm, translation):
    path = adapted(write("windows", translation))
    words = ("--trainer.devices=2", "--trainer.strategy.tensor_parallel_size=2")
    outcome = lslm("run", "--config", path, *TENSOR, *words)
    refused(outcome, 1, "tensor_parallel_size=2", "model.adapter", "fsdp.yaml")


def test_a_base_is_needed_and_must_fit(base, lslm, project):
    plain = project / "windows.yaml"
    refused(lslm("run", "--config", adapted(plain)), 1, "model.adapter", "model.adapter.base")
    missing = adapted(plain, base="runs/none")
    refused(lslm("run", "--config", missing), 1, "model.adapter.base=runs/none")
    other = adapted(plain, base=str(base))
    wider = ("--model.backbone.d_feedforward=24",)
    refused(lslm("run", "--config", other, *wider), 1, "does not fit the model", "(24, ")
    recipe = ("--data.tokenizer=lslm_lightning.text.recipes.Words",)
    refused(lslm("run", "--config", other, *recipe), 1, "another tokenizer", "TokenizerFile")


def test_without_the_package(lslm, translation, monkeypatch):
    path = adapted(write("windows", translation))
    monkeypatch.setitem(sys.modules, "peft", None)
    refused(
        lslm("run", "--config", path), 1, "model.adapter", "package peft", "lslm-lightning[hub]"
    )


def test_a_plan_tells_the_share_that_is_trained(lslm, translation):
    path = write("windows", translation)
    whole = lslm("plan", "--config", path, "--device=h100")
    part = lslm("plan", "--config", adapted(path), "--device=h100")
    assert (whole.status, part.status) == (0, 0), part.err
    assert "are trained" not in whole.out
    assert "parameters are trained (" in part.out
    assert "fsdp_tp" not in part.out
