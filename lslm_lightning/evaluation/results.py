"""What came out of an evaluation: every system's scores, how they compare, what they cost, and what
to doubt.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction, Score, metric_label
from lslm_lightning.evaluation.buckets import Buckets, standard_buckets
from lslm_lightning.evaluation.comparison import Pair, compare_systems, differing_parts, refused
from lslm_lightning.evaluation.diagnostics import (
    Finding,
    beam_below_greedy,
    cut_sources,
    in_systems_order,
    left_out,
    run_checks,
)
from lslm_lightning.evaluation.scoring import Scores, score, signed
from lslm_lightning.files import atomic_write
from lslm_lightning.metrics.significance import N_RESAMPLE
from lslm_lightning.safety.redaction import redacted_settings


@dataclass(frozen=True)
class Entry:
    """One system in an exam: what it said, or why it said nothing, and what it cost.

    `continuations` are what it wrote for prompts beside the exam. `failed` tells a breakdown from
    what it cannot do. `signature` is what of its way of answering belongs to its scores
    ("|context:256"). `recorded` are scores by metric that were written down before: they stand, and
    where one would have another signature now, the answers are not ranked by it. `facts` are
    numbers and names by which reports know them: "n_parameter", "seconds_per_example",
    "tokens_per_second", "memory_bytes", "training_flops", "money" and its "currency", "weights" and
    "search"; "limit" is the setting at which answers are cut, as "max_length=128"; "left_out" are
    settings that a server did not take; "cut_sources" says how many sources were not read to their
    end.
    """

    name: str
    predictions: Sequence[Prediction] = ()
    continuations: Sequence[Prediction] = ()
    reason: str = ""
    failed: bool = False
    signature: str = ""
    recorded: Mapping[str, Score] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """All that a report of an evaluation shows.

    `scores[system]` is None where the system could not answer; `refusals` say which scores do not
    compare, and why; `clean` holds values of the headline metric on the examples that were not
    found in the training text, where some were.
    """

    headline: str
    entries: Mapping[str, Entry]
    scores: Mapping[str, Scores | None]
    pairs: Sequence[Pair]
    refusals: Sequence[str]
    findings: Sequence[Finding]
    buckets: Sequence[Buckets]
    contaminated: np.ndarray | None = None
    clean: Mapping[str, float] = field(default_factory=dict)

    def reasons(self, metrics: Sequence[str]) -> dict[tuple[str, str], str]:
        """Why a number is not there, by (system, metric)."""
        return {
            (name, metric): e.reason
            for name, e in self.entries.items()
            for metric in metrics
            if e.reason
        }


def conclude(
    examples: Sequence[Example],
    entries: Sequence[Entry],
    metrics: Sequence[Metric],
    headline: str,
    known: Sequence[str] | None = None,
    contaminated: np.ndarray | None = None,
    n_resample: int = N_RESAMPLE,
) -> Results:
    """From what is written to results; needs no system.

    Args:
        headline: the metric that leads; of `metrics`.
        known: the texts that answers were learned from.
        contaminated: a mask (N,) of examples found in the training text.
    """
    scores: dict[str, Scores | None] = {}
    outdated: dict[tuple[str, str], str] = {}
    scorable = {entry.name: _scored(entry, examples, metrics, n_resample) for entry in entries}
    entries = [entry for entry, _ in scorable.values()]
    for entry, found in scorable.values():
        scores[entry.name] = None
        if found is not None:
            for now in found.scores:
                if parts := differing_parts(entry.recorded.get(now.metric, now), now):
                    outdated[entry.name, now.metric] = (
                        f"in its record and now {'; '.join(parts)}: lslm test scores it anew"
                    )
            scores[entry.name] = replace(
                found, scores=[entry.recorded.get(s.metric, s) for s in found.scores]
            )
    answered = {name: found for name, found in scores.items() if found is not None}
    pairs: list[Pair] = []
    apart: dict[tuple[str, str, str], str] = {}
    for metric in metrics:
        own = {
            name: found[metric.name]
            for name, found in answered.items()
            if not math.isnan(found[metric.name].value)
        }
        differences = {
            pair: differing_parts(own[pair[0]], own[pair[1]]) for pair in combinations(own, 2)
        }
        rows = {
            name: answered[name].rows[metric.name]
            for name in own
            if (name, metric.name) not in outdated
        }
        pairs += compare_systems(
            metric,
            rows,
            n_resample,
            comparable=lambda *pair: not differences[pair],  # noqa: B023 (called here alone)
        )
        apart |= {
            (metric.name, *pair): "; ".join(parts) for pair, parts in differences.items() if parts
        }
    refusals = refused(apart) + [
        f"{metric_label(metric)} of {name} is not ranked: {why}"
        for (name, metric), why in outdated.items()
    ]
    leading = next(metric for metric in metrics if metric.name == headline)
    rows = {
        name: found.rows[headline]
        for name, found in answered.items()
        if np.isfinite(found.rows[headline]).all()
    }
    limits = {entry.name: entry.facts["limit"] for entry in entries if "limit" in entry.facts}
    findings = run_checks(
        examples,
        {entry.name: entry.predictions for entry in entries if not entry.reason},
        metrics,
        limits,
    )
    findings += [found for e in entries if (found := left_out(e.name, e.facts.get("left_out", {})))]
    findings += [
        found for e in entries if (found := cut_sources(e.name, e.facts.get("cut_sources", "")))
    ]
    searches = {
        e.name: (e.facts["weights"], e.facts["search"])
        for e in entries
        if {"weights", "search"} <= e.facts.keys()
    }
    findings += beam_below_greedy(
        searches, {name: found[headline] for name, found in answered.items()}
    )
    clean = {}
    if contaminated is not None and contaminated.any():
        n = int(contaminated.sum())
        words = (
            f"{n:,} of {len(examples):,} examples stand in the training text; scores on the "
            "others are beside"
        )
        findings.append(Finding("contamination", "", words))
        clean = {
            name: leading.score(found[~contaminated].sum(0))
            for name, found in rows.items()
            if not contaminated.all()
        }
    written = any(p.output is not None for entry in entries for p in entry.predictions)
    buckets = standard_buckets(examples, leading, rows, known) if written and rows else []
    findings = in_systems_order(findings, (entry.name for entry in entries))
    return Results(
        headline,
        {e.name: e for e in entries},
        scores,
        pairs,
        refusals,
        findings,
        buckets,
        contaminated,
        clean,
    )


def _scored(
    entry: Entry,
    examples: Sequence[Example],
    metrics: Sequence[Metric],
    n_resample: int,
) -> tuple[Entry, Scores | None]:
    """Score one system's answers; where a metric breaks down on them, this system alone fails."""
    if entry.reason:
        return entry, None
    try:
        found = score(examples, entry.predictions, metrics, n_resample)
        found = signed(found, metrics, entry.signature)
    except Exception as error:
        reason = f"its answers cannot be scored: {type(error).__name__}: {error}"
        return replace(entry, reason=" ".join(reason.split())[:500], failed=True), None
    return entry, found


def write_results(path: str | os.PathLike[str], results: Results, data: Mapping[str, str]) -> None:
    """`metrics.json` of an evaluation, whole or not at all; what is no number is null.

    Args:
        data: what was scored: "corpus", "split" and "digest".
    """
    record = {
        "data": dict(data),
        "headline": results.headline,
        "systems": {
            name: {
                "scores": [asdict(s) for s in found.scores]
                if (found := results.scores[name])
                else [],
                "reason": entry.reason or None,
                "facts": dict(entry.facts),
                "clean": results.clean.get(name),
            }
            for name, entry in results.entries.items()
        },
        "pairs": [asdict(pair) for pair in results.pairs],
        "refusals": list(results.refusals),
        "findings": [asdict(finding) for finding in results.findings],
    }
    shown = redacted_settings(plain(record))
    text = json.dumps(shown, ensure_ascii=False, indent=1, allow_nan=False)
    atomic_write(Path(path), text + "\n")


def plain(value: Any) -> Any:
    """The same for JSON, which knows neither nan nor infinity."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
