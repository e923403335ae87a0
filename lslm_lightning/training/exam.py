"""Answers to exams: a subset in validation, the whole split in test and predict. Predictions are
written, then one function scores them.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import torch.distributed
from lightning.pytorch import Callback, Trainer

from lslm_lightning.contracts import Example, Metric, Prediction, Score
from lslm_lightning.evaluation.diagnostics import Finding, cut_sources, run_checks
from lslm_lightning.evaluation.predictions import read_predictions, write_predictions
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
from lslm_lightning.tracking import Tracker
from lslm_lightning.training.accumulation import CorpusScore
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.sharding import data_share, splits_layers

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task


class Tested(NamedTuple):
    """What a test answered, and by what it was scored."""

    examples: Sequence[Example]
    predictions: list[Prediction]
    metrics: Sequence[Metric]


def gathered(predictions: list[Prediction]) -> list[Prediction]:
    """The predictions of all ranks, one for each example id."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return predictions
    shares: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shares, predictions)
    return list({p.id: p for share in shares for p in share}.values())


class EvaluationCallback(Callback):
    """Scores decoded answers: of some examples in each validation, of all in a test; logs
    `val/bleu`, `test/bleu`...

    A task brings one by itself where the Trainer has none, so that `callback_metrics` and what
    `Trainer.test` returns hold the scores with any Trainer, logger and callbacks.

    Args:
        progress: yields the batches of a validation's answers, and tells how far it has come.
    """

    def __init__(
        self,
        progress: Callable[[Trainer, Sequence[Any]], Iterable[Any]] = lambda _, batches: batches,
    ) -> None:
        self.progress = progress
        self.result: Scores | None = None
        self.limited = False  # whether the last test was cut short by a setting of the Trainer
        self._answers: list[Prediction] = []

    def begin_validation(self, trainer: Trainer, task: "Task") -> None:
        """Do what belongs before the answers of a validation."""

    def keep(self, trainer: Trainer, name: str, predictions: list[Prediction]) -> list[Prediction]:
        """Keep what was answered in "val", "test" or "predict"; return what is to be scored."""
        return predictions

    def end_test(self, trainer: Trainer, task: "Task", tested: Tested) -> None:
        """Do what belongs after the scores of a test."""

    def on_validation_epoch_end(self, trainer: Trainer, task: "Task") -> None:
        if trainer.sanity_checking or not isinstance(trainer.datamodule, TaskData):
            return
        exam = trainer.datamodule.validation_exam()
        # weights that are not finite are refused before anything is decoded with them
        task.add_up()
        self.begin_validation(trainer, task)
        if not exam:
            return
        batches = trainer.datamodule.exam_batches(exam, *data_share(trainer))
        with trainer.precision_plugin.val_step_context():
            own = list(task.answers(self.progress(trainer, batches)))
        predictions = gathered(own)
        if task.is_choosing:
            predictions = task.tuned(exam, predictions)
        self.log_scores(task, exam, predictions, {p.id for p in own})
        name = f"val-step-{trainer.global_step:06d}" if trainer.state.fn == "fit" else "val"
        self.keep(trainer, name, predictions)

    def log_scores(
        self,
        task: "Task",
        exam: Sequence[Example],
        predictions: Sequence[Prediction],
        own: Collection[str],
    ) -> None:
        """Log the scores of a validation, of which this process computes its part; collective.

        Args:
            predictions: of all processes.
            own: ids of the examples that this process answered.
        """
        answers = predictions_by_id(exam, predictions)
        metrics = task.all_metrics(exam[0].language)
        rows = {}
        for metric in metrics:
            if metric.is_additive:
                width = len(metric.statistics(exam[0], answers[exam[0].id]))
                state = CorpusScore(metric, exam, width).to(task.device)
                state.update([answers[e.id] for e in exam if e.id in own])
                state.compute()
                rows[metric.name] = state.statistics
        for each in score(exam, predictions, metrics, n_resample=0, rows=rows).scores:
            if not math.isnan(each.value):
                # as a number: a callback of the user's own may log one under the same name
                task.log(f"val/{each.metric}", each.value)

    def on_test_epoch_start(self, trainer: Trainer, task: "Task") -> None:
        self._answers = []

    on_predict_epoch_start = on_test_epoch_start

    def on_test_batch_end(
        self, trainer: Trainer, task: "Task", outputs: list[Prediction], *args: Any
    ) -> None:
        self._answers += outputs

    on_predict_batch_end = on_test_batch_end

    def on_test_epoch_end(self, trainer: Trainer, task: "Task") -> None:
        if not isinstance(trainer.datamodule, TaskData):
            return
        exam = trainer.datamodule.examples("test")
        predictions = self.keep(trainer, "test", gathered(self._answers))
        limit = trainer.limit_test_batches
        if trainer.fast_dev_run or isinstance(limit, int) or limit < 1.0:
            answered = {p.id for p in predictions}
            self.limited = len(answered) < len(exam)
            if self.limited:
                told = (
                    f"limited: {len(answered)} of {len(exam)} examples were answered; only "
                    "they are scored, there is no report"
                )
                print(told, flush=True)
            exam = [example for example in exam if example.id in answered]
        metrics = task.all_metrics(exam[0].language)
        result = (
            score(exam, predictions, metrics)
            if trainer.is_global_zero
            else score(exam, predictions, metrics, n_resample=0)
        )
        self.result = with_signature_parts(
            result, metrics, task.signature_of_answers(trainer.datamodule.mode)
        )
        for each in self.result.scores:
            if not math.isnan(each.value):
                task.log(f"test/{each.metric}", each.value)
        self.end_test(trainer, task, Tested(exam, predictions, metrics))

    def on_predict_epoch_end(self, trainer: Trainer, task: "Task") -> None:
        self.keep(trainer, "predict", gathered(self._answers))

    @property
    def scores(self) -> list[Score]:
        """Return those of the last test."""
        return [] if self.result is None else self.result.scores


class Exam(EvaluationCallback):
    """The evaluation of a run: predictions, samples, scores and findings are written into its
    directory.

    Args:
        directory: of the run; predictions/*.jsonl, samples/*.txt and metrics.json are written
            there.
        tracker: gets the samples too.
        progress: yields the batches of a validation's answers, and tells how far it has come.
    """

    def __init__(
        self,
        directory: RunDirectory,
        tracker: Tracker,
        progress: Callable[[Trainer, Sequence[Any]], Iterable[Any]] = lambda _, batches: batches,
    ) -> None:
        super().__init__(progress)
        self.directory = directory
        self.tracker = tracker
        self.data: dict[str, str] = {}  # what metrics.json says of the data of the last test
        self.findings: list[Finding] = []  # of the sanity checks on the answers of the last test

    def begin_validation(self, trainer: Trainer, task: "Task") -> None:
        if trainer.state.fn == "fit" and (trainer.is_global_zero or splits_layers(trainer)):
            self._write_samples(trainer, task)

    def keep(self, trainer: Trainer, name: str, predictions: list[Prediction]) -> list[Prediction]:
        """Write `predictions/NAME.jsonl`; what a test scores is what was written."""
        if not trainer.is_global_zero:
            return predictions
        path = self.directory.predictions / f"{name}.jsonl"
        write_predictions(path, predictions)
        return read_predictions(path) if name == "test" else predictions

    def end_test(self, trainer: Trainer, task: "Task", tested: Tested) -> None:
        exam, predictions, metrics = tested
        n_cut, words = task.cut_sources(exam)
        if not trainer.is_global_zero:
            return
        name = self.directory.path.name
        cut = cut_sources(name, f"{n_cut:,} of {len(exam):,} {words}" if n_cut else "")
        self.findings = run_checks(
            exam, {name: predictions}, metrics, {name: task.answer_limit}
        ) + ([cut] if cut else [])
        data = trainer.datamodule
        corpus = trainer.datamodule.corpus
        self.data = data.recorded("test", exam)
        own = {"system": "this run"}  # so that equal runs have equal records
        findings = [
            asdict(finding) | (own if finding.system == name else {}) for finding in self.findings
        ]
        write_scores(self.directory.metrics, self.scores, self.data, findings)
        tags = {
            "corpus.test_digest": self.data["digest"],
            "corpus.test_languages": self.data["languages"],
        }
        tags |= {"cut_sources": f"{n_cut:,} of {len(exam):,}"} if words and n_cut else {}
        self.tracker.set_tags(tags | {"scores": scores_tag(self.scores)})
        self.tracker.log_dataset(
            data.dataset_name, self.data["digest"], "test", corpus.home or corpus.name
        )

    def _write_samples(self, trainer: Trainer, task: "Task") -> None:
        with trainer.precision_plugin.val_step_context():
            samples = task.samples()
        if samples and trainer.is_global_zero:
            path = self.directory.path / "samples" / f"step-{trainer.global_step:06d}.txt"
            atomic_write(path, "\n\n".join(samples) + "\n")
            self.tracker.log_artifact(path)
