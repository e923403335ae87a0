"""Report section on costs: time, size and money of each system, and quality against each cost."""

from collections.abc import Collection, Mapping, Sequence

from lslm_lightning.contracts import Metric, metric_label
from lslm_lightning.evaluation.results import Results
from lslm_lightning.reports.blocks import Cell, Columns, Heading, Missing, Section, Table
from lslm_lightning.reports.scatter import Scatter

COSTS = (  # of an entry's facts: name, heading, unit, size of the unit
    ("seconds_per_example", "time", "ms an example", 1e-3),
    ("n_parameter", "parameters", "millions", 1e6),
    ("money", "money", "", 1.0),
    ("training_flops", "training", "TFLOP", 1e12),
    ("memory_bytes", "weights", "MB", 1e6),
)


def costs_section(results: Results, metrics: Sequence[Metric]) -> Section | None:
    """Return the section "Quality vs cost": a table of all costs, and a figure of quality against
    each cost that is known for at least two systems.

    Without such a figure, the section is called "Costs". None if no cost of any system is known.
    """
    costs = [entry.facts.get(key) for entry in results.entries.values() for key, *_ in COSTS]
    if all(cost is None for cost in costs):
        return None
    currencies = {
        str(entry.facts["currency"])
        for entry in results.entries.values()
        if "currency" in entry.facts
    }
    units = {key: (unit, size) for key, _, unit, size in COSTS}
    units["money"] = (" or ".join(sorted(currencies)), 1.0)
    pictures = quality_figures(results, metrics, units, currencies)
    shown = [
        (key, name, *units[key])
        for key, name, *_ in COSTS
        if any(entry.facts.get(key) is not None for entry in results.entries.values())
    ]
    rows: list[list[Cell]] = [
        [
            system,
            *(cost_cell(entry.facts.get(key), size) for key, _, _, size in shown),
            cost_cell(entry.facts.get("tokens_per_second")),
        ]
        for system, entry in results.entries.items()
    ]
    columns: list[Heading | str] = [
        "system",
        *(Heading(name, unit) for _, name, unit, _ in shown),
        Heading("tokens", "per second"),
    ]
    notes = [
        "Time and tokens per second: measured while each system answered; the time of a batch is "
        "divided evenly among its examples."
    ]
    if any(key == "training_flops" for key, *_ in shown):
        notes.append(
            "Training: 6 operations per parameter and token (Kaplan et al. 2020), an upper bound "
            "where some parameters see only some tokens."
        )
    if not pictures:
        return Section("Costs", [Table(columns, rows, notes=notes)])
    return Section("Quality vs cost", [Columns(pictures), Table(columns, rows, "Costs", notes)])


def quality_figures(
    results: Results,
    metrics: Sequence[Metric],
    units: Mapping[str, tuple[str, float]],
    currencies: Collection[str],
) -> list[Scatter]:
    """Return figures of the headline metric against each cost that is known for at least two
    systems; an empty list without metrics.

    Args:
        units: name and size of the unit in which each cost is shown.
        currencies: currencies of all systems; there is no figure of money if they differ.
    """
    if not results.headline:
        return []
    metric = {metric.name: metric for metric in metrics}[results.headline]
    label = metric_label(metric.name)
    quality = Heading(label, metric.unit, metric.higher_is_better)
    figures = []
    for key, name, *_ in COSTS:
        unit, size = units[key]
        points = {}
        for system, entry in results.entries.items():
            scores = results.scores[system]
            cost = entry.facts.get(key)
            if scores and cost is not None:
                points[system] = (float(cost) / size, scores[results.headline].value)
        is_known = len(points) > 1 and any(cost for cost, _ in points.values())
        if is_known and (key != "money" or len(currencies) == 1):
            figures.append(Scatter(points, Heading(name, unit), quality, f"{label} against {name}"))
    return [figure for figure in figures if len(figure.finite()) > 1]


def cost_cell(value: float | None, size: float = 1.0) -> Cell:
    """Return a cost in units of `size`; `Missing` for None."""
    return Missing("not known") if value is None else value / size
