"""All finished runs of an MLflow experiment in one table."""

import math

from lslm_lightning.reports.blocks import Cell, Heading, Table
from lslm_lightning.tracking import Store

MOST = 1000


def leaderboard(experiment: str, metric: str | None = None) -> Table:
    """A row a run that has the metric, the best first.

    Args:
        metric: "test/bleu", say; by default every metric of tests, sorted by the first.

    Raises:
        ValueError: there is no such experiment, or no run with such a metric.
    """
    store = Store()
    client = store.client()
    found = store.ask(lambda: client.get_experiment_by_name(experiment))
    if found is None:
        known = ", ".join(sorted(e.name for e in store.ask(client.search_experiments)))
        raise ValueError(f"MLflow at {store} has no experiment {experiment!r}; it has {known}")
    runs = store.ask(lambda: client.search_runs([found.experiment_id], max_results=MOST))
    names = [metric] if metric else sorted({name for run in runs for name in run.data.metrics if name.startswith("test/")})
    rows = [run for run in runs if names and any(name in run.data.metrics for name in names)]
    if not rows:
        known = sorted({name for run in runs for name in run.data.metrics if "/" in name})
        raise ValueError(f"no run of {experiment!r} has {metric or 'a metric of a test'}; there are {', '.join(known) or 'no metrics'}")
    down = lower_is_better(names[0])

    def key(run: object) -> float:
        value = run.data.metrics.get(names[0], math.nan)
        return math.inf if math.isnan(value) else value if down else -value

    table: list[list[Cell]] = []
    for run in sorted(rows, key=key):
        tags = run.data.tags
        values = [run.data.metrics.get(name) for name in names]
        table.append([run.info.run_name, *values, run.info.status, tags.get("corpus"), tags.get("seed"), run.info.run_id[:8]])
    columns = ["run", *(Heading(name, "", not lower_is_better(name)) for name in names), "status", "corpus", "seed", "MLflow id"]
    return Table(columns, table, f"{experiment}, by {names[0]}")


def lower_is_better(name: str) -> bool:
    """By what metrics are called: MLflow keeps no direction."""
    last = name.rpartition("/")[2]
    return (
        last in ("loss", "ter", "wer", "cer", "bits_per_byte", "nats_per_token", "seconds")
        or "perplexity" in last
        or name.startswith("cost/")
    )
