"""A configuration from elsewhere cannot run code from elsewhere, however it is written down."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lslm_lightning.runs.trust import check_trust, is_restricted, only_trusted

INNOCENT = [
    {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1, "betas": [0.9, 0.99]}},
    {"norm": "torch.nn.LayerNorm", "ff": {"class_path": "lslm_lightning.models.feed_forward.GELU"}},
    {"schedule": {"class_path": "lslm_lightning.optim.Cosine", "init_args": {"warmup_steps": 7}}},
    {
        "path": "tokenizer.json",
        "other": "data/train.en",
        "text": "Translate: {source}. Answer.",
        "version": "1.2.3",
        "empty": "",
    },
    {"activation": "torch.nn.functional.relu"},
]

HOSTILE: dict[str, Any] = {
    "a class": {"class_path": "evil.Task"},
    "a class inside": {
        "class_path": "torch.nn.Linear",
        "init_args": {"x": [{"class_path": "evil.Task"}]},
    },
    "a function": {"norm": "os.system"},
    "the short form of a class": {"norm": "subprocess.Popen"},
    "YAML in a text": {"norm": "{class_path: subprocess.Popen, init_args: {args: ls}}"},
    "YAML in a list in a text": {"norm": "[{class_path: subprocess.Popen}]"},
    "through our own imports": {"class_path": "lslm_lightning.runs.directory.Path"},
    "through a module in a module": {"norm": "torch.nn.functional.os.system"},
    "a trusted beginning only": {"class_path": "torch.nnn.Evil"},
    "torch, but not its layers": {"class_path": "torch.hub.load"},
    "lightning, which no model needs": {"class_path": "lightning.pytorch.Trainer"},
    "lightning through our own imports": {
        "class_path": "lslm_lightning.training.task.LightningModule"
    },
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


def test_what_the_parser_may_import_is_as_before_afterwards() -> None:
    from jsonargparse._common import parsing_settings

    before = dict(parsing_settings)
    with only_trusted(), suppress(KeyError), only_trusted(["a.b"], training=True):
        assert is_restricted()
        raise KeyError
    assert parsing_settings == before
    assert not is_restricted()


RECURSIVE: list[Any] = [{"class_path": "torch.nn.LayerNorm"}]
RECURSIVE.append(RECURSIVE)
LAUGHS: list[Any] = ["torch.nn.LayerNorm"]
for _ in range(60):
    LAUGHS = [LAUGHS, LAUGHS]
SPELLINGS: dict[str, Any] = {
    "a tab in JSON in a text": {"norm": '{\t"class_path": "evil.Norm"}'},
    "a text that no reader can read": {"norm": '{"class_path": evil.Norm'},
    "a dotted key": {"norm.class_path": "evil.Norm"},
    "an appended list": {"callbacks+": ["os.system"]},
    "a program of our own": {"norm": "lslm_lightning.experiments.child_process.run_to_its_end"},
    "a function of our own that writes": {"class_path": "lslm_lightning.ngram.arpa.write_arpa"},
    "a system, which could trust others": {
        "class_path": "lslm_lightning.systems.checkpoint.Checkpoint"
    },
    "a class, after parsing": {"norm": Path},
    "control characters": {"class_path": "evil\x1b[2J\n.Norm"},
    "aliases without end around it": {"a": RECURSIVE, "b": LAUGHS, "c": "os.system"},
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_other_spellings_do_not_pass(name: str) -> None:
    with pytest.raises(ValueError, match="--trust") as caught:
        check_trust(SPELLINGS[name])
    assert str(caught.value).isprintable()


def test_texts_that_look_like_paths_are_no_classes() -> None:
    check_trust(
        {
            "corpus": "json.gz",
            "columns": {"source": "email.text", "target": ["os.path"]},
            "again": [RECURSIVE, LAUGHS],
        }
    )
