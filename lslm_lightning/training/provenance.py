"""What MLflow is told of a run's data and model, when they are known."""

from pathlib import Path

from lightning.pytorch import Callback, Trainer

from lslm_lightning.data.corpora import Corpus
from lslm_lightning.optim import n_parameter
from lslm_lightning.tracking import Tracker
from lslm_lightning.training.task import Task


class Provenance(Callback):
    """Logs data sets with digests, counts of what was left out or padded, and the size of the model."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        data, backbone = trainer.datamodule, task.backbone
        corpus = data.corpus
        for split in ("train", "val"):
            self._log_dataset(corpus, split)
        self.tracker.set_tags({"corpus": corpus.name, "backbone": type(backbone).__name__, "tokenizer": repr(task.tokenizer)})
        self.tracker.log_metrics({"model/parameters": n_parameter(task.parameters())}, step=0)
        self.tracker.log_metrics({f"data/{name}": value for name, value in data.counts.items()}, step=0)
        if trainer.is_global_zero:
            counted = {name: value for name, value in data.counts.items() if value and name.startswith("train_")}
            words = (f"{name.removeprefix('train_').replace('_', ' ')} {value:,.6g}" for name, value in counted.items())
            print(f"{corpus.name}: " + ", ".join(words), flush=True)
            print(f"{type(backbone).__name__}: {n_parameter(task.parameters()):,} parameters", flush=True)

    def on_test_start(self, trainer: Trainer, task: Task) -> None:
        corpus = trainer.datamodule.corpus
        self._log_dataset(corpus, "test")
        self.tracker.set_tags({"corpus": corpus.name, "corpus.test_digest": corpus.digest("test")})

    def _log_dataset(self, corpus: Corpus, split: str) -> None:
        name = Path(corpus.name).name if Path(corpus.name).exists() else corpus.name
        self.tracker.log_dataset(name, corpus.digest(split), split, corpus.home or corpus.name)
