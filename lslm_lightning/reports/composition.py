"""Composition of the one report: of a tested run with its baselines, of an evaluation of several
systems, and of a comparison of finished runs.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lslm_lightning.contracts import Example, Metric
from lslm_lightning.evaluation.results import Results
from lslm_lightning.localization import Term, Verbatim
from lslm_lightning.reports.blocks import (
    Cell,
    Code,
    Columns,
    Facts,
    Folded,
    Report,
    Section,
    Settings,
)
from lslm_lightning.reports.conclusion import Conclusion
from lslm_lightning.reports.costs import costs_section
from lslm_lightning.reports.evaluation import (
    breakdown_section,
    checks_section,
    outputs_section,
    scores_section,
)
from lslm_lightning.reports.figures import Histogram
from lslm_lightning.reports.formatting import counted


def compose_report(
    title: str,
    task: str,
    conclusion: Conclusion,
    results: Results,
    details: Section,
    examples: Sequence[Example] = (),
    metrics: Sequence[Metric] = (),
    *,
    beside_scores: Sequence[Section] = (),
    lengths: Section | None = None,
    training: Sequence[Section] = (),
    of_task: Sequence[Section] = (),
    apart: Collection[str] = (),
    date: str = "",
) -> Report:
    """Return the report of results. All reports have their sections in this order; those without
    data are left out.

    Args:
        task: name of the task, shown above the title.
        conclusion: sentences that open the report.
        details: section made by `details_section`, placed last.
        examples: examples that the systems answered, in order. Without them, the scores were
            recorded earlier, and neither sanity checks nor outputs are shown.
        beside_scores: sections about scores that the results lack, placed after the scores.
        lengths: section made by `length_section`.
        training: sections on how the systems were trained.
        of_task: sections that only this task adds.
        apart: systems that were evaluated on another test set; none of them is ranked best.
    """
    sections = [
        scores_section(results, metrics, apart),
        *beside_scores,
        checks_section(results) if examples else None,
        costs_section(results, metrics),
        breakdown_section(results),
        lengths,
        *training,
        *of_task,
        outputs_section(results, examples, metrics),
        details,
    ]
    shown = [section for section in sections if section]
    kicker = task.replace("_", " ").capitalize()
    return Report(title, shown, conclusion.summary, kicker, date, conclusion.details)


def details_section(
    facts: Mapping[str, Cell],
    command: str,
    versions: Mapping[str, str],
    systems: Mapping[str, str] | None = None,
    kind: str = "evaluation",
) -> Section:
    """Return the section "Run details": facts, and everything needed to repeat the work.

    Args:
        command: command that repeats the work.
        versions: version of each package.
        systems: configuration of each system as YAML, by name.
        kind: word for what the command repeats, such as "run".
    """
    blocks: list[object] = [Facts(facts)]
    if command:
        blocks.append(Code(command, f"To repeat this {kind}"))
    if systems:
        configs = [Code(text, Verbatim(name)) for name, text in systems.items()]
        blocks.append(Folded(f"The {counted(len(systems), 'system')}", configs))
    if versions:
        title = f"Versions of {counted(len(versions), 'package')}"
        packages: dict[str, Cell] = {Verbatim(name): version for name, version in versions.items()}
        blocks.append(Folded(title, [Facts(packages)]))
    return Section("Run details", blocks)


def model_section(
    hyperparameters: Mapping[str, str], n_parameter: int | None, n_trainable: int | None = None
) -> Section | None:
    """Return the section on the architecture, hyperparameters and size of a run; None if nothing
    of it is known.

    Args:
        hyperparameters: line of text about the model or its training, by title.
        n_trainable: number of the parameters that are trained; not shown if all are.
    """
    size: dict[str, Cell] = {} if n_parameter is None else {"Parameters": n_parameter}
    if n_trainable is not None and n_trainable != n_parameter:
        size["Trainable parameters"] = n_trainable
    facts = {**hyperparameters, **size}
    return Section("Model and training", [Settings(facts)]) if facts else None


def length_section(
    outputs: Mapping[str, Sequence[int]], references: Sequence[int], unit: str = "tokens"
) -> Section:
    """Return the section that compares the lengths of outputs and references.

    Args:
        outputs: lengths of the outputs, by system; at least one system.
        references: lengths of the references.
        unit: unit of the lengths, such as "tokens".
    """
    means = {
        name: float(np.mean(lengths)) if len(lengths) else None
        for name, lengths in {**outputs, "reference": references}.items()
    }
    facts: dict[str, Cell] = {f"Mean of {name}": mean for name, mean in means.items()}
    if means["reference"]:
        facts |= {
            f"Ratio of {name} to reference": mean and mean / means["reference"]
            for name, mean in means.items()
            if name in outputs
        }
    facts |= {
        f"Empty in {name}": int(np.count_nonzero(np.asarray(lengths) == 0))
        for name, lengths in outputs.items()
    }
    (first, lengths), *others = outputs.items()
    values = (
        {first: lengths}
        | ({Term("reference"): references} if len(references) else {})
        | dict(others)
    )
    return Section(
        "Lengths", [Columns([Histogram(values, unit, f"Length in {unit}"), Facts(facts)])]
    )
