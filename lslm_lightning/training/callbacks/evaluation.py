"""Callbacks that score a task's answers to some examples in a validation, and to all in a test.

Predictions are first collected from all ranks, then scored.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer

from lslm_lightning.contracts import Example, Metric, Prediction, Score
from lslm_lightning.evaluation.comparison import THIS
from lslm_lightning.evaluation.diagnostics import Finding
from lslm_lightning.evaluation.predictions import (
    in_order,
    read_predictions,
    write_predictions,
)
from lslm_lightning.evaluation.results import Entry, check_entries, cut_facts
from lslm_lightning.evaluation.scoring import (
    Scores,
    predictions_by_id,
    score,
    scores_tag,
    with_signature_parts,
    write_scores,
)
from lslm_lightning.files import atomic_write
from lslm_lightning.runs import RunDirectory
from lslm_lightning.tracking.tracker import Tracker
from lslm_lightning.training.accumulation import CorpusStatistics
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.distributed.fsdp import data_share, splits_layers
from lslm_lightning.training.lightning_internals import data_of

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task

ExampleBatches: TypeAlias = Iterable[Sequence[Example]]


class Tested(NamedTuple):
    """Examples of a test, the model's predictions for them in the same order, and the metrics that
    score the predictions.
    """

    examples: Sequence[Example]
    predictions: list[Prediction]
    metrics: Sequence[Metric]


def gathered(predictions: list[Prediction]) -> list[Prediction]:
    """Return the predictions of all ranks, one for each example id. Collective."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return predictions
    shares: list[list[Prediction]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(shares, predictions)
    return list({p.id: p for share in shares for p in share}.values())


def without_progress(trainer: Trainer, batches: Sequence[Sequence[Example]]) -> ExampleBatches:
    """Return the batches unchanged, without showing progress."""
    return batches


class EvaluationCallback(Callback):
    """Scores generated answers, and logs `val/bleu`, `test/bleu` and so on. A validation answers
    some of the examples, a test answers all.

    A task adds this callback if the Trainer has none, so that `callback_metrics` and the result of
    `Trainer.test` hold the scores with any Trainer, logger and callbacks.

    Args:
        progress: function that gets the Trainer and the batches of a validation, yields the batches
            and shows how many are done.
    """

    def __init__(
        self,
        progress: Callable[
            [Trainer, Sequence[Sequence[Example]]], ExampleBatches
        ] = without_progress,
    ) -> None:
        self.progress = progress
        self.result: Scores | None = None
        self.tested: Tested | None = None  # what `result` scores
        self.limited = False  # whether the last test was cut short by a setting of the Trainer
        self._answers: list[Prediction] = []

    def begin_validation(self, trainer: Trainer, task: "Task") -> None:
        """Do additional work before the examples of a validation are answered. Hook for subclasses;
        does nothing by default.
        """

    def keep(self, trainer: Trainer, name: str, predictions: list[Prediction]) -> list[Prediction]:
        """Store predictions, and return the predictions to score. Hook for subclasses; stores
        nothing by default.

        Args:
            name: name of the evaluation: "val", "val-step-000100", "test" or "predict".
            predictions: predictions of all ranks.
        """
        return predictions

    def end_test(self, trainer: Trainer, task: "Task", tested: Tested) -> None:
        """Do additional work after a test is scored. Hook for subclasses; does nothing by
        default.
        """

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        task = cast("Task", pl_module)
        data = data_of(trainer)
        if trainer.sanity_checking or not isinstance(data, TaskData):
            return
        examples = data.validation_examples()
        # weights that are not finite are refused before anything is decoded with them
        task.validation.totals()
        self.begin_validation(trainer, task)
        if not examples:
            return
        batches = data.evaluation_batches(examples, *data_share(trainer))
        with trainer.precision_plugin.val_step_context():
            answered = list(task.answering.predict(self.progress(trainer, batches)))
        predictions = gathered(answered)
        if task.answering.is_calibrating:
            predictions = task.answering.calibrate(examples, predictions)
        self.log_scores(task, examples, predictions, {p.id for p in answered})
        name = f"val-step-{trainer.global_step:06d}" if trainer.state.fn == "fit" else "val"
        self.keep(trainer, name, predictions)

    def log_scores(
        self,
        task: "Task",
        examples: Sequence[Example],
        predictions: Sequence[Prediction],
        own_ids: Collection[str],
    ) -> None:
        """Log the scores of a validation. For additive metrics, each process computes the
        statistics of its own answers only. Collective.

        Args:
            examples: validation examples that were answered.
            predictions: answers of all processes.
            own_ids: ids of the examples that this process answered.
        """
        answers = predictions_by_id(examples, predictions)
        metrics = task.answering.metrics_of(examples)
        rows = {}
        for metric in metrics:
            if metric.is_additive:
                width = len(metric.statistics(examples[0], answers[examples[0].id]))
                state = CorpusStatistics(metric, examples, width).to(task.device)
                state.update([answers[e.id] for e in examples if e.id in own_ids])
                rows[metric.name] = state.compute()
        for each in score(examples, predictions, metrics, n_resample=0, rows=rows).scores:
            if not math.isnan(each.value):
                # as a number: a user's own callback may log one under the same name
                task.log(f"val/{each.metric}", each.value)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._answers = []

    on_predict_epoch_start = on_test_epoch_start

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._answers += cast(list[Prediction], outputs)

    on_predict_batch_end = on_test_batch_end

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        task = cast("Task", pl_module)
        data = data_of(trainer)
        if not isinstance(data, TaskData):
            return
        examples = data.examples("test")
        # batches are grouped by length
        predictions = self.keep(trainer, "test", in_order(gathered(self._answers), examples))
        limit = trainer.limit_test_batches
        fast = trainer.fast_dev_run  # type: ignore[attr-defined]
        if fast or isinstance(limit, int) or limit < 1.0:
            answered = {p.id for p in predictions}
            self.limited = len(answered) < len(examples)
            if self.limited:
                print(
                    f"limited: {len(answered)} of {len(examples)} examples were answered; only "
                    "they are scored, there is no report",
                    flush=True,
                )
            examples = [example for example in examples if example.id in answered]
        metrics = task.answering.metrics_of(examples)
        result = (
            score(examples, predictions, metrics)
            if trainer.is_global_zero
            else score(examples, predictions, metrics, n_resample=0)
        )
        self.result = with_signature_parts(result, metrics, task.answering.signature(data.mode))
        for each in self.result.scores:
            if not math.isnan(each.value):
                task.log(f"test/{each.metric}", each.value)
        self.tested = Tested(examples, predictions, metrics)
        self.end_test(trainer, task, self.tested)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        predictions = gathered(self._answers)
        data = data_of(trainer)
        if isinstance(data, TaskData):
            predictions = in_order(predictions, data.examples("test"))
        self.keep(trainer, "predict", predictions)

    @property
    def scores(self) -> list[Score]:
        """Scores of the last test, one for each metric; empty before any test."""
        return [] if self.result is None else self.result.scores


class RunEvaluationCallback(EvaluationCallback):
    """Scores the answers of a run, and writes predictions, samples, scores and results of sanity
    checks to the run directory.

    Args:
        directory: directory of the run; predictions/*.jsonl, samples/*.txt and metrics.json are
            written there.
        tracker: tracker to which samples and scores are logged too.
        progress: as in `EvaluationCallback`.
    """

    def __init__(
        self,
        directory: RunDirectory,
        tracker: Tracker,
        progress: Callable[
            [Trainer, Sequence[Sequence[Example]]], ExampleBatches
        ] = without_progress,
    ) -> None:
        super().__init__(progress)
        self.directory = directory
        self.tracker = tracker
        self.data: dict[str, str] = {}  # record of the data of the last test, for metrics.json
        self.findings: list[Finding] = []  # of the sanity checks on the answers of the last test

    def begin_validation(self, trainer: Trainer, task: "Task") -> None:
        if trainer.state.fn == "fit" and (trainer.is_global_zero or splits_layers(trainer)):
            self._write_samples(trainer, task)

    def keep(self, trainer: Trainer, name: str, predictions: list[Prediction]) -> list[Prediction]:
        """Write `predictions/NAME.jsonl` on rank 0, and return the predictions to score. For a
        test, they are read back from that file.
        """
        if not trainer.is_global_zero:
            return predictions
        path = self.directory.predictions / f"{name}.jsonl"
        write_predictions(path, predictions)
        return read_predictions(path) if name == "test" else predictions

    def end_test(self, trainer: Trainer, task: "Task", tested: Tested) -> None:
        examples, predictions, metrics = tested
        n_cut, phrase = task.answering.cut_sources(examples)
        if not trainer.is_global_zero:
            return
        limit = task.answering.limit
        facts = ({"limit": limit} if limit else {}) | cut_facts(n_cut, len(examples), phrase)
        entry = Entry(THIS, predictions, facts=facts)
        self.findings = check_entries(examples, [entry], metrics)
        data = data_of(trainer)
        self.data = data.recorded("test", examples)
        findings = map(asdict, self.findings)
        write_scores(self.directory.metrics, self.scores, self.data, findings, facts)
        tags = {
            "corpus.test_digest": self.data["digest"],
            "corpus.test_languages": self.data["languages"],
        }
        tags |= {"cut_sources": f"{n_cut:,} of {len(examples):,}"} if phrase and n_cut else {}
        self.tracker.set_tags(tags | {"scores": scores_tag(self.scores)})
        self.tracker.log_dataset(
            data.dataset_name, self.data["digest"], "test", data.corpus.home or data.corpus.name
        )

    def _write_samples(self, trainer: Trainer, task: "Task") -> None:
        with trainer.precision_plugin.val_step_context():
            samples = task.answering.samples()
        if samples and trainer.is_global_zero:
            path = self.directory.samples / f"step-{trainer.global_step:06d}.txt"
            atomic_write(path, "\n\n".join(samples) + "\n")
            self.tracker.log_artifact(path)
