"""End of a job: print scores, upload files to MLflow, write the report."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lslm_lightning.configuration.lightning_cli_internals import callback_of
from lslm_lightning.configuration.subcommands import TRAINING
from lslm_lightning.contracts import metric_label
from lslm_lightning.evaluation.comparison import THIS
from lslm_lightning.evaluation.evaluation_set import shown
from lslm_lightning.experiments import tested_model
from lslm_lightning.experiments.endings import one_line
from lslm_lightning.experiments.evaluation_records import run_links
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.experiments.mlflow_model import model_facts, write_model
from lslm_lightning.experiments.run_cards import write_run_cards
from lslm_lightning.experiments.run_evaluation import (
    RunEvaluation,
    baseline_scores,
    digest_line,
    evaluate_run,
)
from lslm_lightning.experiments.run_page import reporter_of, run_page
from lslm_lightning.reports.description import describe, interval_in_words, score_table
from lslm_lightning.reports.escaping import markdown
from lslm_lightning.reports.formatting import counted, number
from lslm_lightning.reports.page import write_report
from lslm_lightning.run_files import CONFIG
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config
from lslm_lightning.runs.loading import build
from lslm_lightning.runs.weights import load_weights
from lslm_lightning.training.callbacks.evaluation import RunEvaluationCallback
from lslm_lightning.training.distributed.fsdp import ShardedStrategy
from lslm_lightning.types import Json, JsonObject

if TYPE_CHECKING:
    from lslm_lightning.experiments.job_cli import JobCLI
    from lslm_lightning.training.task import Task

log = logging.getLogger(__name__)


def finish(job: "JobCLI", subcommand: str) -> None:
    """Upload the files of a finished job to MLflow and print its results. After a test, also write
    the report.

    Args:
        subcommand: "run", "fit", "validate", "test" or "predict".
    """
    directory = job.writer.directory
    if subcommand == "validate":
        show_validation(job)
    if subcommand == "predict":
        print(f"predictions {directory.predictions / 'predict.jsonl'}")
    upload_files(job, subcommand)
    if subcommand == "fit":
        show_checkpoint(directory)
    if subcommand in ("test", "run"):
        finish_test(job)
    if subcommand in TRAINING and directory.best.exists():
        log_model(job)
    if subcommand == "test" and job.checkpoint is not None:
        finish_tested_model(job, Path(job.checkpoint))


def log_model(job: "JobCLI") -> None:
    """Log the best checkpoint of a training as a model in MLflow, and print the version under which
    it was registered, unless an earlier process registered it: other versions may be newer by now.
    """
    directory = job.writer.directory
    tracker = job.writer.tracker
    before = version_of(tracker.model)
    try:
        examples = job.datamodule.validation_examples()
        example = next(iter(examples), None)
        facts = model_facts(job.model, directory, job.job.registered_model, example)
    except Exception as error:  # the run itself is complete
        log.warning("the model is not logged in MLflow: %s", one_line(error))
        return
    tracker.log_model(facts, partial(write_model, directory=directory))
    if not job.job.registered_model or not tracker.flush():
        return
    after = tracker.model
    if version_of(after) != before and (line := registration(after)):
        print(line)


def finish_tested_model(job: "JobCLI", checkpoint: Path) -> None:
    """Register the model of a checkpoint that was tested, if `job.registered_model` names it, and
    link it to the scores of the test.
    """
    name = job.job.registered_model
    try:
        if name:
            example = next(iter(job.datamodule.examples("test")), None)
            test = job.writer.directory
            facts = tested_model.register(name, checkpoint, job.model, example, test)
            if line := registration(facts):
                print(line)
        if not callback_of(job.trainer, RunEvaluationCallback).limited:
            tested_model.link_scores(job.writer.tracker, checkpoint)
    except Exception as error:  # the test itself is complete
        log.warning("the model is not logged in MLflow: %s", one_line(error))


def version_of(facts: JsonObject) -> tuple[Json, Json]:
    """Return the id and the registered version of a model, as far as they are known; versions of
    two stores may have the same number, but not the same id.
    """
    return facts.get("model_id"), facts.get("version")


def registration(facts: JsonObject) -> str:
    """Return a line on the registered version of a model and on the best version, as far as they
    are known.
    """
    name, version, best = facts.get("registered"), facts.get("version"), facts.get("best")
    if version is None:
        return ""
    if best is None:
        return f"registered models:/{name}/{version}"
    if best == version:
        return f"registered models:/{name}/{version}, which is now @best"
    return f"registered models:/{name}/{version}; @best is version {best}"


def show_checkpoint(directory: RunDirectory) -> None:
    """Print the path of the checkpoint to use after a training, and the command that tests it."""
    checkpoint = directory.checkpoint()
    print(f"checkpoint {checkpoint}")
    test = ["test", "--config", str(directory.config), "--ckpt_path", str(checkpoint)]
    print(f"To test it: {command_line(test)}")


def show_validation(job: "JobCLI") -> None:
    """Print the validation loss and scores, and the digests of the data that they were computed
    on.
    """
    for name, value in job.trainer.callback_metrics.items():
        if name.startswith("val/"):
            print(f"{metric_label(name)} {number(float(value))}")
    data = job.datamodule
    print(digest_line(data.recorded("val")))
    answered = data.validation_examples()
    n_example = len(data.examples("val"))
    if 0 < len(answered) < n_example:
        part = shown(data.recorded("val", answered)["digest"])
        print(
            f"val/loss is of all {n_example:,} examples, scores are of answers to "
            f"{len(answered):,} of them: digest {part}"
        )


def upload_files(job: "JobCLI", subcommand: str) -> None:
    """Upload the best checkpoint, its adapter and the record of energy after a training, and all
    predictions, to MLflow.

    Args:
        subcommand: "run", "fit", "validate", "test" or "predict".
    """
    directory = job.writer.directory
    tracker = job.writer.tracker
    best = directory.best
    if subcommand in TRAINING and directory.energy.exists():
        tracker.log_artifact(directory.energy)
    if subcommand in TRAINING and best.exists():
        for path in (best, *job.model.model_info.files(directory.checkpoints)):
            tracker.log_artifact(path)
        if directory.adapter.is_dir():
            tracker.log_artifact(directory.adapter)
    for path in sorted(directory.predictions.glob("*.jsonl")):
        if path.stem in ("test", "predict"):
            tracker.log_table(path)
            tracker.log_artifact(path)


def finish_test(job: "JobCLI") -> None:
    """Compare a tested run with its baselines; print the scores, store them in MLflow and write the
    report.

    The scores of a test that was limited to some of the examples are only printed.
    """
    directory = job.writer.directory
    tracker = job.writer.tracker
    test = callback_of(job.trainer, RunEvaluationCallback)
    assert test.result is not None
    assert test.tested is not None
    if test.limited:
        evaluate_run(test.result, {}, [], "", test.findings, test.data).show(directory.path.name)
        return
    restore_model(job)
    metrics = test.tested.metrics
    baselines = baseline_scores(
        job.model, job.datamodule, metrics, display=reporter_of(job).display
    )
    evaluation = evaluate_run(
        test.result, baselines, metrics, job.model.headline, test.findings, test.data
    )
    evaluation.show(directory.path.name)
    describe_test(job, evaluation)
    tracker.log_artifact(directory.metrics)
    write_report(run_page(job, evaluation, test.tested), directory.report)
    for path in (directory.report, *write_run_cards(directory, job.datamodule.corpus)):
        tracker.log_artifact(path)
    print(f"report {directory.report / 'index.html'}")


def restore_model(job: "JobCLI") -> None:
    """Prepare the model of a finished test for use in this process alone.

    A sharded model is loaded again as a whole; other models are moved back to the device.
    """
    if isinstance(job.trainer.strategy, ShardedStrategy):  # of which this process has a part
        config = read_config(job.writer.directory.config)
        job.model = cast("Task", build(config["model"], job.datamodule.tokenizer))
        load_weights(job.model, Path(str(job.trainer.ckpt_path)), job.datamodule.tokenizer)
    else:
        # Lightning has moved it to the CPU
        job.model.to(job.trainer.strategy.root_device)
    job.model.eval()  # and back into training mode


def describe_test(job: "JobCLI", evaluation: RunEvaluation) -> None:
    """Write a tested run's description, number of parameters and interval of the headline score to
    MLflow.
    """
    task = job.model
    tracker = job.writer.tracker
    results = evaluation.results
    if task.model_info.n_parameter:
        tracker.log_hyperparams({"n_parameter": task.model_info.n_parameter})
    if results.headline and (interval := interval_in_words(evaluation.own[results.headline])):
        tracker.set_tags({"interval": interval})
    if conclusion := evaluation.conclusion.summary:
        tracker.set_tags({"conclusion": conclusion})
    scores = {THIS: evaluation.own.scores}
    scores |= {name: found.scores for name, found in evaluation.baselines.items()}
    checks = ", ".join(dict.fromkeys(finding.check for finding in results.findings))
    lead = [
        evaluation.conclusion.markdown(),
        f"Sanity checks found: **{markdown(checks)}**" if checks else "",
    ]
    size = f", {task.model_info.n_parameter:,} parameters" if task.model_info.n_parameter else ""
    if task.adapter is not None:
        size += f", {task.model_info.n_trainable:,} of them trained"
    n_example = counted(len(evaluation.own.ids), "example")
    text = describe(
        score_table(scores),
        "\n\n".join(filter(None, lead)),
        {
            "Model": f"{task.model_info.name}{size}",
            "Test": f"{digest_line(evaluation.recorded)}, {n_example}",
        },
        job.writer.first_command,
        run_links(tracker, {"report": "report/index.html", CONFIG: CONFIG}),
    )
    tracker.set_description(text)
