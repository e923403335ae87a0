"""Checkpoint callback: keeps the last and the best checkpoint, and averages several."""
# mypy: disable-error-code="override"
# (hooks of our callbacks are called with our Task)

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

from lslm_lightning.run_files import BEST
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.runs.resume_state import ResumeState
from lslm_lightning.runs.states import link
from lslm_lightning.training.adapted import save_adapter
from lslm_lightning.training.callbacks.best_score import BestScore
from lslm_lightning.training.callbacks.final_choice import FinalChoice
from lslm_lightning.training.callbacks.kept_checkpoints import KeptCheckpoints, final_record
from lslm_lightning.training.distributed.checkpoint_io import save_atomically
from lslm_lightning.training.lightning_internals import TaskTrainer
from lslm_lightning.training.task import Task
from lslm_lightning.types import StateDict


class Checkpoints(Checkpoint):
    """Callback that saves after each validation: `last.ckpt`, `best.ckpt` by the task's metric,
    and, if `average` is above 1, `step-*.ckpt` to be averaged after training.

    Of two checkpoints with the same score, the one with the lower val/loss is better, since a
    metric is often 0 at the beginning of training.

    Between validations `last.ckpt` is saved at intervals; earlier versions of both files are kept
    as `last-1.ckpt`, `best-1.ckpt` and so on.

    Args:
        directory: folder of the checkpoints.
        average: number of checkpoints to average after training; 0 or 1 for no average.
        average_of: "last" to average the last checkpoints, "best" to average the best by the task's
            metric.
        n_last: number of last checkpoints to keep.
        n_best: number of best checkpoints to keep.
        every_steps: save whenever the step is a multiple of this number; None to save only after
            validations.
        every_minutes: save when this many minutes have passed since the last save; None to save
            only after validations.
        same_validation: whether the config of the resumed checkpoint has the same validation
            settings; used only for checkpoints of earlier releases, which do not record the
            conditions of their scores.

    Attributes:
        record: score of the best checkpoint and its conditions.
        numbered: score of each checkpoint to average, by path, oldest first.
        validated_step: step of the last validation.
        saved_step: step of the last save.
        is_saving: whether a save is under way.
    """

    def __init__(
        self,
        directory: Path,
        average: int = 0,
        average_of: Literal["last", "best"] = "last",
        n_last: int = 2,
        n_best: int = 1,
        every_steps: int | None = None,
        every_minutes: float | None = None,
        same_validation: bool = False,
    ) -> None:
        self.directory = Path(directory)
        self.average = average
        self.average_of = average_of
        self.n_last = n_last
        self.n_best = n_best
        self.every_steps = every_steps
        self.every_minutes = every_minutes
        self.same_validation = same_validation
        self.files = KeptCheckpoints(self.directory)
        self.best = self.files.best
        self.last = self.files.last
        self.record = BestScore()
        self.numbered: dict[Path, float] = {}
        self.validated_step = 0
        self.saved_step = 0
        self.is_saving = False
        self._is_outdated = False  # best.ckpt on disk was chosen by other validation settings
        self._saved_at = time.monotonic()

    @property
    def best_score(self) -> float | None:
        """Score of the best checkpoint by the task's metric; None before the first validation."""
        return self.record.score

    # Saves

    def is_due(self, trainer: Trainer) -> bool:
        """Return whether `every_steps` requires a save after this step. The answer is the same on
        all ranks.
        """
        return self.every_steps is not None and trainer.global_step % self.every_steps == 0

    @property
    def is_late(self) -> bool:
        """True if `every_minutes` have passed since the last save by this process's clock; ranks
        may differ.
        """
        return (
            self.every_minutes is not None
            and time.monotonic() - self._saved_at > 60 * self.every_minutes
        )

    def save(self, trainer: Trainer) -> None:
        """Save the current state as `last.ckpt`. Collective."""
        self.keep_outdated_best(trainer)
        self.saved_step = trainer.global_step
        self.is_saving = True
        try:
            save_atomically(trainer, self.last, self.n_last)
        finally:
            self.is_saving = False
        self._saved_at = time.monotonic()

    def keep_outdated_best(self, trainer: Trainer) -> None:
        """Keep a best checkpoint that was chosen under other validation settings under another
        name, where `finalize` finds it.
        """
        if self._is_outdated and trainer.is_global_zero:
            self.files.keep_outdated_best()
        self._is_outdated = False

    def keep(self, trainer: Trainer, task: Task) -> None:
        """Save the current state after a validation, and make it the best checkpoint if its score
        is the best. Collective.
        """
        step = self.validated_step = trainer.global_step
        logged = trainer.callback_metrics.get(task.monitor)
        score = None if logged is None else float(logged)
        loss = float(trainer.callback_metrics.get("val/loss", math.nan))
        is_best = False
        if score is not None:
            self.record.count(score)
            is_best = self.record.is_worse_than(score, loss, task.higher_is_better)
            if is_best:
                self.record.score = score
                self.record.loss = loss
                self.record.step = step
            if self.average > 1:
                self._number(step, score, task.higher_is_better)
        self.save(trainer)  # including the record updated above
        if trainer.is_global_zero:
            if is_best:
                self.files.make_last_best(self.n_best)
            self.files.keep_numbered(self.numbered, step, self.last)

    def _number(self, step: int, score: float, higher_is_better: bool) -> None:
        """Add this step to the checkpoints to average. If there are more than `average`, drop the
        oldest or the worst.
        """
        self.numbered[self.files.numbered(step)] = score
        if len(self.numbered) > self.average:
            choose_worst = min if higher_is_better else max
            worst = choose_worst(self.numbered, key=lambda path: self.numbered[path])
            del self.numbered[worst if self.average_of == "best" else next(iter(self.numbered))]

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self._saved_at = time.monotonic()

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.keep(trainer, task)

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        """Save the last state if it was not validated, so that it is on disk."""
        if trainer.global_step != self.validated_step:
            self.save(trainer)
            if trainer.is_global_zero and (self.best_score is None or not self.best.exists()):
                link(self.last, self.best)

    # The final choice

    def finalize(self, trainer: TaskTrainer, task: Task) -> None:
        """Choose the final best checkpoint after training. Collective.

        The last state (if it was not validated yet) and the mean of the numbered checkpoints are
        validated, and become `best.ckpt` if they score better. A file records the result, so that a
        resumed run does not repeat the choice. The adapter of a task is saved beside the folder of
        checkpoints.
        """
        FinalChoice(self, trainer, task).run()
        if task.adapter is not None and trainer.is_global_zero and self.best.exists():
            save_adapter(task, RunDirectory.of_checkpoint(self.best).adapter, self.best)

    def has_final_best(self, step: int) -> bool:
        """Return whether the final best checkpoint was already chosen, after `step` steps and under
        the current validation settings.
        """
        final = final_record(self.directory)
        return final.get("step") == step and bool(final["best_score"] == self.best_score)

    # Resuming

    def on_fit_start(self, trainer: Trainer, task: Task) -> None:
        """Record the conditions of scores in a training that starts from step 0. A resumed training
        restores them from its checkpoint.
        """
        if self.record.measured_on is None and self.best_score is None:
            self.record.measured_on = task.validation.conditions(trainer)

    def on_load_checkpoint(self, trainer: TaskTrainer, task: Task, checkpoint: StateDict) -> None:
        """Restore the score of the best checkpoint when a training resumes, even if no step is
        left.

        A run that continues from another run's checkpoint starts with that run's best checkpoint,
        or with none. A run that resumes in its own directory creates the files that were missing
        when its process was stopped. Nothing is restored for validate and test.
        """
        state = checkpoint.get("callbacks", {}).pop(self.state_key, None)
        if trainer.state.fn != "fit" or state is None:
            return
        self.load_state_dict(state)
        source = Path(str(trainer.ckpt_path))
        is_own = source.parent.absolute() == self.directory.absolute()
        final = final_record(source.parent)
        is_final = final.get("step") == self.saved_step
        if is_final:  # the best one may be a mean, or the last state
            self.record.restore_score(final)
        if is_own and self.best_score is not None and trainer.is_global_zero and not is_final:
            if self.record.step == self.saved_step:
                link(source, self.best)
            self.files.keep_numbered(self.numbered, self.saved_step, source)
        elif not is_own:
            self.numbered = {}  # the files are another run's
            if self.best_score is not None:
                self._adopt_best(trainer, source.with_name(BEST))
        self._drop_incomparable(trainer, task, checkpoint)
        if not is_own and not self.best.exists():
            self.record.score = None

    def _adopt_best(self, trainer: Trainer, other_best: Path) -> None:
        """Take over the best checkpoint of the run that training continues from, which may be newer
        than the resumed checkpoint.

        A final choice of that run has its score, unless the checkpoint is newer. The checkpoint has
        the score of the time when it was saved, before it was chosen, or before others were
        averaged into it.

        Args:
            other_best: path of the best checkpoint of that run.
        """
        if not other_best.exists():
            return
        other = ResumeState.at(other_best)
        if other.damage is not None:
            return
        final = final_record(other_best.parent)
        if final and other.step <= final["step"]:
            self.record.restore_score(final)
        else:
            saved = other.header["callbacks"].get(self.state_key) or self.state_dict()
            self.record.restore_score(saved)
        if trainer.is_global_zero:
            self.files.adopt_best(other_best)
        trainer.strategy.barrier("best.ckpt")

    def _drop_incomparable(self, trainer: TaskTrainer, task: Task, checkpoint: StateDict) -> None:
        """Discard the best score if validation settings have changed since it was measured, because
        later scores are not comparable with it.
        """
        now = task.validation.conditions(trainer)
        if not now:  # nothing will be validated
            return
        changed = self.record.changes(now, self.same_validation)
        self.record.measured_on = now
        if not changed:
            return
        reset = reset_monitors(trainer.callbacks, checkpoint["callbacks"])
        self._is_outdated = self.best_score is not None and self.best.exists()
        if self.average_of == "best":
            self.numbered = {}
        if trainer.is_global_zero and self.best_score is not None:
            fate = (
                "validated again after training"
                if self._is_outdated
                else "discarded because its weights are not here"
            )
            others = f"; reset: {', '.join(reset)}" if reset else ""
            print(
                f"validation settings differ from those of the best checkpoint so far: "
                f"{', '.join(changed)}; it is {fate}{others}",
                flush=True,
            )
        self.record.forget()
        self.validated_step = 0

    def state_dict(self) -> StateDict:
        return {
            **self.record.state(),
            "validated_step": self.validated_step,
            "saved_step": self.saved_step,
            "numbered": {path.name: score for path, score in self.numbered.items()},
        }

    def load_state_dict(self, state: StateDict) -> None:
        self.record.restore(state)
        self.validated_step = state.get("validated_step", 0)
        self.saved_step = state.get("saved_step", 0)
        self.numbered = {
            self.directory / Path(name).name: score
            for name, score in state.get("numbered", {}).items()
        }


def reset_monitors(callbacks: Sequence[object], states: StateDict) -> list[str]:
    """Remove the saved states of callbacks that monitor a validation metric.

    Args:
        callbacks: callbacks of the Trainer.
        states: saved states of callbacks, changed in place.

    Returns:
        Class names of the callbacks whose states were removed.
    """
    reset = []
    for callback in callbacks:
        if not isinstance(callback, EarlyStopping | ModelCheckpoint):
            continue
        if "val" in (callback.monitor or "") and states.pop(callback.state_key, None) is not None:
            reset.append(type(callback).__name__)
    return reset
