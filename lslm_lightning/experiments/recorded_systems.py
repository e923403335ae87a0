"""Systems whose predictions for one test set are on disk: finished runs, or the systems of an
evaluation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lslm_lightning.contracts import Example, Metric
from lslm_lightning.evaluation.harness import read_all_predictions
from lslm_lightning.evaluation.predictions import in_order
from lslm_lightning.evaluation.results import Entry
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.prediction_files import PredictionFiles
from lslm_lightning.runs import find_run


@dataclass(frozen=True)
class RecordedSystems:
    """Systems with their recorded predictions for one test set.

    Attributes:
        entries: predictions and recorded scores of each system, by name.
        groups: for each system that was asked for, by its reference, the names of its entries: one,
            or one for each seed.
        task: name of the task.
        digest: digest of the test set.
        directories: directory of each entry that is a run, by name.
        notes: a line for each reference that is a pattern, with the run it was resolved to.
    """

    examples: Sequence[Example]
    metrics: Sequence[Metric]
    entries: Mapping[str, Entry]
    groups: Mapping[str, list[str]]
    task: str
    digest: str
    notes: Sequence[str] = ()
    directories: Mapping[str, Path] = field(default_factory=dict)


def systems_of_runs(references: Sequence[str], trust: bool = False) -> RecordedSystems:
    """Return finished runs with their test predictions, by the rules of `lslm compare`.

    Args:
        references: run directories, MLflow run ids, registered models, or patterns; the parent of
            several seeds stands for its children.
        trust: allow the configs of the runs to name any class.

    Raises:
        ValueError: a run is missing, was not tested, is of another task or was tested on another
            test set, or its predictions are not on this machine.
    """
    from contextlib import nullcontext

    from lslm_lightning.experiments.comparison import RunComparison  # slow to import
    from lslm_lightning.experiments.finished_runs import entry
    from lslm_lightning.runs.trust import only_trusted

    found = [find_run(reference, is_tested=True) for reference in references]
    groups = {each.directory.path.name: reference for each, reference in zip(found, references)}
    with nullcontext() if trust else only_trusted():
        runs = RunComparison([each.directory for each in found], None, trust, 0)
        shared, predictions = runs.load_predictions()
        if runs.apart:
            name, reason = next(iter(runs.apart.items()))
            raise ValueError(f"{name} does not compare with the others: {reason}")
        if shared is None:
            raise ValueError(
                f"the test examples of {references[0]} are not on this machine: its corpus "
                f"{runs.runs[0].data.get('corpus')} is missing or has changed"
            )
        by_group: dict[str, list[str]] = {reference: [] for reference in references}
        for run in runs.runs:
            by_group[groups[run.group]].append(run.name)
        test_set = runs.tested[runs.runs[0].name].found
        return RecordedSystems(
            shared.examples,
            runs.metrics(shared.examples[0].language),
            {run.name: entry(run, predictions[run.name]) for run in runs.runs},
            by_group,
            runs.task_name,
            test_set.digest if test_set else "",
            [str(each) for each in found if each.pattern],
            {run.name: run.directory.path.absolute() for run in runs.runs},
        )


def systems_of_evaluation(
    names: Sequence[str], config: str, settings: Sequence[str] = (), root: Path = Path("runs")
) -> RecordedSystems:
    """Return systems of an evaluation with the predictions that `lslm evaluate` wrote.

    Args:
        names: names of systems in the config; empty for all.
        config: config of `lslm evaluate`.
        settings: further arguments of the evaluation, such as `--split val`.
        root: folder of all runs.

    Raises:
        SettingsError: the config is wrong, or has no such system.
        ValueError: predictions are missing.
    """
    from lslm_lightning.experiments.evaluating import folder_of
    from lslm_lightning.experiments.evaluation_spec import read

    arguments = ["--config", config, *settings]
    spec = read(arguments)
    if unknown := [name for name in names if name not in spec.keys]:
        raise SettingsError(
            f"{unknown[0]!r} is no system of {config}: it has {', '.join(spec.keys)}"
        )
    folder = folder_of(spec, arguments, root) / "predictions"
    examples = spec.data.prompted_examples(spec.split, spec.n_shot)
    ids = {example.id for example in examples}
    entries = {}
    for name in names or spec.keys:
        files = PredictionFiles(folder, spec.keys) if folder.is_dir() else None
        known = {} if files is None else {p.id: p for p in read_all_predictions(files.path(name))}
        own = in_order((p for id_, p in known.items() if id_ in ids), examples)
        if files is None or len(own) < len(examples):
            raise ValueError(
                f"system {name} has {len(own):,} of {len(examples):,} predictions in {folder}; "
                f"lslm evaluate --config {config} makes the others"
            )
        record = files.record(name)
        entries[name] = Entry(
            name,
            own,
            signature=record.get("signature", ""),
            facts=record.get("facts", {}),
        )
    return RecordedSystems(
        examples,
        spec.metrics or spec.task.metrics(examples[0].language),
        entries,
        {name: [name] for name in entries},
        spec.task_name,
        spec.data.evaluation_set(spec.split).digest,
    )
