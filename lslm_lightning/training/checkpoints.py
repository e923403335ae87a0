"""Which states of training are kept: the last one, the best one, and the mean of several."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint

from lslm_lightning.training.task import NotFiniteError, Task


def save_atomically(trainer: Trainer, path: Path) -> None:
    """`trainer.save_checkpoint` under a temporary name, then renamed: under `path` stands the old state or the new one, never a part.

    All ranks call it; rank 0 writes.

    Raises:
        NotFiniteError: a weight is nan or infinite; what is on disk stays.
    """
    if not all(bool(p.isfinite().all()) for p in trainer.lightning_module.parameters()):
        raise NotFiniteError(f"the weights are not finite at step {trainer.global_step}; try a smaller learning rate or gradient clipping")
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


def link(old: Path, new: Path) -> None:
    """The same content under another name, without a copy where the file system can."""
    new.unlink(missing_ok=True)
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)


class Checkpoints(Checkpoint):
    """Saves after each validation: `last.ckpt`, `best.ckpt` by the task's metric, and `step-*.ckpt` where they are to be averaged.

    Args:
        directory: where the files go.
        average: how many states are averaged after training; 0 or 1 for no average.
        average_of: the "last" states, or the "best" by the task's metric.
    """

    def __init__(self, directory: Path, average: int = 0, average_of: Literal["last", "best"] = "last") -> None:
        self.directory, self.average, self.average_of = Path(directory), average, average_of
        self.best_score: float | None = None
        self.validated_step = 0
        self._scores: dict[Path, float] = {}  # of the numbered states, oldest first

    @property
    def best(self) -> Path:
        return self.directory / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.directory / "last.ckpt"

    def steps(self) -> list[Path]:
        """The numbered states, oldest first."""
        return sorted(self.directory.glob("step-*.ckpt"))

    def on_fit_start(self, trainer: Trainer, task: Task) -> None:
        """A run that goes on from another's checkpoint begins with that one's best, or with none; also where no step is left to do."""
        if self.best_score is None or self.best.exists():
            return
        earlier = Path(trainer.ckpt_path or "").with_name("best.ckpt")
        if not earlier.exists():
            self.best_score = None
        elif trainer.is_global_zero:
            self.directory.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(earlier, self.best)

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.keep(trainer, task)

    def keep(self, trainer: Trainer, task: Task) -> None:
        """Save the present state; collective."""
        self.validated_step = trainer.global_step
        score = trainer.callback_metrics.get(task.monitor)
        score = None if score is None else float(score)
        is_best = score is not None and self._is_best(score, task.higher_is_better)
        self.best_score = score if is_best else self.best_score
        save_atomically(trainer, self.last)
        if trainer.is_global_zero:
            if is_best:
                draft = self.directory / ".best.ckpt.part"
                link(self.last, draft)
                draft.replace(self.best)
            if self.average > 1 and score is not None:
                self._number(trainer.global_step, score, task.higher_is_better)

    def _number(self, step: int, score: float, higher_is_better: bool) -> None:
        path = self.directory / f"step-{step:08d}.ckpt"
        link(self.last, path)
        self._scores[path] = score
        if len(self._scores) > self.average:
            worst = (min if higher_is_better else max)(self._scores, key=self._scores.get)
            old = worst if self.average_of == "best" else next(iter(self._scores))
            del self._scores[old]
            old.unlink(missing_ok=True)

    def settle(self, trainer: Trainer, task: Task) -> None:
        """After training: the last state, if it was not validated yet, and the mean of the numbered ones become `best.ckpt` where they
        validate better; collective."""
        states, last_is_new = self.steps(), self.validated_step != trainer.global_step and trainer.enable_validation
        trainer.strategy.barrier("settle")
        if last_is_new and self.last.exists():
            self._compete(trainer, task, self.last, "the last state")
        if len(states) > 1:
            average = self.directory / "average.ckpt"
            if trainer.is_global_zero:
                torch.save(mean_of_weights(states), average)
                for path in states:
                    path.unlink()
            trainer.strategy.barrier("average.ckpt")
            loggers, trainer.loggers = trainer.loggers, []  # the mean is no point of the run's curves
            self._compete(trainer, task, average, f"the mean of {len(states)} checkpoints")
            trainer.loggers = loggers
            if trainer.is_global_zero:
                average.unlink()

    def _compete(self, trainer: Trainer, task: Task, path: Path, words: str) -> None:
        """Validate a state; if it is better than the best one, it becomes that."""
        [values] = trainer.validate(task, datamodule=trainer.datamodule, ckpt_path=str(path), verbose=False, weights_only=True)
        score, best = values[task.monitor], self.best_score
        if trainer.is_global_zero:
            print(f"{task.monitor} of {words} {score:.4g}" + (f", of the best one {best:.4g}" if best is not None else ""), flush=True)
        if self._is_best(score, task.higher_is_better):
            self.best_score = score
            if trainer.is_global_zero:
                draft = self.directory / ".best.ckpt.part"
                link(path, draft)
                draft.replace(self.best)
        trainer.strategy.barrier("best.ckpt")

    def _is_best(self, value: float, higher_is_better: bool) -> bool:
        best = self.best_score
        return best is None or (value > best if higher_is_better else value < best)

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        """A run whose last steps were not validated still ends with its last state on disk."""
        if trainer.global_step != self.validated_step:
            save_atomically(trainer, self.last)
            if trainer.is_global_zero and not self.best.exists():
                link(self.last, self.best)

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_score = state["best_score"]
