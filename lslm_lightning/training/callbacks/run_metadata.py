"""Callbacks that record a run's data and model in MLflow, and its settings after the first step."""
# mypy: disable-error-code="override"
# (hooks of our callbacks are called with our Task)

from collections.abc import Callable

from lightning.pytorch import Callback, Trainer

from lslm_lightning.localization import MESSAGES, translated
from lslm_lightning.tracking import Tracker
from lslm_lightning.training.lightning_internals import TaskTrainer
from lslm_lightning.training.task import Task
from lslm_lightning.types import StateDict


class RunMetadata(Callback):
    """Callback that logs data sets, counts of examples left out or padded, and the size of the
    model.

    Training data are identified by `TaskData.digest`, evaluation sets by `TaskData.evaluation_set`.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self._known: set[str] = set()  # splits that were logged
        self._tagged = False

    def on_train_start(self, trainer: TaskTrainer, task: Task) -> None:
        self._log(trainer, task, "train", "val")
        data = trainer.datamodule
        backbone = task.model_info.name
        if not task.one_pass:
            self.tracker.log_hyperparams({"n_parameter": task.model_info.n_parameter})
        n_parameter = task.model_info.n_parameter
        n_trainable = task.model_info.n_trainable
        if n_trainable != n_parameter:
            self.tracker.log_hyperparams({"n_trainable": n_trainable})
        self.tracker.log_hyperparams(
            {f"data.{name}": _exact(value) for name, value in data.counts.items() if value}
        )
        if trainer.is_global_zero:
            counted = {
                name: value
                for name, value in data.counts.items()
                if value and name.startswith("train_")
            }
            counts = (
                f"{translated(name[len('train_') :].replace('_', ' '), MESSAGES)} "
                f"{_exact(value, ',')}"
                for name, value in counted.items()
            )
            print(
                f"{data.corpus.name}: " + (", ".join(counts) or f"trained on {data.batching()}"),
                flush=True,
            )
            if n_trainable != n_parameter:
                size = f"{backbone}: {n_parameter:,} parameters, {n_trainable:,} of them trained"
            else:
                size = f"{backbone}: {n_parameter:,} parameters" if n_parameter else backbone
            print(size, flush=True)

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        if task.one_pass:  # it is known only after training
            self.tracker.log_hyperparams({"n_parameter": task.model_info.n_parameter})

    def on_save_checkpoint(self, trainer: Trainer, task: Task, checkpoint: StateDict) -> None:
        self.tracker.write_down()

    def on_validation_start(self, trainer: TaskTrainer, task: Task) -> None:
        self._log(trainer, task, "val")

    def on_test_start(self, trainer: TaskTrainer, task: Task) -> None:
        self._log(
            trainer, task
        )  # the test set is logged with its scores, by `RunEvaluationCallback`

    def on_predict_start(self, trainer: TaskTrainer, task: Task) -> None:
        self._log(trainer, task, "test")

    def _log(self, trainer: TaskTrainer, task: Task, *splits: str) -> None:
        """Log the data of splits and the tags of the model. Each split and the tags are logged only
        once.

        Args:
            splits: names of the splits.
        """
        data = trainer.datamodule
        corpus = data.corpus
        languages = data.stated_languages
        if not self._tagged:
            tags = {
                "corpus": corpus.name,
                "model": task.model_info.name,
                "tokenizer": repr(task.tokenizer),
            }
            tags |= {"headline": f"test/{task.headline}"} if task.headline else {}
            self.tracker.set_tags(tags)
            if languages is not None:
                self.tracker.set_languages(languages)
            self._tagged = True
        for split in splits if trainer.is_global_zero else ():
            if split not in self._known:
                digest = (
                    data.digest(split) if split == "train" else data.evaluation_set(split).digest
                )
                self.tracker.log_dataset(
                    data.dataset_name, digest, split, corpus.home or corpus.name
                )
        self._known |= set(splits)


class FirstStep(Callback):
    """Callback that calls `record` after the first optimizer step of a resumed training, or at its
    end if no step is left.

    If training fails before that, the recorded settings remain those that worked.

    Args:
        record: function that records the current settings of the run.
    """

    def __init__(self, record: Callable[[], None]) -> None:
        self.record: Callable[[], None] | None = record
        self._begins_at = 0

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self._begins_at = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, task: Task, *args: object) -> None:
        if trainer.global_step > self._begins_at:
            self.on_fit_end(trainer, task)

    def on_fit_end(self, trainer: Trainer, task: Task) -> None:
        if self.record is not None and trainer.is_global_zero:
            self.record()
        self.record = None


def _exact(value: float, grouping: str = "") -> str:
    """Return counts with all their digits, and shares with four of them."""
    return f"{value:{grouping}.{0 if value == int(value) else 4}f}"
