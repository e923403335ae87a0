"""Callback that shows progress and logs the training curve."""
# mypy: disable-error-code="override, assignment"
# (hooks of our callbacks are called with our Task)

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lslm_lightning.training.batches import Batch, total_tokens
from lslm_lightning.training.callbacks.curve import TrainingCurve, learning_rate
from lslm_lightning.training.callbacks.training_display import TrainingDisplay
from lslm_lightning.training.display import Display
from lslm_lightning.training.lightning_internals import TaskTrainer, is_accumulating
from lslm_lightning.training.work import Work
from lslm_lightning.types import StateDict

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task

T = TypeVar("T")


class Reporter(Callback):
    """Callback that shows progress and logs the training curve, a point every
    `trainer.log_every_n_steps` steps.

    The steps since the last point get a point of their own before each validation and at the end of
    training. A run of fewer steps than `trainer.log_every_n_steps` has a few points too.

    Args:
        shown: False to log the curve without showing progress.
        tells_resumption: True to print the position from which a resumed run continues.
    """

    def __init__(self, shown: bool = True, tells_resumption: bool = True) -> None:
        self.tells_resumption = tells_resumption
        self.display = Display(shown)
        self.curve = TrainingCurve()
        self.training = TrainingDisplay(self.display, self.curve)
        self.evaluation = EvaluationDisplay(self.display)

    def is_shown(self, trainer: Trainer) -> bool:
        """Return whether this process shows progress: rank 0 does, unless `shown` is False."""
        return bool(trainer.is_global_zero and self.display.shown)

    def state_dict(self) -> StateDict:
        return self.curve.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        self.curve.load_state_dict(state)

    # Training

    def on_train_start(self, trainer: TaskTrainer, task: Task) -> None:
        is_resumed = self.curve.is_resumed
        self.curve.start(trainer)
        if is_resumed and self.tells_resumption and trainer.is_global_zero:
            self.print_position(trainer, task)
        if self.is_shown(trainer):
            self.training.start(trainer, task)

    def print_position(self, trainer: TaskTrainer, task: Task) -> None:
        """Print the step, epoch, tokens and learning rate from which a resumed run continues."""
        rate = learning_rate(trainer)
        print(
            f"resuming from step {trainer.global_step} of {task.n_step}, "
            f"epoch {trainer.current_epoch}, "
            f"micro-batch {trainer.datamodule.current_position():,}, "
            f"{self.curve.n_token_restored:,} tokens seen"
            + ("" if rate is None else f", learning rate {rate:.3g}"),
            flush=True,
        )

    def on_train_batch_end(
        self,
        trainer: TaskTrainer,
        task: Task,
        outputs: dict[str, Tensor] | None,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        # a model that is not trained by gradients has no outputs
        loss = outputs["loss"] if outputs else None
        self.curve.add(loss, batch.n_token, total_tokens(batch))
        is_step = not is_accumulating(trainer)
        if is_step and self.curve.has_point(trainer, task):
            self.curve.log(trainer, task, self.curve.totals())
        elif trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            # for callbacks that monitor at the end of an epoch
            self.curve.publish(trainer, self.curve.totals())
        self.training.update(trainer, task, batch_idx, is_step)

    def on_train_end(self, trainer: TaskTrainer, task: Task) -> None:
        self.curve.close(trainer, task)
        self.training.finish(trainer)
        self.stop()

    def on_fit_end(self, trainer: TaskTrainer, task: Task) -> None:
        """Log the last point of the curve if a run was stopped after its last step and now resumes
        with no step left.
        """
        if self.curve.is_resumed:
            self.curve.start(trainer)
            self.curve.close(trainer, task)

    def on_exception(self, trainer: Trainer, task: Task, exception: BaseException) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop showing progress."""
        self.display.close()
        self.training.work = None
        self.evaluation.work = None

    # Validations

    def on_validation_start(self, trainer: TaskTrainer, task: Task) -> None:
        if trainer.state.fn == "fit":
            self.curve.close(trainer, task)
        if not self.is_shown(trainer) or trainer.sanity_checking:
            return
        self.training.begin_validation(trainer)
        n_batch = sum(map(int, trainer.num_val_batches))
        self.evaluation.show(Work("validation loss batch", n_batch))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        task: Task,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.evaluation.update(batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        self.evaluation.end()
        self.curve.reset()
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.training.end_validation(trainer, task)

    def answering(self, trainer: Trainer, batches: Sequence[T]) -> Iterator[T]:
        """Yield batches, and show how many of them a validation has answered."""
        if self.is_shown(trainer):
            self.evaluation.show(Work("validation answers batch", len(batches)))
        for done, batch in enumerate(batches, 1):
            yield batch
            self.evaluation.update(done)

    # Tests

    def on_test_start(self, trainer: Trainer, task: Task) -> None:
        if self.is_shown(trainer):
            self.evaluation.show_test(task, "test batch", int(trainer.num_test_batches[0]))

    def on_predict_start(self, trainer: Trainer, task: Task) -> None:
        if self.is_shown(trainer):
            self.evaluation.show_test(task, "predict batch", int(trainer.num_predict_batches[0]))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        task: Task,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.evaluation.update_test(batch_idx + 1)

    def on_test_end(self, trainer: Trainer, task: Task) -> None:
        task.on_scored = None
        self.evaluation.end()

    on_predict_batch_end = on_test_batch_end
    on_predict_end = on_test_end


class EvaluationDisplay:
    """Shows one validation or test at a time on a display.

    Args:
        display: display on which the progress is shown.

    Attributes:
        work: progress of the current validation or test; None if none is shown.
    """

    def __init__(self, display: Display) -> None:
        self.display = display
        self.work: Work | None = None
        self._n_tested = 0

    def show(self, work: Work) -> None:
        """Show the progress of a validation or test, in place of the previous one."""
        self.end()
        self.work = work
        self.display.show(work)

    def update(self, done: float) -> None:
        """Show how many batches are done; `done` may be a fraction."""
        if self.work is not None:
            self.work.update(done)
            self.display.tell(self.work)

    def end(self) -> None:
        """Stop showing the current validation or test."""
        self.display.end(self.work)
        self.work = None

    def show_test(self, task: Task, what: str, n_batch: int) -> None:
        """Show the progress of a test. The task reports its progress inside a batch too, since a
        batch may be one long text.

        Args:
            what: text before the number of batches, such as "test batch".
            n_batch: number of batches of the test.
        """
        self.show(Work(what, n_batch))
        self._n_tested = 0
        task.on_scored = lambda share: self.update(self._n_tested + min(share, 1.0))

    def update_test(self, n_batch: int) -> None:
        """Show how many batches of a test are done."""
        self._n_tested = n_batch
        self.update(n_batch)
