"""What a person sees while a run trains, and the training curve: loss, learning rate, tokens per second, time left."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback, Trainer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from lslm_lightning.safety.terminal import console, progress
from lslm_lightning.training.sharding import data_share
from lslm_lightning.training.task import LOSS_DIVISOR, Task

LINE_EVERY_SECONDS = 15.0
CURVE = ("train/loss", "train/learning_rate", "train/tokens_per_second")  # that callbacks can monitor
T = TypeVar("T")


class TimeLeft:
    """Tells now and then how much of some batches is answered, and about how long the others take.

    The first line comes when the first batch is done after `every` seconds; short work is done without a word.

    Args:
        what: is answered: "test".
        every: seconds from one line to the next.
    """

    def __init__(
        self,
        what: str,
        total: int,
        every: float = LINE_EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.total, self.every, self.clock = what, total, every, clock
        self._began = self._said = clock()

    def line(self, done: int, share: float = 0.0) -> str:
        """Return what to print when `done` batches are done, and a share of the next one; "" where the last line is not old enough."""
        now, n_done = self.clock(), done + share
        if now - self._said < self.every or not 0 < n_done < self.total:
            return ""
        self._said = now
        left = (now - self._began) / n_done * (self.total - n_done)
        batch = f"{done + 1}/{self.total} at {share:.0%}" if share else f"{done}/{self.total}"
        return f"{self.what} batch {batch}, about {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a time in whole seconds, minutes or hours: "40 s", "2 min", "3.1 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Reporter(Callback):
    """A progress bar on a terminal, a line now and then elsewhere; every `trainer.log_every_n_steps` steps a point of the training curve.

    `train/loss` is the mean over the interval in nats per target token (smoothed, where labels are), `train/tokens_per_second` counts real
    source and target tokens in the time spent training: validation is not in it. Both are of all ranks.

    Args:
        shown: False for the curve alone.
    """

    def __init__(self, shown: bool = True) -> None:
        self._console = console(stderr=True)
        self._bar: Progress | None = None
        self._enabled = shown
        self._started = self._said = time.monotonic()
        self.n_token = 0  # of all ranks, since training started
        self.train_seconds = 0.0
        self.latest: dict[str, float] = {}
        self._last_step = 0  # of the last point of the curve
        self._resumed, self._spent = False, 0.0  # seconds since the last point of the curve, in the process before
        self._trainer: Trainer | None = None  # from the start of training on
        self._reset()

    @property
    def tokens_per_second(self) -> float | None:
        """Of the whole training; None before there was any."""
        return self.n_token / self.train_seconds if self.train_seconds else None

    def _reset(self) -> None:
        self._loss: Any = 0.0
        self._target_tokens = self._tokens = 0
        self._carried = (0.0, 0, 0)  # the same three, of all ranks, from the process before
        self._since = time.monotonic()

    def _sums(self) -> tuple[float, int, int]:
        """Loss, target tokens and tokens of all ranks since the last point of the curve; collective."""
        own = torch.tensor([float(self._loss), self._target_tokens, self._tokens], dtype=torch.float64)
        if self._trainer is not None and self._trainer.world_size > 1:
            n_alike = self._trainer.world_size // data_share(self._trainer)[1]  # processes that read the same
            own = self._trainer.strategy.reduce(own.to(self._trainer.strategy.root_device), reduce_op="sum").cpu() / n_alike
        loss, *tokens = (own + torch.tensor(self._carried, dtype=torch.float64)).tolist()
        return loss, *map(round, tokens)

    # Training

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self._started = self._said = time.monotonic()
        self._trainer = trainer
        if self._resumed:
            self._since = time.monotonic() - self._spent
            self._tell(trainer, task)
        else:
            self.n_token, self.train_seconds, self._last_step = 0, 0.0, trainer.global_step
            self._reset()
        self._resumed = False
        if trainer.is_global_zero and self._enabled and self._console.is_terminal:
            columns = (TextColumn("{task.completed}/{task.total} steps"), BarColumn(None), TextColumn("{task.description}"))
            self._bar = progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), output=self._console)
            self._bar.start()
            self._bar.add_task("", total=task.n_step, completed=trainer.global_step)

    def _tell(self, trainer: Trainer, task: Task) -> None:
        """Where a resumed run stands."""
        if trainer.is_global_zero:
            rate = learning_rate(trainer)
            total = trainer.fit_loop.epoch_loop.batch_progress.total
            print(
                f"from step {trainer.global_step} of {task.n_step}, epoch {trainer.current_epoch},"
                f" micro-batch {trainer.datamodule.position(total.processed):,}, {self.n_token:,} tokens seen"
                + ("" if rate is None else f", learning rate {rate:.3g}"),
                flush=True,
            )

    def state_dict(self) -> dict[str, Any]:
        """Sums since the last point of the curve too, so that the next one is what it would have been."""
        loss, target_tokens, tokens = self._sums()
        seconds = time.monotonic() - self._since if tokens else 0.0
        totals = {"n_token": self.n_token, "train_seconds": self.train_seconds, "last_step": self._last_step}
        sums = {"loss": loss, "target_tokens": target_tokens, "tokens": tokens, "seconds": seconds}
        return sums | totals | {"latest": dict(self.latest)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._carried = (state["loss"], state["target_tokens"], state["tokens"])
        self.n_token, self.train_seconds, self._last_step = state["n_token"], state["train_seconds"], state["last_step"]
        self.latest, self._spent, self._resumed = dict(state["latest"]), state["seconds"], True

    def on_train_batch_end(self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        if outputs:  # none of a model that is not trained by gradients
            self._loss = self._loss + precise(outputs["loss"].detach())
        self._target_tokens += batch.n_token
        self._tokens += batch.n_token + batch.n_source_token
        accumulating = trainer.fit_loop._should_accumulate()
        if accumulating or not trainer.log_every_n_steps or trainer.global_step % trainer.log_every_n_steps:
            if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:  # an end of an epoch may look at it
                self._publish(trainer, *self._sums())
            return
        self._log(trainer, task)
        self._show(trainer, task)

    def _log(self, trainer: Trainer, task: Task) -> None:
        loss, target_tokens, tokens = self._sums()  # waits for a GPU, so it stands before the clock
        nats = loss * LOSS_DIVISOR * trainer.accumulate_grad_batches
        task.check_finite(nats, self._last_step)  # on a GPU nobody looked before
        seconds = max(1e-9, time.monotonic() - self._since)
        self.train_seconds += seconds
        self.n_token += tokens
        self.latest |= self._publish(trainer, loss, target_tokens, tokens, seconds)
        for logger in trainer.loggers:
            logger.log_metrics({**self.latest, "train/tokens": self.n_token}, step=trainer.global_step)
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
        values = {"train/tokens_per_second": tokens / seconds}
        if (rate := learning_rate(trainer)) is not None:
            nats = loss * LOSS_DIVISOR * trainer.accumulate_grad_batches
            values |= {"train/loss": nats / max(1, target_tokens), "train/learning_rate": rate}
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
        return values

    def _show(self, trainer: Trainer, task: Task) -> None:
        if not (trainer.is_global_zero and self._enabled):
            return
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=trainer.global_step, total=task.n_step, description=self._words(trainer))
        elif time.monotonic() - self._said > LINE_EVERY_SECONDS:
            self._line(trainer, task)

    def _line(self, trainer: Trainer, task: Task) -> None:
        self._said = time.monotonic()
        minutes = (self._said - self._started) / 60
        print(f"step {trainer.global_step}/{task.n_step}  {self._words(trainer)}  {minutes:.1f} min", flush=True)

    def _words(self, trainer: Trainer) -> str:
        parts = [f"loss {self.latest['train/loss']:.3f}"] if "train/loss" in self.latest else []
        parts += [f"{name} {float(v):.3f}" for name, v in trainer.callback_metrics.items() if name.startswith("val/")]
        if "train/tokens_per_second" in self.latest:
            parts.append(f"{self.latest['train/tokens_per_second']:,.0f} tokens/s")
        return " · ".join(parts)

    def on_validation_start(self, trainer: Trainer, task: Task) -> None:
        self._left = TimeLeft("validation loss,", sum(map(int, trainer.num_val_batches)))
        if trainer.state.fn == "fit" and (sums := self._sums())[2]:
            self._publish(trainer, *sums)
            self.train_seconds += time.monotonic() - self._since
            self.n_token += sums[2]

    def on_validation_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not trainer.sanity_checking:
            self._tell_left(trainer, self._left, batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        self._reset()
        if trainer.state.fn == "fit" and trainer.is_global_zero and self._enabled and not trainer.sanity_checking:
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], description=self._words(trainer))
            else:
                self._line(trainer, task)

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, task: Task, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    # Answers

    def on_test_start(self, trainer: Trainer, task: Task) -> None:
        self._left = TimeLeft("test", int(trainer.num_test_batches[0]))
        self._listen(trainer, task)

    def on_predict_start(self, trainer: Trainer, task: Task) -> None:
        self._left = TimeLeft("predict", int(trainer.num_predict_batches[0]))
        self._listen(trainer, task)

    def on_test_end(self, trainer: Trainer, task: Task) -> None:
        task.on_scored = None

    on_predict_end = on_test_end

    def _listen(self, trainer: Trainer, task: Task) -> None:
        """Let the task tell how far it is in a batch, which may be one long text."""
        self._n_tested = 0
        task.on_scored = lambda share: self._tell_left(trainer, self._left, self._n_tested, share)

    def on_test_batch_end(self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._n_tested = batch_idx + 1
        self._tell_left(trainer, self._left, batch_idx + 1)

    on_predict_batch_end = on_test_batch_end

    def answering(self, trainer: Trainer, batches: Sequence[T]) -> Iterator[T]:
        """Yield the batches that a validation answers, and tell how many are left."""
        left = TimeLeft("validation", len(batches))
        for done, batch in enumerate(batches):
            if done:
                self._tell_left(trainer, left, done)
            yield batch

    def _tell_left(self, trainer: Trainer, left: TimeLeft, done: int, share: float = 0.0) -> None:
        if not (trainer.is_global_zero and self._enabled and (line := left.line(done, share))):
            return
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=line)
        else:
            print(line, flush=True)


def learning_rate(trainer: Trainer) -> float | None:
    """Of the next step; None where nothing is trained by gradients."""
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups if "lr" in group]
    return groups[0]["lr"] if groups else None


def precise(x: Tensor) -> Tensor:
    """In double precision, in which the order of a sum of losses makes no difference, where the device has it."""
    return x if x.device.type == "mps" else x.double()
