"""An adapter of peft on the disk is the start of another one."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lslm_lightning.adapters import DoRA, LoRA
from lslm_lightning.adapters.low_rank import add_adapter, is_of_adapter
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.training.adapted import check_start, load_start
from lslm_lightning.training.peft_layout import CONFIG, WEIGHTS, write_adapter


def adapted(adapter: LoRA, seed: int = 0) -> Any:
    """Return a task with a random base, and a random adapter beside it."""
    torch.manual_seed(seed)
    backbone = Transformer(16, 2, 0, 1)
    add_adapter(backbone, adapter)
    for name, parameter in backbone.named_parameters():
        if is_of_adapter(name):
            parameter.data.normal_()
    return SimpleNamespace(start=None, backbone=backbone, adapter=adapter)


def saved(folder: Path, adapter: LoRA) -> dict[str, torch.Tensor]:
    """Save an adapter as peft does, and return the weights of its network."""
    network = adapted(adapter).backbone
    write_adapter(network, network.state_dict(), [], (False, True), "base", folder)
    return network.state_dict()


@pytest.mark.parametrize("kind", [LoRA, DoRA])
def test_training_starts_from_an_adapter_and_keeps_the_base(
    kind: type[LoRA], tmp_path: Path
) -> None:
    kept = saved(tmp_path, kind(rank=2))
    task = adapted(kind(rank=2, start=str(tmp_path)), seed=1)
    before = {name: weight.clone() for name, weight in task.backbone.state_dict().items()}
    check_start(task)
    load_start(task)
    for name, weight in task.backbone.state_dict().items():
        wanted = kept if is_of_adapter(name) else before
        assert torch.equal(weight, wanted[name]), name


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (LoRA(rank=4), r"has rank=2, and model\.adapter\.rank=4"),
        (LoRA(rank=2, alpha=3), r"has alpha=16, and model\.adapter\.alpha=3"),
        (LoRA(rank=2, targets=["query"]), r"other layers .* such as \S*value\.lora_"),
        (LoRA(rank=2, targets=["all"]), r"other layers .* such as \S*lora_"),
        (DoRA(rank=2), "an adapter of another kind"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    adapter: LoRA, expected: str, tmp_path: Path
) -> None:
    saved(tmp_path, LoRA(rank=2))
    task = adapted(adapter)
    task.adapter = LoRA(start=str(tmp_path))
    with pytest.raises(ValueError, match=expected):
        check_start(task)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_folder_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    task = adapted(LoRA(rank=2, start=str(tmp_path)))
    with pytest.raises(ValueError, match="has no adapter of peft that can be read"):
        check_start(task)
    saved(tmp_path, LoRA(rank=2))
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match="has no adapter of peft that can be read"):
        check_start(task)


@pytest.mark.parametrize(
    ("name", "value"),
    [("use_rslora", True), ("rank_pattern", {"query": 2}), ("alpha_pattern", {"query": 32})],
)
def test_an_adapter_of_another_scale_is_refused(name: str, value: object, tmp_path: Path) -> None:
    saved(tmp_path, LoRA(rank=2))
    described = json.loads((tmp_path / CONFIG).read_text("utf-8"))
    (tmp_path / CONFIG).write_text(json.dumps(described | {name: value}))
    with pytest.raises(ValueError, match=rf"model\.adapter\.start=.* has {name}="):
        check_start(adapted(LoRA(rank=2, start=str(tmp_path))))
