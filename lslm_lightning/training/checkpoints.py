"""Which states of training are kept: the last ones, the best one, and the mean of several."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint

from lslm_lightning.training.task import Task


def save_atomically(trainer: Trainer, path: Path) -> None:
    """`trainer.save_checkpoint` under a temporary name, then renamed: under `path` stands the old state or the new one, never a part.

    All ranks call it; rank 0 writes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        if trainer.is_global_zero:
            part.unlink(missing_ok=True)


def mean_of_weights(paths: Sequence[Path]) -> dict[str, Any]:
    """The newest of these checkpoints with the mean of the weights of all (Vaswani et al. 2017, section 6.1); sums in float64."""
    newest = torch.load(paths[-1], map_location="cpu", weights_only=True)
    sums = {name: w.double() if w.is_floating_point() else w for name, w in newest["state_dict"].items()}
    for path in paths[:-1]:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        for name, total in sums.items():
            if total.is_floating_point():
                total += state[name].double()
    kept = newest["state_dict"]
    newest["state_dict"] = {n: (s / len(paths)).to(kept[n].dtype) if s.is_floating_point() else s for n, s in sums.items()}
    return newest


class Checkpoints(Checkpoint):
    """Saves after each validation: `last.ckpt`, `best.ckpt` by the task's metric, and `step-*.ckpt` where they are to be averaged.

    Args:
        directory: where the files go.
        average: how many states of the end of training are averaged; 0 or 1 for no average.
    """

    def __init__(self, directory: Path, average: int = 0) -> None:
        self.directory, self.average = Path(directory), average
        self.best_score: float | None = None

    @property
    def best(self) -> Path:
        return self.directory / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.directory / "last.ckpt"

    def steps(self) -> list[Path]:
        """The numbered states, oldest first."""
        return sorted(self.directory.glob("step-*.ckpt"))

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.keep(trainer, task)

    def keep(self, trainer: Trainer, task: Task) -> None:
        """Save the present state; collective."""
        value = trainer.callback_metrics.get(task.monitor)
        if value is not None and self._is_best(float(value), task.higher_is_better):
            self.best_score = float(value)
            save_atomically(trainer, self.best)
        save_atomically(trainer, self.last)
        if self.average > 1 and trainer.is_global_zero:
            numbered = self.directory / f"step-{trainer.global_step:08d}.ckpt"
            numbered.unlink(missing_ok=True)
            os.link(self.last, numbered)
            for old in self.steps()[: -self.average]:
                old.unlink()

    def choose(self, trainer: Trainer, task: Task) -> Path:
        """After training: `best.ckpt`, which becomes the mean of the last states where that validates better; collective."""
        states = self.steps()
        if len(states) < 2:
            return self.best
        average = self.directory / "average.ckpt"
        if trainer.is_global_zero:
            torch.save(mean_of_weights(states), average)
            for path in states:
                path.unlink()
        trainer.strategy.barrier("average.ckpt")
        [values] = trainer.validate(task, datamodule=trainer.datamodule, ckpt_path=str(average), verbose=False, weights_only=True)
        value = values[task.monitor]
        if trainer.is_global_zero:
            print(f"{task.monitor} of the mean of {len(states)} checkpoints {value:.4g}, of the best one {self.best_score:.4g}", flush=True)
            if self._is_best(value, task.higher_is_better):
                average.replace(self.best)
            else:
                average.unlink()
        trainer.strategy.barrier("best.ckpt")
        return self.best

    def _is_best(self, value: float, higher_is_better: bool) -> bool:
        best = self.best_score
        return best is None or (value > best if higher_is_better else value < best)

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        """A run whose last steps were not validated still ends with its last state on disk."""
        if trainer.global_step and not trainer.fast_dev_run:
            if not self.best.exists():
                save_atomically(trainer, self.best)
            save_atomically(trainer, self.last)

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_score = state["best_score"]
