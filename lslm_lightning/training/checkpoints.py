"""Which states of training are kept: the last one, the best one, and the mean of several."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

from lslm_lightning.contracts import metric_label
from lslm_lightning.files import atomic_write
from lslm_lightning.runs.directory import earlier
from lslm_lightning.runs.integrity import damage
from lslm_lightning.runs.states import (
    META,
    checksum,
    link,
    put,
    read_state,
    remove,
    synchronize,
    write_checksums,
)
from lslm_lightning.safety.user_files import permit_as_usual
from lslm_lightning.training.sharding import local
from lslm_lightning.training.task import Task
from lslm_lightning.training.token_gradients import NotFiniteError

SETTLED = "settled"  # the file that says which state became the best one in the end


def save_atomically(trainer: Trainer, path: Path, n_kept: int = 1) -> None:
    """`trainer.save_checkpoint` under a temporary name, then renamed: under `path` stands the old
    state or the new one, never a part.

    All ranks call it; rank 0 writes, or each its part. Of the states before it, n_kept - 1 stay
    under the names of `earlier`.

    Raises:
        NotFiniteError: a weight is nan or infinite; what is on disk stays.
        OSError: on every rank, where one could not write; what is on disk stays.
    """
    lost = torch.tensor(
        not all(bool(local(p).isfinite().all()) for p in trainer.lightning_module.parameters())
    )
    if trainer.strategy.reduce(lost.float().to(trainer.strategy.root_device), reduce_op="sum"):
        raise NotFiniteError(
            f"the weights are not finite at step {trainer.global_step}; try a smaller learning "
            "rate or gradient clipping"
        )
    part = path.with_name(f".{path.name}.part")
    if trainer.is_global_zero:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(part)  # of a process that was killed
    trainer.strategy.barrier("part")
    try:
        trainer.save_checkpoint(part)
        sums = written(trainer, part) if part.is_dir() else {}
        if trainer.is_global_zero:
            if part.is_dir():
                write_checksums(part, sums)
            else:
                permit_as_usual(part)
            synchronize(part)
            for i in range(n_kept - 1, 0, -1):
                if (before := path if i == 1 else earlier(path, i - 1)).exists():
                    link(before, earlier(path, i))
            put(part, path)
            synchronize(path.parent)
    finally:
        if trainer.is_global_zero:
            remove(part)


def written(trainer: Trainer, folder: Path) -> dict[str, int]:
    """Checksums of all files in a folder, each by the process that wrote it, when they are on the
    disk; collective.

    Raises:
        ValueError: rank 0 does not see all of them.
    """
    own = [
        *folder.glob(f"__{trainer.global_rank}_*"),
        *(folder / name for name in (".metadata", META) if trainer.is_global_zero),
    ]
    for path in own:
        synchronize(path)
    sums = {path.name: checksum(path) for path in own}
    shares: list[dict[str, int]] = [sums]
    if trainer.world_size > 1:
        shares = [{}] * trainer.world_size
        torch.distributed.all_gather_object(shares, sums)
    sums = {name: value for share in shares for name, value in share.items()}
    if trainer.is_global_zero and (
        missing := [name for name in sums if not (folder / name).exists()]
    ):
        raise ValueError(
            f"{folder} lacks {missing[0]}, which another machine wrote: job.root must be a "
            "folder that all machines share"
        )
    return sums


def mean_of_weights(paths: Sequence[Path]) -> dict[str, Any]:
    """The newest of these checkpoints with the mean of the weights of all (Vaswani et al. 2017,
    section 6.1); sums in float64.
    """
    newest = read_state(paths[-1])
    sums = {
        name: w.double() if w.is_floating_point() else w for name, w in newest["state_dict"].items()
    }
    for path in paths[:-1]:
        state = read_state(path)["state_dict"]
        for name, total in sums.items():
            if total.is_floating_point():
                total += state[name].double()
    kept = newest["state_dict"]
    newest["state_dict"] = {
        n: (s / len(paths)).to(kept[n].dtype) if s.is_floating_point() else s
        for n, s in sums.items()
    }
    return newest


class Checkpoints(Checkpoint):
    """Saves after each validation: `last.ckpt`, `best.ckpt` by the task's metric, and `step-*.ckpt`
    where they are to be averaged.

    Of states with the same score the one with the lower val/loss is better; a metric is often 0 at
    the beginning of training.

    Between validations `last.ckpt` is saved every so often; the states before the last and the best
    one stay as `last-1.ckpt`, `best-1.ckpt` and so on.

    Args:
        directory: where the files go.
        average: how many states are averaged after training; 0 or 1 for no average.
        average_of: the "last" states, or the "best" by the task's metric.
        n_last: how many of the last states are kept.
        n_best: how many of the best states are kept.
        every_steps: save after so many steps; None for validations alone.
        every_minutes: save when so many minutes have gone by since the last time; None for
            validations alone.
        same_validation: whether a validation by this config is one by the config of the state that
            training goes on from; asked only for a state that does not say what its scores were
            measured on, as those of earlier releases do not.
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
        self.best_score: float | None = None
        self.best_loss = math.nan  # val/loss of the best state
        # validations so far, if all of them had the same score; else None
        self.n_alike: int | None = 0
        # what `best_score` was measured on; see `Validation.conditions`
        self.measured: dict[str, str] | None = None
        self._is_outdated = False  # whether best.ckpt on disk was chosen by another measure
        self.best_step = self.validated_step = self.saved_step = 0
        self.is_saving = False
        self._saved_at = time.monotonic()
        self._scores: dict[Path, float] = {}  # of the numbered states, oldest first

    # Between validations

    def is_due(self, trainer: Trainer) -> bool:
        """Whether to save after this step, on all ranks alike."""
        return self.every_steps is not None and trainer.global_step % self.every_steps == 0

    @property
    def is_late(self) -> bool:
        """Whether it is time to save, by this process's clock."""
        return (
            self.every_minutes is not None
            and time.monotonic() - self._saved_at > 60 * self.every_minutes
        )

    def save(self, trainer: Trainer) -> None:
        """The present state as `last.ckpt`; collective."""
        self._keep_outdated(trainer)
        self.saved_step = trainer.global_step
        self.is_saving = True
        try:
            save_atomically(trainer, self.last, self.n_last)
        finally:
            self.is_saving = False
        self._saved_at = time.monotonic()

    @property
    def best(self) -> Path:
        return self.directory / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.directory / "last.ckpt"

    def outdated(self) -> list[Path]:
        """The best states by other measures, which are still to be validated by the present one."""
        return sorted(self.directory.glob("outdated-best*.ckpt"))

    def steps(self) -> list[Path]:
        """The numbered states, oldest first."""
        return sorted(self.directory.glob("step-*.ckpt"))

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self._saved_at = time.monotonic()

    def on_fit_start(self, trainer: Trainer, task: Task) -> None:
        """Of a training from step 0; one that goes on has its measure already, or gets it after
        this.
        """
        if self.measured is None and self.best_score is None:
            self.measured = task.validation.conditions(trainer)

    def on_load_checkpoint(self, trainer: Trainer, task: Task, checkpoint: dict[str, Any]) -> None:
        """Take over what a state of training knows of the best states, also where no step is left
        to do.

        A run that goes on from another's checkpoint begins with that one's best, or with none. One
        that goes on in its own directory makes the files that its process had not come to when it
        was stopped. A state that is only validated or tested is not asked.
        """
        state = checkpoint.get("callbacks", {}).pop(self.state_key, None)
        if trainer.state.fn != "fit" or state is None:
            return
        self.load_state_dict(state)
        source = Path(trainer.ckpt_path)
        is_own = source.parent.absolute() == self.directory.absolute()
        is_settled = outcome_of(source.parent).get("step") == self.saved_step
        if is_settled:  # the best one may be a mean, or the last state
            self._believe(outcome_of(source.parent))
        if is_own and self.best_score is not None and trainer.is_global_zero and not is_settled:
            self._catch_up(source)
        elif not is_own:
            self._scores = {}  # the files are another run's
            if self.best_score is not None:
                self._adopt(trainer, source.with_name("best.ckpt"), is_settled)
        self._compare(trainer, task, checkpoint)
        if not is_own and not self.best.exists():
            self.best_score = None

    def _believe(self, state: Mapping[str, Any]) -> None:
        """The score of the best state, and what it was measured on."""
        self.best_score = state["best_score"]
        loss = state.get("best_loss")
        self.best_loss = math.nan if loss is None else loss
        self.measured = state.get("measured")

    def _adopt(self, trainer: Trainer, theirs: Path, is_settled: bool) -> None:
        """Begin with the best state of another run, which may be newer than the one that training
        goes on from.
        """
        if not theirs.exists() or damage(theirs):
            return
        if not is_settled:
            found = torch.load(
                theirs / META if theirs.is_dir() else theirs, map_location="meta", weights_only=True
            )
            self._believe(found["callbacks"].get(self.state_key) or self.state_dict())
        if trainer.is_global_zero and not self.best.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            link(theirs, self.best)
        trainer.strategy.barrier("best.ckpt")

    def _compare(self, trainer: Trainer, task: Task, checkpoint: Mapping[str, Any]) -> None:
        """Let the best state so far keep its place only where its score means what those to come
        mean.
        """
        before = self.measured
        now = task.validation.conditions(trainer)
        if not now:  # nothing will be validated
            return
        self.measured = now
        if before is None:
            changed = (
                []
                if self.same_validation
                else ["its config.yaml validates otherwise, or is not there"]
            )
        else:
            changed = [
                f"{n} ({before[n]} then, {value} now)"
                for n, value in now.items()
                if before.get(n, value) != value
            ]
        if not changed:
            return
        forgotten = []
        for callback in trainer.callbacks:
            is_judge = isinstance(callback, EarlyStopping | ModelCheckpoint) and "val" in (
                callback.monitor or ""
            )
            if is_judge and checkpoint["callbacks"].pop(callback.state_key, None) is not None:
                forgotten.append(type(callback).__name__)
        self._is_outdated = self.best_score is not None and self.best.exists()
        if self.average_of == "best":
            self._scores = {}
        if trainer.is_global_zero and self.best_score is not None:
            fate = (
                "validated anew after training"
                if self._is_outdated
                else "set aside, for its weights are not here"
            )
            others = f"; reset: {', '.join(forgotten)}" if forgotten else ""
            print(
                (
                    f"validation differs from that of the best state so far: {', '.join(changed)}; "
                    f"it is {fate}{others}"
                ),
                flush=True,
            )
        self.best_score = None
        self.best_loss = math.nan
        self.n_alike = 0
        self.best_step = 0
        self.validated_step = 0

    def _keep_outdated(self, trainer: Trainer) -> None:
        """Before another state becomes best.ckpt, put the one that was chosen by another measure
        where `settle` finds it.
        """
        if self._is_outdated and trainer.is_global_zero and self.best.exists():
            path = self.directory / "outdated-best.ckpt"
            link(self.best, earlier(path, len(self.outdated())) if path.exists() else path)
        self._is_outdated = False

    def _catch_up(self, source: Path) -> None:
        if self.best_step == self.saved_step:
            link(source, self.best)
        for path in self._scores:
            if path.name == step_name(self.saved_step):
                link(source, path)
        for path in set(self.steps()) - self._scores.keys():  # of steps that are done again
            remove(path)

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.keep(trainer, task)

    def keep(self, trainer: Trainer, task: Task) -> None:
        """Save the present state; collective."""
        self.validated_step = trainer.global_step
        score = trainer.callback_metrics.get(task.monitor)
        score = None if score is None else float(score)
        loss = float(trainer.callback_metrics.get("val/loss", math.nan))
        if score is not None and self.n_alike is not None:
            self.n_alike = self.n_alike + 1 if self.best_score in (None, score) else None
        is_best = score is not None and self._is_best(score, loss, task.higher_is_better)
        if is_best:
            self.best_score = score
            self.best_loss = loss
            self.best_step = trainer.global_step
        if self.average > 1 and score is not None:
            self._number(trainer.global_step, score, task.higher_is_better)
        self.save(trainer)  # with all that is said above
        if trainer.is_global_zero:
            if is_best:
                for i in range(self.n_best - 1, 0, -1):
                    if (before := self.best if i == 1 else earlier(self.best, i - 1)).exists():
                        link(before, earlier(self.best, i))
                link(self.last, self.best)
            if (path := self.directory / step_name(trainer.global_step)) in self._scores:
                link(self.last, path)
            for path in set(self.steps()) - self._scores.keys():
                remove(path)

    def _number(self, step: int, score: float, higher_is_better: bool) -> None:
        """This state is one of those to be averaged, and one that was may be no more."""
        self._scores[self.directory / step_name(step)] = score
        if len(self._scores) > self.average:
            worst = (min if higher_is_better else max)(self._scores, key=self._scores.get)
            del self._scores[worst if self.average_of == "best" else next(iter(self._scores))]

    def settle(self, trainer: Trainer, task: Task) -> None:
        """After training: the last state, if it was not validated yet, and the mean of the numbered
        ones become `best.ckpt` where they validate better; collective. Done once: a run that is
        stopped after it finds that it was.
        """
        # Lightning's axis, one short where no step was left to do
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
        if self.is_settled(trainer.global_step):
            return
        self._keep_outdated(trainer)
        last_is_new = self.validated_step != trainer.global_step and trainer.enable_validation
        trainer.strategy.barrier("outdated-best.ckpt")
        states = self.steps()
        outdated = self.outdated() if trainer.enable_validation else []
        trainer.strategy.barrier("settle")
        if last_is_new and self.last.exists():
            self._compete(trainer, task, self.last, "the last state")
        # what follows is no point of the run's curves
        loggers = trainer.loggers
        trainer.loggers = []
        for path in outdated:
            self._compete(trainer, task, path, "the best state by the validation before")
        if self.average > 1 and len(states) < self.average and trainer.is_global_zero:
            words = "no mean" if len(states) < 2 else f"a mean of {len(states)} alone"
            print(
                (
                    f"{len(states)} states were validated during training, of "
                    f"job.average={self.average}: {words}"
                ),
                flush=True,
            )
        if len(states) > 1:
            average = self.directory / "average.ckpt"
            if trainer.is_global_zero:
                torch.save(mean_of_weights(states), average)
            trainer.strategy.barrier("average.ckpt")
            self._compete(trainer, task, average, f"the mean of {len(states)} checkpoints")
        trainer.loggers = loggers
        if trainer.is_global_zero and task.monitor != "val/loss" and (self.n_alike or 0) > 1:
            words = (
                f"{metric_label(task.monitor)} was {self.best_score:.4g} at each of "
                f"{self.n_alike} validations"
            )
            print(
                f"{words} and tells no state from another: best.ckpt is chosen by val/loss",
                flush=True,
            )
        if trainer.is_global_zero:
            if not self.best.exists():
                link(self.last, self.best)
            outcome = {
                "step": trainer.global_step,
                "best_score": self.best_score,
                "measured": self.measured,
            }
            if math.isfinite(self.best_loss):
                outcome["best_loss"] = self.best_loss
            atomic_write(self._settled, json.dumps(outcome) + "\n")
            for path in (*states, self.directory / "average.ckpt", *outdated):
                remove(path)
        trainer.strategy.barrier("settled")

    @property
    def _settled(self) -> Path:
        return self.directory / SETTLED

    def is_settled(self, step: int) -> bool:
        """Whether a run of so many steps has its final best state, by the present measure."""
        outcome = outcome_of(self.directory)
        return outcome.get("step") == step and outcome["best_score"] == self.best_score

    def _compete(self, trainer: Trainer, task: Task, path: Path, words: str) -> None:
        """Validate a state; if it is better than the best one, it becomes that."""
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
        best = self.best_score
        if score is None:
            return
        if trainer.is_global_zero:
            beside = f", of the best one {best:.4g}" if best is not None else ""
            tie = (
                " (equal: the lower val/loss wins)"
                if score == best and task.monitor != "val/loss"
                else ""
            )
            print(f"{metric_label(task.monitor)} of {words} {score:.4g}{beside}{tie}", flush=True)
        loss = values.get("val/loss", math.nan)
        if self._is_best(score, loss, task.higher_is_better):
            self.best_score = score
            self.best_loss = loss
            if trainer.is_global_zero:
                self._crown(path, task)
        trainer.strategy.barrier("best.ckpt")

    def _crown(self, path: Path, task: Task) -> None:
        """A state becomes the best one, with what its validation has chosen."""
        if not task.answering.calibrates:
            return link(path, self.best)
        state = read_state(path)
        draft = self.best.with_name(f".{self.best.name}.part")
        state["state_dict"] |= {
            name: value.cpu() for name, value in task.named_buffers() if name in state["state_dict"]
        }
        torch.save(state, draft)
        synchronize(draft)
        put(draft, self.best)

    def _is_best(self, value: float, loss: float, higher_is_better: bool) -> bool:
        best = self.best_score
        if value == best:
            return loss < self.best_loss
        return best is None or (value > best if higher_is_better else value < best)

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        """A run whose last steps were not validated still ends with its last state on disk."""
        if trainer.global_step != self.validated_step:
            self.save(trainer)
            if trainer.is_global_zero and (self.best_score is None or not self.best.exists()):
                link(self.last, self.best)

    def state_dict(self) -> dict[str, Any]:
        steps = {
            "best_step": self.best_step,
            "validated_step": self.validated_step,
            "saved_step": self.saved_step,
        }
        steps |= {"best_loss": self.best_loss, "n_alike": self.n_alike}
        numbered = {path.name: score for path, score in self._scores.items()}
        return {
            "best_score": self.best_score,
            "measured": self.measured,
            **steps,
            "numbered": numbered,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._believe(state)
        self.n_alike = state.get("n_alike")
        self.best_step = state.get("best_step", 0)
        self.validated_step = state.get("validated_step", 0)
        self.saved_step = state.get("saved_step", 0)
        self._scores = {
            self.directory / Path(name).name: score
            for name, score in state.get("numbered", {}).items()
        }


def outcome_of(folder: Path) -> dict[str, Any]:
    """What was settled about the states in a folder: of which step, the score of the best, and its
    measure.

    Empty where nothing was, or the file is damaged: it is settled anew then.
    """
    try:
        found = json.loads((folder / SETTLED).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and "best_score" in found else {}


def step_name(step: int) -> str:
    """Of the file of a state that is to be averaged."""
    return f"step-{step:08d}.ckpt"
