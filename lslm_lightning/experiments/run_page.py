"""Report of a tested run, as the training commands write it."""

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lslm_lightning.configuration.lightning_cli_internals import callback_of
from lslm_lightning.contracts import Example, Prediction, metric_label
from lslm_lightning.evaluation.comparison import Pair
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.experiments.run_evaluation import RunEvaluation
from lslm_lightning.experiments.run_records import versions
from lslm_lightning.reports import blocks
from lslm_lightning.reports.composition import RunFacts, length_section, run_report
from lslm_lightning.reports.evaluation import checks_section
from lslm_lightning.reports.hyperparameters import hyperparameters
from lslm_lightning.reports.samples import Sample, Samples
from lslm_lightning.reports.scores import ScoreTable
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.callbacks.progress import Reporter

if TYPE_CHECKING:
    from lslm_lightning.experiments.job_cli import JobCLI


def run_page(job: "JobCLI", evaluation: RunEvaluation) -> blocks.Report:
    """Build the report of a tested run; the task adds its own sections."""
    directory = job.writer.directory
    name = directory.path.name
    data = job.datamodule
    predictions = read_predictions(directory.predictions / "test.jsonl")
    lengths, samples = written_outputs(
        name, job.model.tokenizer, data.examples("test"), predictions
    )
    systems = {name: evaluation.own.scores}
    systems |= {other: found.scores for other, found in evaluation.baselines.items()}
    curves = [json.loads(line) for line in directory.curves.read_text("utf-8").splitlines()]
    pairs = evaluation.pairs
    sections = [
        checks_section(evaluation.findings),
        *([against_baselines(pairs[0].metric, pairs)] if pairs else []),
        *job.model.report.sections(data, predictions),
    ]
    return run_report(
        run_facts(job),
        ScoreTable(systems),
        curves,
        lengths,
        samples,
        sections,
        evaluation.conclusion,
        job.model.headline,
    )


def written_outputs(
    name: str,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
) -> tuple[blocks.Section | None, Samples | None]:
    """Return the report section on output lengths and the output samples of a run; (None, None) if
    the run generates no text.

    Args:
        name: name of the run.
    """
    by_id = {prediction.id: prediction.output for prediction in predictions}
    outputs = [output for e in examples if (output := by_id[e.id]) is not None]
    if len(outputs) < len(examples):
        return None, None
    lengths = length_section(
        {name: [len(ids) for ids in tokenizer.encode_targets(outputs)]},
        [len(ids) for ids in tokenizer.encode_targets([e.references[0] for e in examples])],
    )
    samples = [
        Sample(e.id, {name: output}, e.source, e.references, {}, e.language, e.source_language)
        for e, output in zip(examples, outputs, strict=True)
    ]
    return lengths, Samples(samples)


def against_baselines(metric: str, pairs: Sequence[Pair]) -> blocks.Section:
    """Build the report section "Comparison with baselines", a table of paired tests.

    Args:
        metric: name of the tested metric.
        pairs: paired tests of the run against its baselines.
    """
    rows: list[list[blocks.Cell]] = [
        [
            pair.second,
            blocks.Measure(pair.difference, blocks.interval_of(pair.low, pair.high)),
            100 * pair.better,
            pair.p,
            pair.p_randomization,
        ]
        for pair in pairs
    ]
    columns: list[blocks.Heading | str] = [
        "baseline",
        f"difference in {metric_label(metric)}",
        blocks.Heading("better on", "% of examples"),
        blocks.Heading("p", "corrected"),
        blocks.Heading("p", "randomization"),
    ]
    note = (
        "Paired approximate randomization over the test examples; small figures: 95 % interval of "
        "the difference. Corrected: by Holm's method for all baselines. Ties count half."
    )
    return blocks.Section("Comparison with baselines", [blocks.Table(columns, rows, notes=[note])])


def run_facts(job: "JobCLI") -> RunFacts:
    """Return the facts of a run for its report: data, model, software, device, time."""
    task = job.model
    data = job.datamodule
    writer = job.writer
    git = writer.tracker.git
    on_gpu = task.device.type == "cuda"
    more: dict[str, blocks.Cell] = {"Arguments": writer.beginning.removeprefix("lslm ")}
    if data.assumed_language:
        more["Language"] = data.assumed_language
    if data.corpus.comparability:
        more["Comparability"] = data.corpus.comparability
    return RunFacts(
        task=job.task_name,
        name=writer.directory.path.name,
        corpus=data.corpus.name,
        corpus_digest=data.evaluation_set("test").digest,
        licence=data.corpus.licence,
        tokenizer=repr(task.tokenizer),
        model=task.model_info.name,
        n_parameter=task.model_info.n_parameter,
        seed=job.settings["seed_everything"],
        git_commit=git.get("git.commit"),
        git_dirty={"true": True, "false": False}.get(git.get("git.dirty", "")),
        command=command_line([job.subcommand, "--config", str(writer.directory.config)]),
        versions=versions(),
        device=torch.cuda.get_device_name()
        if on_gpu
        else f"CPU, {torch.get_num_threads()} threads",
        started=time.strftime("%Y-%m-%d %H:%M", time.localtime(job.began)),
        seconds=time.time() - job.began,
        tokens_per_second=reporter_of(job).curve.tokens_per_second,
        hyperparameters=hyperparameters(redacted_settings(writer.config())),
        more=more,
    )


def reporter_of(job: "JobCLI") -> Reporter:
    """Return the progress callback of the job's Trainer."""
    return callback_of(job.trainer, Reporter)
