"""Bases of adapters: what the run `model.adapter.base` may make a training do."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lslm_lightning.adapters import LoRA
from lslm_lightning.interchange.made_runs import write_run
from lslm_lightning.models.heads import TiedHead
from lslm_lightning.training.adapted import check_start, load_start
from lslm_lightning.types import JsonObject
from tests.interchange.models import CAUSAL, TOKENIZER, build_task, task_spec


@pytest.mark.parametrize("check", [check_start, load_start])
def test_a_base_cannot_import_foreign_code(check, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "evilmod.py").write_text(
        "from lslm_lightning.models.heads import TiedHead\n\nclass Head2(TiedHead):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = task_spec(CAUSAL, head={"class_path": "evilmod.Head2"})
    weights = build_task(CAUSAL).float().state_dict()
    base = tmp_path / "base"
    base.mkdir()
    write_run(base, "lslm test", {"model": spec}, TOKENIZER, weights, {})
    task = build_task(CAUSAL)
    task.adapter = LoRA(rank=2, base=str(base))
    with pytest.raises(ValueError, match=r"model\.adapter\.base=.* names evilmod\.Head2"):
        check(task)
    assert "evilmod" not in sys.modules


class OwnHead(TiedHead):
    """Head of a user's own."""


def test_a_base_of_the_classes_of_the_task_is_loaded(tmp_path: Path) -> None:
    head = {"class_path": f"{__name__}.OwnHead"}
    base = tmp_path / "base"
    base.mkdir()
    spec = task_spec(CAUSAL, head=head)
    weights = build_task(CAUSAL, head=head).float().state_dict()
    write_run(base, "lslm test", {"model": spec}, TOKENIZER, weights, {})
    adapter = {"class_path": "lslm_lightning.adapters.LoRA"}
    adapter["init_args"] = {"rank": 2, "base": str(base)}
    task = build_task(CAUSAL, head=head, adapter=adapter).float()
    check_start(task)
    load_start(task)
    torch.testing.assert_close(task.embedding.weight, weights["embedding.weight"], rtol=0, atol=0)
    other = build_task(CAUSAL, adapter=adapter)
    for check in (check_start, load_start):
        with pytest.raises(
            ValueError, match=r"OwnHead.*whose code is not run for weights to start from"
        ):
            check(other)


def start_in(folder: Path, adapter: JsonObject | None = None) -> JsonObject:
    """Write a run of a random model, and return its weights."""
    folder.mkdir()
    more = {} if adapter is None else {"adapter": adapter}
    weights = build_task(CAUSAL, **more).float().state_dict()
    spec = task_spec(CAUSAL, **more)
    write_run(folder, "lslm test", {"model": spec}, TOKENIZER, weights, {})
    return weights


@pytest.mark.parametrize("kind", [None, "LoRA", "DoRA"])
def test_weights_to_start_from_are_checked_without_reading_them(
    kind: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = {"class_path": f"lslm_lightning.adapters.{kind}", "init_args": {"rank": 2}}
    if kind is not None:
        start_in(tmp_path / "base")
        adapter["init_args"]["base"] = str(tmp_path / "base")
    start_in(tmp_path / "run", adapter if kind else None)
    task = build_task(CAUSAL)
    task.start = str(tmp_path / "run")
    load = torch.load
    devices = []

    def load_on(file: Path, map_location: str, **more: object) -> object:
        devices.append(map_location)
        return load(file, map_location=map_location, **more)

    monkeypatch.setattr(torch, "load", load_on)
    check_start(task)
    assert devices == ["meta"]
    load_start(task)
    assert devices == ["meta", "cpu"]
    other = build_task(replace(CAUSAL, n_decoder_layer=1))
    other.start = task.start
    with pytest.raises(ValueError, match="does not fit the model"):
        check_start(other)


def test_safetensors_to_start_from_are_checked(tmp_path: Path) -> None:
    weights = start_in(tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "best.ckpt").unlink()
    task = build_task(CAUSAL)
    task.start = str(checkpoints / "best.safetensors")
    save_file({name: weight.contiguous() for name, weight in weights.items()}, task.start)
    check_start(task)
    del weights["embedding.weight"]
    save_file({name: weight.contiguous() for name, weight in weights.items()}, task.start)
    with pytest.raises(ValueError, match=r"only the model has embedding\.weight"):
        check_start(task)
