"""Private names of Lightning that training uses are in the installed one, and validations come as
often as is said.
"""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment

import lslm_lightning
from lslm_lightning.training import lightning_internals
from lslm_lightning.training.distributed.fsdp import ShardedStrategy
from lslm_lightning.training.lightning_internals import (
    PRIVATE_ATTRIBUTES,
    PRIVATE_NAMES,
    MonitoredLauncher,
    monitor_launch,
    steps_per_validation,
)
from tests.training.conftest import fit, translation_task

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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"val_check_interval": 5},
        {"val_check_interval": 4, "accumulate_grad_batches": 2},
        {"val_check_interval": 1.0, "check_val_every_n_epoch": 1},
        {"val_check_interval": 3, "check_val_every_n_epoch": 1},
        {"val_check_interval": 1.0, "check_val_every_n_epoch": 2},
        {"val_check_interval": 0.5, "check_val_every_n_epoch": 2},
        {"val_check_interval": 3, "check_val_every_n_epoch": 3},
    ],
    ids=str,
)
def test_validations_are_as_far_apart_as_is_said(settings, translation_data) -> None:
    class Validations(Callback):
        n = 0
        every = 0.0

        def on_validation_end(self, trainer, task) -> None:
            self.n += 1
            self.every = steps_per_validation(trainer)

    data = translation_data(n_validation_example=0)
    seen = Validations()
    trainer = fit(
        translation_task(data),
        data,
        [seen],
        max_steps=-1,
        max_epochs=6,
        limit_val_batches=1,
        **settings,
    )
    assert seen.n == int(trainer.global_step / seen.every + 1e-9) > 1


def test_without_validation_there_is_no_number_of_steps_between_two(translation_data) -> None:
    data = translation_data()
    assert steps_per_validation(fit(translation_task(data), data, max_steps=1)) == float("inf")


@pytest.mark.parametrize(("n_epoch", "expected"), [(1, 250), (None, 250), (2, float("inf"))])
def test_in_the_one_epoch_of_a_stream_validations_are_counted_by_batches(n_epoch, expected) -> None:
    """Lightning validates in no epoch but each `check_val_every_n_epoch`-th."""
    trainer = SimpleNamespace(
        enable_validation=True,
        val_check_batch=500,
        check_val_every_n_epoch=n_epoch,
        num_training_batches=float("inf"),
        accumulate_grad_batches=2,
    )
    assert steps_per_validation(trainer) == expected
