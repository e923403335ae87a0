"""All finished runs of an MLflow experiment in one table."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from lslm_lightning.reports.blocks import Cell, Code, Heading, Table
from lslm_lightning.tracking import Store
from lslm_lightning.tracking.lost import end_lost_runs

PAGE = 1000  # runs asked for at a time
NO_SCORES = ("_deviation", "/cut_sources")  # metrics of tests that say something of scores


def leaderboard(experiment: str, metric: str | None = None) -> Table:
    """A row a run that has the metric, by exam, the best of an exam first: only those that sat the same one are ranked.

    An exam is the data by their digest, and the signature of the metric that leads.

    Args:
        metric: "test/bleu", or "bleu"; by default every metric of tests, sorted by the first.

    Raises:
        ValueError: there is no such experiment, or no finished run with such a metric.
    """
    finished, n_other = runs_of(experiment)
    tested = {name for run in finished for name in run.data.metrics if name.startswith("test/") and not name.endswith(NO_SCORES)}
    if metric and f"test/{metric}" in tested:
        metric = f"test/{metric}"
    names = [metric] if metric else sorted(tested)
    rows = [run for run in finished if any(name in run.data.metrics for name in names)]
    if not rows:
        known = sorted({name for run in finished for name in run.data.metrics if "/" in name})
        raise ValueError(
            f"no finished run of {experiment!r} has {metric or 'a metric of a test'}; there are {', '.join(known) or 'no metrics'}"
        )
    down = lower_is_better(names[0], rows)

    def key(run: Any) -> float:
        value = run.data.metrics.get(names[0], math.nan)
        return math.inf if math.isnan(value) else value if down else -value

    sizes = Counter(exam_of(run, names[0]) for run in rows)
    exams = {exam: letters(i) for i, (exam, _) in enumerate(sizes.most_common())}
    rows.sort(key=lambda run: ([*exams].index(exam_of(run, names[0])), key(run)))
    table: list[list[Cell]] = []
    for run in rows:
        corpus, digest, _ = exam = exam_of(run, names[0])
        values = [run.data.metrics.get(name) for name in names]
        seed = run.data.tags.get("seed")
        table.append([run.info.run_name, exams[exam], *values, kind_of(run), corpus, digest[:8], seed, run.info.run_id[:8]])
    headings = [Heading(name, "", not lower_is_better(name, rows)) for name in names]
    notes: list[Cell] = [
        Code(f"{corpus or 'unknown corpus'}, digest {digest[:8] or 'unknown'}, {signature or 'signature unknown'}", f"exam {exams[exam]}")
        for exam in exams
        for corpus, digest, signature in [exam]
    ]
    if n_other:
        notes.append(f"Runs that are not finished and are not shown: {n_other:,}.")
    columns = ["run", "exam", *headings, "kind", "corpus", "data", "seed", "MLflow id"]
    return Table(columns, table, f"{experiment}, by {names[0]}", notes)


def brief(table: Table) -> Table:
    """Without the columns that the notes on exams say too."""
    kept = [i for i, heading in enumerate(table.headings()) if heading.name not in ("corpus", "data")]
    return replace(table, columns=[table.columns[i] for i in kept], rows=[[row[i] for i in kept] for row in table.rows])


def runs_of(experiment: str) -> tuple[list[Any], int]:
    """All finished runs, the newest first, and the number of others."""
    store = Store()
    client = store.client()
    found = store.ask(lambda: client.get_experiment_by_name(experiment))
    if found is None:
        known = ", ".join(sorted(e.name for e in store.ask(client.search_experiments)))
        raise ValueError(f"MLflow at {store} has no experiment {experiment!r}; it has {known}")

    store.ask(lambda: end_lost_runs(client, [found.experiment_id]))

    def pages() -> Iterator[Any]:
        token: str | None = ""
        while token is not None:
            page = store.ask(lambda: client.search_runs([found.experiment_id], max_results=PAGE, page_token=token or None))  # noqa: B023
            yield from page
            token = page.token

    runs = list(pages())
    finished = [run for run in runs if run.info.status == "FINISHED"]
    return finished, len(runs) - len(finished)


def on_record(run: Any, name: str) -> dict[str, Any]:
    """What the run's tag says of the score that MLflow knows as `test/<metric>`; nothing of what is no score, or in an older run."""
    try:
        return json.loads(run.data.tags.get("scores", "{}")).get(name.rpartition("/")[2], {})
    except ValueError:
        return {}


def exam_of(run: Any, name: str) -> tuple[str, str, str]:
    """Corpus, digest of the test data, signature."""
    tags = run.data.tags
    return tags.get("corpus", ""), tags.get("corpus.test_digest", ""), on_record(run, name).get("signature", "")


def kind_of(run: Any) -> str:
    """What the row stands for."""
    tags = run.data.tags
    if "system" in tags:
        return "evaluated"
    return f"mean of {tags['seeds']} seeds" if "seeds" in tags else tags.get("command", "")


def letters(number: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    first, last = divmod(number, 26)
    return (letters(first - 1) if first else "") + ascii_uppercase[last]


def lower_is_better(name: str, runs: list[Any]) -> bool:
    """As runs have on record, or else by what such metrics are called."""
    known = [found["higher_is_better"] for run in runs if "higher_is_better" in (found := on_record(run, name))]
    if known:
        return not known[0]
    last = name.rpartition("/")[2]
    lower = ("loss", "ter", "wer", "cer", "bits_per_byte", "nats_per_token", "seconds")
    return last in lower or "perplexity" in last or last.endswith("_deviation") or name.startswith("cost/")
