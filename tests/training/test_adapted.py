"""Bases of adapters: what the run `model.adapter.base` may make a training do."""

import sys
from pathlib import Path

import pytest
import torch

from lslm_lightning.adapters import LoRA
from lslm_lightning.interchange.made_runs import write_run
from lslm_lightning.models.heads import TiedHead
from lslm_lightning.training.adapted import check_start, load_start
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
