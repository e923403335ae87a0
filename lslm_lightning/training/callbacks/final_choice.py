"""Choice of the best checkpoint after training, with validations of those not validated yet."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lslm_lightning.contracts import metric_label
from lslm_lightning.runs.states import draft_of_checkpoint, link, put, read_state, synchronize
from lslm_lightning.training.distributed.checkpoint_io import mean_of_weights
from lslm_lightning.training.lightning_internals import TaskTrainer, log_at_last_step
from lslm_lightning.training.task import Task
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from lslm_lightning.training.callbacks.checkpoints import Checkpoints


class FinalChoice:
    """Validates the last checkpoint and the mean of several checkpoints after training. Each
    becomes the best checkpoint if it scores better.

    Args:
        checkpoints: callback that saved the checkpoints of the training.
        trainer: Trainer that runs the validations.
        task: the trained task.
    """

    def __init__(self, checkpoints: "Checkpoints", trainer: TaskTrainer, task: Task) -> None:
        self.checkpoints = checkpoints
        self.record = checkpoints.record
        self.files = checkpoints.files
        self.trainer = trainer
        self.task = task

    def run(self) -> None:
        """Choose the best checkpoint and record the choice. Does nothing if the choice is recorded
        already. Collective.
        """
        trainer = self.trainer
        checkpoints = self.checkpoints
        log_at_last_step(trainer)
        if checkpoints.has_final_best(trainer.global_step):
            return
        checkpoints.keep_outdated_best(trainer)
        last_is_new = (
            checkpoints.validated_step != trainer.global_step and trainer.enable_validation
        )
        trainer.strategy.barrier("outdated-best.ckpt")
        states = self.files.steps()
        outdated = self.files.outdated() if trainer.enable_validation else []
        trainer.strategy.barrier("candidates")
        if last_is_new and self.files.last.exists():
            self.validate(self.files.last, "the last state")
        # the following validations are not logged as points of the run's curves
        loggers = trainer.loggers
        trainer.loggers = []
        for path in outdated:
            self.validate(path, "the best checkpoint by earlier validation settings")
        self.validate_mean(states)
        trainer.loggers = loggers
        if trainer.is_global_zero:
            self.report_equal_scores()
            self.files.write_final(self.result(), [*states, self.files.average, *outdated])
        trainer.strategy.barrier("final choice")

    def validate_mean(self, states: list[Path]) -> None:
        """Validate the mean of the weights of several checkpoints. Does nothing for fewer than two.

        Args:
            states: paths of the checkpoints to average, oldest first.
        """
        n_wanted = self.checkpoints.average
        if n_wanted > 1 and len(states) < n_wanted and self.trainer.is_global_zero:
            made = "there is no mean" if len(states) < 2 else f"the mean is of {len(states)}"
            print(
                f"job.average={n_wanted}, but only {len(states)} checkpoints were validated during "
                f"training: {made}",
                flush=True,
            )
        if len(states) > 1:
            if self.trainer.is_global_zero:
                torch.save(mean_of_weights(states), self.files.average)
            self.trainer.strategy.barrier("average.ckpt")
            self.validate(self.files.average, f"the mean of {len(states)} checkpoints")

    def validate(self, path: Path, name: str) -> None:
        """Validate a checkpoint, and make it the best one if it scores better. Collective.

        Args:
            name: name of the checkpoint in the printed line, such as "the last state".
        """
        trainer = self.trainer
        task = self.task
        task.is_candidate = True
        try:
            [values] = trainer.validate(
                task,
                datamodule=trainer.datamodule,
                ckpt_path=str(path),
                verbose=False,
                weights_only=True,
            )
        finally:
            task.is_candidate = False
        score = values.get(task.monitor)
        if score is None:
            return
        loss = values.get("val/loss", math.nan)
        is_best = self.record.is_worse_than(score, loss, task.higher_is_better)
        if trainer.is_global_zero:
            beside = self.compared(score, is_best)
            print(f"{metric_label(task.monitor)} of {name} {score:.4g}{beside}", flush=True)
        if is_best:
            self.record.score = score
            self.record.loss = loss
            if trainer.is_global_zero:
                self.promote_to_best(path)
        trainer.strategy.barrier("best.ckpt")

    def compared(self, score: float, is_best: bool) -> str:
        """Return how a score compares with that of best.ckpt, as the end of a sentence.

        Args:
            is_best: whether the checkpoint with the score becomes best.ckpt.
        """
        best = self.record.score
        if best is None:
            return ""
        if score == best and self.task.monitor != "val/loss":
            return f", equal to that of best.ckpt ({best:.4g}): the lower val/loss wins"
        if is_best:
            return f", better than that of best.ckpt ({best:.4g}): it takes its place"
        return f", not better than that of best.ckpt ({best:.4g})"

    def promote_to_best(self, path: Path) -> None:
        """Make a checkpoint the best one. Buffers of the task that its validation has calibrated
        are stored in it.
        """
        if not self.task.answering.calibrates:
            link(path, self.files.best)
            return
        state = read_state(path)
        draft = draft_of_checkpoint(self.files.best)
        state["state_dict"] |= {
            name: value.cpu()
            for name, value in self.task.named_buffers()
            if name in state["state_dict"]
        }
        torch.save(state, draft)
        synchronize(draft)
        put(draft, self.files.best)

    def report_equal_scores(self) -> None:
        """Print a line if the task's metric had the same value at every validation."""
        if self.task.monitor != "val/loss" and (self.record.n_equal or 0) > 1:
            print(
                f"{metric_label(self.task.monitor)} was {self.record.score:.4g} at each of "
                f"{self.record.n_equal} validations and cannot rank checkpoints: best.ckpt is "
                "chosen by val/loss",
                flush=True,
            )

    def result(self) -> JsonObject:
        """Return the record of the choice as JSON data: step, best score, and the conditions under
        which the score was measured.
        """
        result: JsonObject = {
            "step": self.trainer.global_step,
            "best_score": self.record.score,
            "measured": self.record.measured_on,
        }
        if math.isfinite(self.record.loss):
            result["best_loss"] = self.record.loss
        return result
