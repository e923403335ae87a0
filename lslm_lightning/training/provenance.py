"""What MLflow is told of a run's data and model, when they are known."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, Trainer

from lslm_lightning.tracking import Tracker
from lslm_lightning.training.task import Task


class Provenance(Callback):
    """Logs data sets, counts of what was left out or padded, and the size of the model.

    Training data have the digest of `TaskData.digest`, evaluation sets that of
    `TaskData.evaluation_set`.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self._known: set[str] = set()  # splits that were logged
        self._tagged = False

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self._log(trainer, task, "train", "val")
        data = trainer.datamodule
        backbone = task.model_info.name
        if not task.one_pass:
            self.tracker.log_hyperparams({"n_parameter": task.model_info.n_parameter})
        self.tracker.log_hyperparams(
            {f"data.{name}": f"{value:.6g}" for name, value in data.counts.items() if value}
        )
        if trainer.is_global_zero:
            counted = {
                name: value
                for name, value in data.counts.items()
                if value and name.startswith("train_")
            }
            words = (
                f"{name.removeprefix('train_').replace('_', ' ')} {value:,.6g}"
                for name, value in counted.items()
            )
            print(
                f"{data.corpus.name}: " + (", ".join(words) or f"trained on {data.batching()}"),
                flush=True,
            )
            print(
                f"{backbone}: {task.model_info.n_parameter:,} parameters"
                if task.model_info.n_parameter
                else backbone,
                flush=True,
            )

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        if task.one_pass:  # before, nobody knew
            self.tracker.log_hyperparams({"n_parameter": task.model_info.n_parameter})

    def on_save_checkpoint(self, trainer: Trainer, task: Task, checkpoint: dict[str, Any]) -> None:
        self.tracker.write_down()

    def on_validation_start(self, trainer: Trainer, task: Task) -> None:
        self._log(trainer, task, "val")

    def on_test_start(self, trainer: Trainer, task: Task) -> None:
        self._log(trainer, task)  # the test set is logged with its scores, by `exam.Exam`

    def on_predict_start(self, trainer: Trainer, task: Task) -> None:
        self._log(trainer, task, "test")

    def _log(self, trainer: Trainer, task: Task, *splits: str) -> None:
        """The splits that a job reads, and what reads them; each once."""
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
            stated = {} if languages is None else {"languages": "-".join(dict.fromkeys(languages))}
            self.tracker.set_tags(tags | stated)
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
    """Calls `record` when training has made its first optimizer step under its settings, or has
    ended without one.

    What fails before that leaves the record of the settings that did work.
    """

    def __init__(self, record: Callable[[], None]) -> None:
        self.record: Callable[[], None] | None = record
        self._begins_at = 0

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self._begins_at = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, task: Task, *args: Any) -> None:
        if trainer.global_step > self._begins_at:
            self.on_fit_end(trainer, task)

    def on_fit_end(self, trainer: Trainer, task: Task) -> None:
        if self.record is not None and trainer.is_global_zero:
            self.record()
        self.record = None
