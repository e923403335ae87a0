"""A configuration from elsewhere cannot run code from elsewhere, however it is written down."""

import sys
from pathlib import Path
from typing import Any

import pytest

from lslm_lightning.runs.trust import check_trust

INNOCENT = [
    {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1, "betas": [0.9, 0.99]}},
    {"norm": "torch.nn.LayerNorm", "ff": {"class_path": "lslm_lightning.models.feed_forward.GELU"}},
    {"schedule": {"class_path": "lslm_lightning.optim.Cosine", "init_args": {"warmup_steps": 7}}},
    {"path": "tokenizer.json", "other": "data/train.en", "text": "Translate: {source}. Answer.", "version": "1.2.3", "empty": ""},
    {"activation": "torch.nn.functional.relu"},
]

HOSTILE: dict[str, Any] = {
    "a class": {"class_path": "evil.Task"},
    "a class inside": {"class_path": "torch.nn.Linear", "init_args": {"x": [{"class_path": "evil.Task"}]}},
    "a function": {"norm": "os.system"},
    "the short form of a class": {"norm": "subprocess.Popen"},
    "YAML in a text": {"norm": "{class_path: subprocess.Popen, init_args: {args: ls}}"},
    "YAML in a list in a text": {"norm": "[{class_path: subprocess.Popen}]"},
    "through our own imports": {"class_path": "lslm_lightning.runs.directory.Path"},
    "through a module in a module": {"norm": "torch.nn.functional.os.system"},
    "a trusted beginning only": {"class_path": "torch.nnn.Evil"},
    "torch, but not its layers": {"class_path": "torch.hub.load"},
    "lightning, which no model needs": {"class_path": "lightning.pytorch.Trainer"},
    "lightning through our own imports": {"class_path": "lslm_lightning.training.task.LightningModule"},
    "a bare name": {"class_path": "Task"},
    "no name": {"class_path": None},
}


@pytest.mark.parametrize("config", INNOCENT, ids=str)
def test_ours_pass(config: dict) -> None:
    check_trust(config)


@pytest.mark.parametrize("config", HOSTILE.values(), ids=HOSTILE.keys())
def test_others_do_not(config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"--trust|cannot be imported") as caught:
        check_trust(config)
    assert "\n" not in str(caught.value)
    assert "evil" not in sys.modules
