"""A sharded model reads the names that weights had in the last release."""

import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn

from lslm_lightning.runs.states import META
from lslm_lightning.training.distributed.fsdp import ShardedStrategy, check_names


class Model(nn.Module):
    """Stands for a task whose head had another name."""

    def __init__(self) -> None:
        super().__init__()
        self.answerability_head = nn.Linear(2, 1)
        self.head = nn.Linear(2, 3)


def strategy_of(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> ShardedStrategy:
    """Return a strategy of one process for a model that is not sharded."""
    strategy = ShardedStrategy()
    strategy._model = model
    strategy.optimizers = []
    monkeypatch.setattr(strategy, "broadcast", lambda value: value)
    return strategy


def old_names(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name.replace("answerability_head.", "judge."): weight
        for name, weight in model.state_dict().items()
    }


def test_a_file_with_old_names_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Model()
    model = Model()
    torch.save({"state_dict": old_names(saved), "global_step": 3}, tmp_path / "last.ckpt")
    rest = strategy_of(model, monkeypatch).load_checkpoint(tmp_path / "last.ckpt")
    assert rest == {"global_step": 3}
    assert all(map(torch.equal, model.state_dict().values(), saved.state_dict().values()))


def test_a_folder_with_old_names_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for name, weights in (("old", old_names(Model())), ("new", Model().state_dict())):
        with warnings.catch_warnings(action="ignore"):
            dcp.save({"state_dict": weights}, checkpoint_id=tmp_path / name, no_dist=True)
        torch.save({"global_step": 3}, tmp_path / name / META)
    check_names(tmp_path / "new")
    with pytest.raises(ValueError, match=r"weight judge\.bias .* `lslm consolidate`"):
        strategy_of(model, monkeypatch).load_checkpoint(tmp_path / "old")
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
