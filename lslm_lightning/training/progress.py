"""What a person sees while a run trains, and the training curve: loss, learning rate, tokens per
second, time left.
"""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Timer

from lslm_lightning.training.accumulation import TrainingSums
from lslm_lightning.training.display import Display
from lslm_lightning.training.interruption import arriving, is_behind
from lslm_lightning.training.sharding import data_share
from lslm_lightning.training.task import Task
from lslm_lightning.training.token_gradients import LOSS_DIVISOR, check_finite
from lslm_lightning.training.work import TrainingWork, Work

# that callbacks can monitor
CURVE = ("train/loss", "train/learning_rate", "train/tokens_per_second")
# how often the loss between two points of the curve is looked at, to be shown
LOOK_EVERY_SECONDS = 1.0
FEW_STEPS = 10  # the loss of fewer says little: the last point of the curve is shown instead
N_POINT = 10  # points of the curve of a run that is shorter than `trainer.log_every_n_steps`
T = TypeVar("T")


class Reporter(Callback):
    """Shows progress, and logs the training curve: a point every `trainer.log_every_n_steps` steps.

    Steps that no such point holds have one of their own: before each validation, at the end of
    training, and about `N_POINT` times in a run of fewer steps than `trainer.log_every_n_steps`.
    Each point is about the steps since the one before.

    `train/loss` is the mean over these steps in nats per target token (smoothed, where labels are),
    `train/tokens_per_second` counts real source and target tokens in the time spent training:
    validation is not in it. Both are of all ranks; what is shown between two points is of this rank
    alone, and no step waits for a GPU to know it.

    Args:
        shown: False for the curve alone.
    """

    def __init__(self, shown: bool = True) -> None:
        self.display = Display(shown)
        self._work: TrainingWork | None = None  # of the training under way, if it is shown
        self._part: Work | None = None  # of the validation or test under way, if it is shown
        self.n_token = 0  # of all ranks, since training started
        self.train_seconds = 0.0
        self.latest: dict[str, float] = {}
        self._last_step = 0  # of the last point of the curve
        # seconds since the last point of the curve, in the process before
        self._resumed = False
        self._spent = 0.0
        self._trainer: Trainer | None = None  # from the start of training on
        self._n_micro = 0  # micro-batches of the step under way
        self._looked = 0.0
        self._validated_step: int | None = None
        # a loss that is on its way from a GPU, and its target tokens
        self._awaited: tuple[Any, int] | None = None
        self._sums = TrainingSums()  # of this rank, since the last point of the curve
        self._reset()

    @property
    def tokens_per_second(self) -> float | None:
        """Of the whole training; None before there was any."""
        return self.n_token / self.train_seconds if self.train_seconds else None

    def _reset(self) -> None:
        self._sums.reset()
        self._carried = (0.0, 0, 0)  # loss, target tokens and tokens of the process before
        self._since = time.monotonic()

    def _totals(self) -> tuple[float, int, int]:
        """Loss, target tokens and tokens of all ranks since the last point of the curve;
        collective.
        """
        sums = self._sums.clone()
        if self._trainer is not None and self._trainer.world_size > 1:
            sums.n_alike = self._trainer.world_size // data_share(self._trainer)[1]
            sums.to(self._trainer.strategy.root_device)
        sums.update(None, 0, 0)  # also where there was no step
        carried = torch.tensor(self._carried, dtype=torch.float64)
        loss, *tokens = (sums.compute() + carried).tolist()
        return loss, *map(round, tokens)

    def _shows(self, trainer: Trainer) -> bool:
        return bool(trainer.is_global_zero and self.display.shown)

    # Training

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self._trainer = trainer
        if self._resumed:
            self._since = time.monotonic() - self._spent
            self._tell(trainer, task)
        else:
            self.n_token = 0
            self.train_seconds = 0.0
            self._last_step = trainer.global_step
            self._reset()
        self._resumed = False
        self._n_micro = 0
        self._awaited = None
        if self._shows(trainer):
            if task.one_pass:
                self._work = TrainingWork(0, finite(trainer.num_training_batches), what="batch")
            else:
                self._work = TrainingWork(
                    trainer.global_step, task.n_step, steps_per_validation(trainer)
                )
            self._work.loss = self.latest.get("train/loss")
            timers = [
                callback.time_remaining()
                for callback in trainer.callbacks
                if isinstance(callback, Timer)
            ]
            if ends := [seconds for seconds in timers if seconds is not None]:
                self._work.deadline = time.monotonic() + min(ends)
            self._looked = -math.inf
            self.display.begin(self._work, lasting=True)

    def _tell(self, trainer: Trainer, task: Task) -> None:
        """Where a resumed run stands."""
        if trainer.is_global_zero:
            rate = learning_rate(trainer)
            total = trainer.fit_loop.epoch_loop.batch_progress.total
            print(
                f"from step {trainer.global_step} of {task.n_step}, epoch {trainer.current_epoch},"
                f" micro-batch {trainer.datamodule.position(total.processed):,}, "
                f"{self.n_token:,} tokens seen"
                + ("" if rate is None else f", learning rate {rate:.3g}"),
                flush=True,
            )

    def state_dict(self) -> dict[str, Any]:
        """Sums since the last point of the curve too, so that the next one is what it would have
        been.
        """
        loss, target_tokens, tokens = self._totals()
        seconds = time.monotonic() - self._since if tokens else 0.0
        totals = {
            "n_token": self.n_token,
            "train_seconds": self.train_seconds,
            "last_step": self._last_step,
        }
        sums = {"loss": loss, "target_tokens": target_tokens, "tokens": tokens, "seconds": seconds}
        return sums | totals | {"latest": dict(self.latest)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._carried = (state["loss"], state["target_tokens"], state["tokens"])
        self.n_token = state["n_token"]
        self.train_seconds = state["train_seconds"]
        self._last_step = state["last_step"]
        self.latest = dict(state["latest"])
        self._spent = state["seconds"]
        self._resumed = True

    def on_train_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # no outputs of a model that is not trained by gradients
        loss = outputs["loss"] if outputs else None
        self._sums.update(loss, batch.n_token, batch.n_token + batch.n_source_token)
        is_step = not trainer.fit_loop._should_accumulate()
        self._n_micro = 0 if is_step else self._n_micro + 1
        if is_step and self._is_point(trainer, task):
            self._log(trainer, task, self._totals())
        elif trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            # callbacks may look at the end of an epoch
            self._publish(trainer, *self._totals())
        if self._work is not None:
            self._show_step(trainer, task, batch_idx)

    @staticmethod
    def _is_point(trainer: Trainer, task: Task) -> bool:
        """Whether the curve has a point at this step, whatever comes after it."""
        every = trainer.log_every_n_steps
        step = trainer.global_step
        if not every:
            return False
        if step < every and (n_step := task.n_step) < every:
            return step % max(1, n_step // N_POINT) == 0
        return step % every == 0

    def _log(self, trainer: Trainer, task: Task, sums: tuple[float, int, int]) -> None:
        """Log a point of the curve, given `_totals`, which waits for a GPU and so stands before the
        clock.
        """
        loss, target_tokens, tokens = sums
        nats = loss * LOSS_DIVISOR * trainer.accumulate_grad_batches
        check_finite(nats, task.global_step, self._last_step)  # on a GPU nobody looked before
        seconds = max(1e-9, time.monotonic() - self._since)
        self.train_seconds += seconds
        self.n_token += tokens
        self.latest |= self._publish(trainer, loss, target_tokens, tokens, seconds)
        for logger in trainer.loggers:
            logger.log_metrics(
                {**self.latest, "train/tokens": self.n_token}, step=trainer.global_step
            )
        self._last_step = trainer.global_step
        self._reset()

    def _publish(
        self,
        trainer: Trainer,
        loss: float,
        target_tokens: int,
        tokens: int,
        seconds: float | None = None,
    ) -> dict[str, float]:
        """Let callbacks see the means since the last point of the curve, and return them."""
        seconds = max(1e-9, time.monotonic() - self._since) if seconds is None else seconds
        values = {}
        # the loss leads: MLflow's page of two runs begins with what was logged first
        if (rate := learning_rate(trainer)) is not None:
            nats = loss * LOSS_DIVISOR * trainer.accumulate_grad_batches
            values = {"train/loss": nats / max(1, target_tokens), "train/learning_rate": rate}
        values["train/tokens_per_second"] = tokens / seconds
        trainer.callback_metrics.update(
            {name: torch.tensor(value) for name, value in values.items()}
        )
        return values

    def _close(self, trainer: Trainer, task: Task) -> None:
        """Let steps that no point of the curve holds have one; collective."""
        sums = self._totals()
        if not sums[2]:
            return
        if trainer.log_every_n_steps:
            self._log(trainer, task, sums)
        else:
            self._publish(trainer, *sums)
            self.train_seconds += time.monotonic() - self._since
            self.n_token += sums[2]
            self._reset()

    def _show_step(self, trainer: Trainer, task: Task, batch_idx: int) -> None:
        work = self._work
        now = time.monotonic()
        is_first = work.done < 1 + work.start <= trainer.global_step
        if task.one_pass:
            work.update(batch_idx + 1)
        else:
            work.total = task.n_step  # a budget in minutes may change it
            work.update(trainer.global_step + self._n_micro / trainer.accumulate_grad_batches)
        if is_first or now - self._looked >= LOOK_EVERY_SECONDS:
            self._looked = now
            self._look(trainer)
        if is_first:
            self.display.print(work)
        else:
            self.display.tell(work)

    def _look(self, trainer: Trainer) -> None:
        """Show the loss and the speed since the last point of the curve, without waiting for a
        GPU.
        """
        work = self._work
        is_new = "train/loss" not in self.latest
        n_token = int(self._sums.n_token)
        if n_token and (is_new or trainer.global_step - self._last_step >= FEW_STEPS):
            n_share = data_share(trainer)[1] if trainer.world_size > 1 else 1
            work.tokens_per_second = n_share * n_token / max(1e-9, time.monotonic() - self._since)
            if (found := self._own_loss()) is not None:
                nats, target_tokens = found
                work.loss = (
                    nats * LOSS_DIVISOR * trainer.accumulate_grad_batches / max(1, target_tokens)
                )
        else:
            work.loss = self.latest.get("train/loss", work.loss)
            work.tokens_per_second = self.latest.get(
                "train/tokens_per_second", work.tokens_per_second
            )

    def _own_loss(self) -> tuple[float, int] | None:
        """Return the sum of the losses of this rank since the last point of the curve, and its
        target tokens; None while it is not here.
        """
        if not self._sums.has_loss:
            return None
        loss = self._sums.loss
        n_target = int(self._sums.n_target)
        if loss.device.type == "cpu":
            return float(loss), n_target
        if not is_behind(loss.device):  # nothing tells whether reading would wait
            return None
        found = None
        if self._awaited is not None and self._awaited[0][1].query():
            found = float(self._awaited[0][0]), self._awaited[1]
        if self._awaited is None or found is not None:
            self._awaited = arriving(loss), n_target
        return found

    def on_validation_start(self, trainer: Trainer, task: Task) -> None:
        if trainer.state.fn == "fit":
            self._close(trainer, task)
        if not self._shows(trainer) or trainer.sanity_checking:
            return
        if self._work is not None:
            self._look(trainer)
            self._work.begin_validation()
        self._begin(Work("validation loss batch", sum(map(int, trainer.num_val_batches))))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        task: Task,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._update(batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        self._end()
        self._reset()
        if self._work is not None and trainer.state.fn == "fit" and not trainer.sanity_checking:
            found = {
                name: float(v)
                for name, v in trainer.callback_metrics.items()
                if name.startswith("val/")
            }
            first = {name: found[name] for name in (task.monitor, "val/loss") if name in found}
            self._work.scores = first | found
            self._work.end_validation()
            self.display.print(self._work)
            self._validated_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        self._close(trainer, task)
        if self._work is not None:
            self._look(trainer)
            if self._validated_step != trainer.global_step:  # whose line is there
                self.display.print(self._work)
        self._stop()

    def on_fit_end(self, trainer: Trainer, task: Task) -> None:
        """A training that was stopped after its last step has no step left, but perhaps a point of
        its curve.
        """
        if self._resumed:
            self._resumed = False
            self._trainer = trainer
            self._since = time.monotonic() - self._spent
            self._close(trainer, task)

    def on_exception(self, trainer: Trainer, task: Task, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        self.display.close()
        self._work = self._part = None

    # Validations and tests

    def _begin(self, work: Work) -> None:
        """Show a validation or a test in place of the one before."""
        self._end()
        self._part = work
        self.display.begin(work)

    def _update(self, done: float) -> None:
        if self._part is not None:
            self._part.update(done)
            self.display.tell(self._part)

    def _end(self) -> None:
        self.display.end(self._part)
        self._part = None

    def on_test_start(self, trainer: Trainer, task: Task) -> None:
        self._listen(trainer, task, "test batch", int(trainer.num_test_batches[0]))

    def on_predict_start(self, trainer: Trainer, task: Task) -> None:
        self._listen(trainer, task, "predict batch", int(trainer.num_predict_batches[0]))

    def on_test_end(self, trainer: Trainer, task: Task) -> None:
        task.on_scored = None
        self._end()

    on_predict_end = on_test_end

    def _listen(self, trainer: Trainer, task: Task, what: str, total: int) -> None:
        """Show a test, and let the task tell how far it is in a batch, which may be one long
        text.
        """
        if self._shows(trainer):
            self._begin(Work(what, total))
            self._n_tested = 0
            task.on_scored = lambda share: self._update(self._n_tested + min(share, 1.0))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        task: Task,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._n_tested = batch_idx + 1
        self._update(batch_idx + 1)

    on_predict_batch_end = on_test_batch_end

    def answering(self, trainer: Trainer, batches: Sequence[T]) -> Iterator[T]:
        """Yield the batches that a validation answers, and show how many are left."""
        if self._shows(trainer):
            self._begin(Work("validation answers batch", len(batches)))
        for done, batch in enumerate(batches, 1):
            yield batch
            self._update(done)


def finite(number: float) -> int | None:
    """Return a number of batches; None where there is no end to them."""
    return int(number) if math.isfinite(number) else None


def steps_per_validation(trainer: Trainer) -> float | None:
    """Return the optimizer steps from one validation to the next; None where nothing is
    validated.
    """
    if not trainer.enable_validation:
        return None
    n_epoch = trainer.check_val_every_n_epoch or 1
    n_batch = trainer.val_check_batch if n_epoch == 1 else n_epoch * trainer.num_training_batches
    return n_batch / trainer.accumulate_grad_batches


def learning_rate(trainer: Trainer) -> float | None:
    """Of the next step; None where nothing is trained by gradients."""
    groups = [
        group
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
        if "lr" in group
    ]
    return groups[0]["lr"] if groups else None
