"""End of a job: scores in the terminal, files in MLflow, the report on disk."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.table import Table
from rich.text import Text

from lslm_lightning.contracts import Generator, Metric, Score, metric_label
from lslm_lightning.evaluation.comparison import Pair, compare_with_others
from lslm_lightning.evaluation.doctor import Finding
from lslm_lightning.evaluation.duck_typing import as_system
from lslm_lightning.evaluation.evaluation_set import shown
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.evaluation.scoring import N_RESAMPLE, Scores, score
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.experiments.run_records import versions
from lslm_lightning.reports import blocks
from lslm_lightning.reports.composition import RunFacts, length_section, run_report
from lslm_lightning.reports.conclusion import NOTHING, Conclusion, conclude, qualified
from lslm_lightning.reports.description import describe, interval_in_words, score_table
from lslm_lightning.reports.escaping import markdown
from lslm_lightning.reports.evaluation import checks_section
from lslm_lightning.reports.hyperparameters import hyperparameters
from lslm_lightning.reports.numerals import counted, number
from lslm_lightning.reports.page import write_report
from lslm_lightning.reports.samples import Sample, Samples
from lslm_lightning.reports.scores import ScoreTable, heading_of
from lslm_lightning.reports.terminal import show_conclusion, show_findings
from lslm_lightning.runs.loading import build, load_weights, read_config
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.safety.terminal import console
from lslm_lightning.tracking import Tracker
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.display import Display
from lslm_lightning.training.exam import Exam
from lslm_lightning.training.progress import Reporter
from lslm_lightning.training.sharding import ShardedStrategy
from lslm_lightning.training.task import Task

if TYPE_CHECKING:
    from lslm_lightning.experiments.training import Command


def finish(command: "Command", subcommand: str) -> None:
    """Upload the files of a finished job to MLflow and print its results; after a test, also write
    the report.
    """
    directory = command.directory
    tracker = command.tracker
    callbacks = command.trainer.callbacks
    if subcommand == "validate":
        for name, value in command.trainer.callback_metrics.items():
            if name.startswith("val/"):
                print(f"{metric_label(name)} {number(float(value))}")
        data = command.datamodule
        print(digest_line(data.recorded("val")))
        answered = data.validation_exam()
        n_example = len(data.examples("val"))
        if 0 < len(answered) < n_example:
            part = shown(data.recorded("val", answered)["digest"])
            print(
                f"val/loss is of all {n_example:,} examples, scores of answers of "
                f"{len(answered):,} among them: digest {part}"
            )
    if subcommand == "predict":
        print(f"predictions {directory.predictions / 'predict.jsonl'}")
    if subcommand in ("fit", "run"):
        best = directory.checkpoints / "best.ckpt"
        if best.exists():
            for path in (best, *command.model.files_beside(directory.checkpoints)):
                tracker.log_artifact(path)
    for path in sorted(directory.predictions.glob("*.jsonl")):
        if path.stem in ("test", "predict"):
            tracker.log_table(path)
            tracker.log_artifact(path)
    if subcommand in ("test", "run"):
        exam = next(c for c in callbacks if isinstance(c, Exam))
        if exam.limited:
            show(directory.path.name, exam.scores, {}, exam.data)
            show_findings(exam.findings)
            return
        if isinstance(command.trainer.strategy, ShardedStrategy):  # from here on rank 0 is alone
            command.model = build(
                read_config(directory.config)["model"], command.datamodule.tokenizer
            )
            load_weights(
                command.model, Path(command.trainer.ckpt_path), command.datamodule.tokenizer
            )
        else:
            # Lightning has moved it to the CPU
            command.model.to(command.trainer.strategy.root_device)
        command.model.eval()  # and back into training mode
        beside = baseline_scores(
            command.model, command.datamodule, display=reporter_of(command).display
        )
        metrics = command.model.all_metrics(command.datamodule.examples("test")[0].language)
        headline = headline_of(metrics, command.model.headline)
        pairs = compared_with(headline, exam.result, beside) if headline else []
        conclusion = (
            conclusion_on(headline.name, exam.result, beside, pairs) if headline else NOTHING
        )
        others = [metric for metric in metrics if metric is not headline]
        conclusion = qualified_by(others, conclusion, exam.result, beside)
        show_conclusion(conclusion.sentences)
        show(directory.path.name, exam.scores, beside, exam.data)
        show_findings(exam.findings)
        tell_mlflow(command, exam, beside, headline, conclusion)
        tracker.log_artifact(directory.metrics)
        page = report(command, exam.result, beside, exam.findings, pairs, conclusion)
        write_report(page, directory.report)
        tracker.log_artifact(directory.report)
        print(f"report {directory.report / 'index.html'}")


def tell_mlflow(
    command: "Command",
    exam: Exam,
    beside: Mapping[str, Scores],
    headline: Metric | None,
    conclusion: Conclusion,
) -> None:
    """Write the description of a tested run in MLflow, its number of parameters, and the interval
    of its main score.
    """
    task = command.model
    tracker = command.tracker
    if task.n_parameter:
        tracker.log_hyperparams({"n_parameter": task.n_parameter})
    if headline and (interval := interval_in_words(exam.result[headline.name])):
        tracker.set_tags({"interval": interval})
    scores = {"this run": exam.scores} | {name: found.scores for name, found in beside.items()}
    checks = ", ".join(dict.fromkeys(finding.check for finding in exam.findings))
    lead = [conclusion.markdown(), f"Sanity checks found: **{markdown(checks)}**" if checks else ""]
    text = describe(
        score_table(scores),
        "\n\n".join(filter(None, lead)),
        {
            "Model": f"{task.model_name}, {task.n_parameter:,} parameters"
            if task.n_parameter
            else task.model_name,
            "Test": f"{digest_line(exam.data)}, {counted(len(exam.result.ids), 'example')}",
        },
        command.beginning,
        run_links(tracker, {"report": "report/index.html", "config.yaml": "config.yaml"}),
    )
    tracker.set_description(text)


def run_links(tracker: Tracker, files: Mapping[str, str]) -> dict[str, str]:
    """Return links to artifacts in MLflow's pages and the path of the run directory, by name."""
    return {name: f"{tracker.page}/artifacts/{file}" for name, file in files.items()} | {
        "folder": str(tracker.directory.absolute())
    }


def baseline_scores(
    task: Task,
    data: TaskData,
    n_resample: int = N_RESAMPLE,
    display: Display | None = None,
) -> dict[str, Scores]:
    """Score the task's baselines on the test split, with a progress display; return the scores by
    name.
    """
    display = display or Display(shown=False)
    examples = data.examples("test")
    found = {}
    for system in map(as_system, task.baselines(data)):
        answering = (
            system.generate(examples)
            if isinstance(system, Generator)
            else system.log_prob(examples)
        )
        answers = list(
            display.each(f"baseline {system.name}:", answering, len(examples), "answers")
        )
        found[system.name] = score(
            examples, answers, task.all_metrics(examples[0].language), n_resample
        )
    return found


def reporter_of(command: "Command") -> Reporter:
    """Return the progress callback of a job's Trainer."""
    return next(
        callback for callback in command.trainer.callbacks if isinstance(callback, Reporter)
    )


def headline_of(metrics: Sequence[Metric], name: str) -> Metric | None:
    """Return the metric called `name`, or else the first one; None if there are no metrics."""
    return next((metric for metric in metrics if metric.name == name), next(iter(metrics), None))


def compared_with(metric: Metric, result: Scores, beside: Mapping[str, Scores]) -> list[Pair]:
    """Compare a run with each of its baselines in one metric, by paired tests over the examples."""
    others = {name: scores.rows[metric.name] for name, scores in beside.items()}
    return compare_with_others(metric, result.rows[metric.name], others)


def conclusion_on(
    metric: str, result: Scores, beside: Mapping[str, Scores], pairs: Sequence[Pair]
) -> Conclusion:
    """Conclude from paired tests whether a run is better or worse than its baselines in a
    metric.
    """
    return conclude(result[metric], {name: own[metric] for name, own in beside.items()}, pairs)


def qualified_by(
    metrics: Sequence[Metric],
    conclusion: Conclusion,
    result: Scores,
    beside: Mapping[str, Scores],
) -> Conclusion:
    """Extend the conclusion that a run is better by the metrics in which it is worse."""
    if conclusion.outcome != "better":
        return conclusion
    pairs = [pair for metric in metrics for pair in compared_with(metric, result, beside)]
    scores = {name: own.scores for name, own in beside.items()}
    return qualified(conclusion, result.scores, scores, pairs)


def show(
    name: str, scores: list[Score], beside: dict[str, Scores], data: Mapping[str, str]
) -> None:
    """Print the scores of a run and its baselines as a table, with signatures and the digest of the
    data.
    """
    has_interval = any(each.low is not None for each in scores)
    table = Table(title=Text(name), title_justify="left")
    for heading in ("metric", "this run", *(["95 % interval"] if has_interval else []), *beside):
        table.add_column(
            Text(heading), overflow="fold", justify="left" if heading == "metric" else "right"
        )
    for each in scores:
        bounds = [""] if each.low is None else [f"{number(each.low)} to {number(each.high)}"]
        others = [number(result[each.metric].value) for result in beside.values()]
        metric = (
            f"{metric_label(each.metric)} {'↑' if each.higher_is_better else '↓'} "
            f"{heading_of(each).shown_unit}"
        ).strip()
        own = Text(number(each.value), "bold")
        table.add_row(
            Text(metric),
            own,
            *(Text(cell) for cell in ([*bounds] if has_interval else []) + others),
        )
    output = console()
    output.print(table)
    for each in scores:
        output.print(
            Text(
                (
                    f"{metric_label(each.metric)}: {each.signature}, "
                    f"{counted(each.n_example, 'example')}"
                ),
                "dim",
            ),
            soft_wrap=True,
        )
    output.print(Text(digest_line(data), "dim"), soft_wrap=True)


def digest_line(data: Mapping[str, str]) -> str:
    """Return a line that names the split, corpus, languages and digest of a record of
    `TaskData.recorded`.
    """
    languages = f", {data['languages']}" if data.get("languages") else ""
    return f"{data['split']} split of {data['corpus']}{languages}: digest {shown(data['digest'])}"


def report(
    command: "Command",
    result: Scores,
    beside: dict[str, Scores],
    findings: Sequence[Finding],
    pairs: Sequence[Pair],
    conclusion: Conclusion,
) -> Any:
    """Build the report of a tested run."""
    task = command.model
    data = command.datamodule
    directory = command.directory
    examples = data.examples("test")
    predictions = read_predictions(directory.predictions / "test.jsonl")
    by_id = {p.id: p for p in predictions}
    written = [by_id[e.id].output is not None for e in examples]
    samples = lengths = None
    if all(written):
        name = directory.path.name
        lengths = length_section(
            {
                name: [
                    len(ids)
                    for ids in task.tokenizer.encode_targets([by_id[e.id].output for e in examples])
                ]
            },
            [
                len(ids)
                for ids in task.tokenizer.encode_targets([e.references[0] for e in examples])
            ],
        )
        samples = Samples(
            [
                Sample(
                    e.id,
                    {name: by_id[e.id].output},
                    e.source,
                    e.references,
                    {},
                    e.language,
                    e.source_language,
                )
                for e in examples
            ]
        )
    scores = ScoreTable(
        {directory.path.name: result.scores}
        | {name: other.scores for name, other in beside.items()}
    )
    curves = [json.loads(line) for line in directory.curves.read_text("utf-8").splitlines()]
    sections = [checks_section(findings)]
    sections += [against_baselines(pairs[0].metric, pairs)] if pairs else []
    sections += task.sections(data, predictions)
    return run_report(
        facts(command), scores, curves, lengths, samples, sections, conclusion, task.headline
    )


def against_baselines(metric: str, pairs: Sequence[Pair]) -> blocks.Section:
    """Build the section "Comparison with baselines", a table of paired tests."""
    rows = [
        [
            pair.second,
            blocks.Measure(pair.difference, blocks.interval_of(pair.low, pair.high)),
            100 * pair.better,
            pair.p,
            pair.p_randomization,
        ]
        for pair in pairs
    ]
    columns = [
        "baseline",
        f"difference in {metric_label(metric)}",
        blocks.Heading("better on", "% of examples"),
        blocks.Heading("p", "corrected"),
        blocks.Heading("p", "randomization"),
    ]
    note = (
        "Paired approximate randomization over the test examples; small figures: 95 % interval of"
        " the difference. Corrected: by Holm's method for all baselines. Ties count half."
    )
    return blocks.Section("Comparison with baselines", [blocks.Table(columns, rows, notes=[note])])


def facts(command: "Command") -> RunFacts:
    """Return the facts of a run that its report shows: data, model, software, device, time."""
    task = command.model
    data = command.datamodule
    directory = command.directory
    corpus = data.corpus
    git = command.tracker.git
    return RunFacts(
        task=command.task_name,
        name=directory.path.name,
        corpus=corpus.name,
        corpus_digest=data.evaluation_set("test").digest,
        licence=corpus.licence,
        tokenizer=repr(task.tokenizer),
        model=task.model_name,
        n_parameter=task.n_parameter,
        seed=command.config[command.subcommand]["seed_everything"],
        git_commit=git.get("git.commit"),
        git_dirty={"true": True, "false": False}.get(git.get("git.dirty")),
        command=command_line([command.subcommand, "--config", str(directory.config)]),
        versions=versions(),
        device=torch.cuda.get_device_name()
        if task.device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        started=time.strftime("%Y-%m-%d %H:%M", time.localtime(command.began)),
        seconds=time.time() - command.began,
        tokens_per_second=reporter_of(command).tokens_per_second,
        hyperparameters=hyperparameters(redacted_settings(command.config_text(as_mapping=True))),
        more={"Arguments": command.beginning.removeprefix("lslm ")}
        | ({"Language": assumed} if (assumed := data.assumed_language) else {}),
    )
