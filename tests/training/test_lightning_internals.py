"""Private names of Lightning that training uses are in the installed one."""

import ast
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment

import lslm_lightning
from lslm_lightning.training import lightning_internals
from lslm_lightning.training.distributed.fsdp import ShardedStrategy
from lslm_lightning.training.lightning_internals import (
    PRIVATE_ATTRIBUTES,
    PRIVATE_NAMES,
    MonitoredLauncher,
    monitor_launch,
)

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}


@pytest.mark.parametrize(("owner", "name"), PRIVATE_NAMES, ids=str)
def test_lightning_has_the_private_name(owner: type, name: str) -> None:
    assert callable(getattr(owner, name))


def test_a_trainer_has_the_private_attributes() -> None:
    trainer = Trainer(accelerator="cpu", devices=2, strategy=ShardedStrategy(), **QUIET)
    for path in PRIVATE_ATTRIBUTES:
        part = trainer
        for name in path.split("."):
            part = getattr(part, name)


def test_no_other_file_of_ours_uses_private_names_of_loops_or_strategies() -> None:
    package = Path(lslm_lightning.__file__).parent
    names = {name for _, name in PRIVATE_NAMES} | {
        path.rpartition(".")[2] for path in PRIVATE_ATTRIBUTES
    }
    for file in package.rglob("*.py"):
        if file != Path(lightning_internals.__file__):
            tree = ast.parse(file.read_text("utf-8"))
            used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            assert not used & names, f"{file}: {used & names}"


@pytest.mark.parametrize("strategy", ["ddp", ShardedStrategy()], ids=["ddp", "sharded"])
def test_processes_are_started_once_and_watched(
    strategy: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's observer, which kills without a message, is not asked."""
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)
    trainer = Trainer(accelerator="cpu", devices=2, strategy=strategy, **QUIET)
    launched: list[object] = []
    monitor_launch(trainer, launched.append)
    launcher = trainer.strategy.launcher
    assert isinstance(launcher, MonitoredLauncher)
    assert isinstance(launcher.cluster_environment, LightningEnvironment)

    def start() -> None:
        monkeypatch.setenv("LOCAL_RANK", "0")
        launcher.procs = ["a process"]

    def observe(processes: object) -> None:
        raise AssertionError("it would be killed")

    monkeypatch.setattr(launcher, "_call_children_scripts", start)
    monkeypatch.setattr(
        "lightning.pytorch.strategies.launchers.subprocess_script._launch_process_observer",
        observe,
    )
    assert launcher.launch(lambda x, y: x + y, 1, y=2) == 3
    assert launcher.launch(lambda: "again") == "again"
    assert launched == [["a process"]]
