"""Report of a tested run, as the training commands write it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lslm_lightning.configuration.lightning_cli_internals import callback_of
from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.comparison import THIS
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.experiments.run_evaluation import RunEvaluation
from lslm_lightning.experiments.run_records import trained, versions
from lslm_lightning.localization import Term, Verbatim
from lslm_lightning.reports.blocks import Cell, Code, Missing, Report, Section
from lslm_lightning.reports.composition import (
    compose_report,
    details_section,
    length_section,
    model_section,
)
from lslm_lightning.reports.conclusion import Conclusion, score_sentence
from lslm_lightning.reports.formatting import duration
from lslm_lightning.reports.hyperparameters import hyperparameters
from lslm_lightning.reports.trained import training_sections
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.callbacks.evaluation import Tested
from lslm_lightning.training.callbacks.progress import Reporter

if TYPE_CHECKING:
    from lslm_lightning.experiments.job_cli import JobCLI


def run_page(job: "JobCLI", evaluation: RunEvaluation, tested: Tested) -> Report:
    """Build the report of a tested run; the task adds its own sections."""
    directory = job.writer.directory
    data = job.datamodule
    task = job.model
    examples, predictions, metrics = tested
    name = directory.path.name
    results = evaluation.with_outputs(examples, predictions, metrics)
    about = [
        model_section(
            hyperparameters(redacted_settings(job.writer.config())),
            task.model_info.n_parameter,
            task.model_info.n_trainable,
        ),
        *training_sections([trained(directory, name)], results.headline),
    ]
    command = command_line([job.subcommand, "--config", str(directory.config)])
    return compose_report(
        Verbatim(name),
        job.task_name,
        opening(evaluation, data.corpus.name),
        results,
        details_section(run_facts(job), command, versions(), kind="run"),
        examples,
        metrics,
        lengths=lengths_of_outputs(task.tokenizer, examples, predictions),
        training=[section for section in about if section],
        of_task=task.report.sections(data, predictions),
        date=time.strftime("%Y-%m-%d %H:%M", time.localtime(job.began)),
    )


def opening(evaluation: RunEvaluation, corpus: str) -> Conclusion:
    """Return the sentences that open the report of a run: the comparison with its baselines, and
    the headline score, which leads if nothing was compared.

    Args:
        corpus: name of the corpus that the run was tested on.
    """
    results = evaluation.results
    own = {score.metric: score for score in evaluation.own.scores}
    score = own.get(results.headline) or next(iter(own.values()), None)
    sentence = score_sentence(score, corpus) if score else ""
    found = evaluation.conclusion
    if not found.summary:
        return Conclusion(None, sentence)
    return replace(found, details=(sentence, *found.details) if sentence else found.details)


def lengths_of_outputs(
    tokenizer: Tokenizer, examples: Sequence[Example], predictions: Sequence[Prediction]
) -> Section | None:
    """Return the report section on the lengths of a run's outputs; None if the run generates no
    text.
    """
    by_id = {prediction.id: prediction.output for prediction in predictions}
    outputs = [output for e in examples if (output := by_id[e.id]) is not None]
    if len(outputs) < len(examples):
        return None
    return length_section(
        {THIS: [len(ids) for ids in tokenizer.encode_targets(outputs)]},
        [len(ids) for ids in tokenizer.encode_targets([e.references[0] for e in examples])],
    )


def run_facts(job: "JobCLI") -> dict[str, Cell]:
    """Return the facts of a run for its report: data, model, software, device, time."""
    task = job.model
    data = job.datamodule
    git = job.writer.tracker.git
    commit = git.get("git.commit")
    changed = {"true": True, "false": False}.get(git.get("git.dirty", ""))
    seed = job.settings["seed_everything"]
    on_gpu = task.device.type == "cuda"
    cpu = f"CPU, {torch.get_num_threads()} threads"
    facts: dict[str, Cell] = {
        "Corpus": data.corpus.name,
        "Licence": Term(data.corpus.licence),
        "Digest of the data": Code(data.evaluation_set("test").digest),
        "Model": task.model_info.name,
        "Tokenizer": repr(task.tokenizer),
        "Seed": None if seed is None else str(seed),
        "Git commit": commit and Code(commit),
        "Uncommitted changes": changed,
        "Device": torch.cuda.get_device_name() if on_gpu else Term(cpu),
        "Wall time": Term(duration(time.time() - job.began)),
        "Tokens per second": reporter_of(job).curve.tokens_per_second,
        "Arguments": job.writer.first_command.removeprefix("lslm "),
    }
    if start := start_shown(job):
        facts["Weights to start from"] = Code(start)
    if data.assumed_language:
        facts["Language"] = Term(data.assumed_language)
    if data.corpus.comparability:
        facts["Comparability"] = Term(data.corpus.comparability)
    return {
        name: Missing("not recorded") if value is None else value for name, value in facts.items()
    }


def start_shown(job: "JobCLI") -> str | None:
    """Return the path of the run whose weights training started from, relative to the working
    directory if it is inside; None if there is none.
    """
    trained = job.earlier_config or job.settings  # of the run that is resumed or tested
    start = (trained.get("job") or {}).get("start")
    if start is None:
        return None
    here = Path.cwd()
    return str(Path(start).relative_to(here) if Path(start).is_relative_to(here) else start)


def reporter_of(job: "JobCLI") -> Reporter:
    """Return the progress callback of the job's Trainer."""
    return callback_of(job.trainer, Reporter)
