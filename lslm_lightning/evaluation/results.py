"""Results of an evaluation: scores of every system, comparisons, costs, and findings of the sanity
checks.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction, Score, metric_label
from lslm_lightning.evaluation.buckets import Buckets, standard_buckets
from lslm_lightning.evaluation.comparison import (
    Pair,
    compare_systems,
    differing_parts,
    explain_incomparable,
)
from lslm_lightning.evaluation.diagnostics import (
    Finding,
    beam_below_greedy,
    check_set,
    cut_sources,
    in_systems_order,
    left_out,
    other_model,
    run_checks,
    unused_outputs,
)
from lslm_lightning.evaluation.measurement import Measured, measure_all
from lslm_lightning.evaluation.scoring import Scores, naming, score, with_signature_parts
from lslm_lightning.files import atomic_write
from lslm_lightning.metrics.resampling import TEST_RESAMPLES
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.types import Json


@dataclass(frozen=True)
class Entry:
    """One system in an evaluation: its predictions, or the reason why it has none, and facts about
    it.

    Attributes:
        continuations: outputs for prompts that are not scored.
        reason: why there are no predictions or scores; "" if there are.
        failed: True if `reason` is an error, False if the system lacks an ability.
        signature: how the system answers, such as "|context:256".
        recorded: scores of an earlier run, by metric. They replace the scores computed now; if
            their signatures differ, the system is not ranked by that metric.
        facts: numbers and names for reports: "n_parameter", "seconds_per_example",
            "tokens_per_second", "memory_bytes", "training_flops", "money" and its "currency",
            "weights" and "search"; "limit", the setting at which answers are cut, such as
            "max_length=128"; "engine", what computed the model in place of PyTorch; "left_out", the
            settings that a server did not accept; "answered_as", the models that answered where
            they are not the one that was asked; "unused_outputs", how many outputs of a file have
            ids of no example, and how many it has; "cut_sources", how many sources were truncated.
    """

    name: str
    predictions: Sequence[Prediction] = ()
    continuations: Sequence[Prediction] = ()
    reason: str = ""
    failed: bool = False
    signature: str = ""
    recorded: Mapping[str, Score] = field(default_factory=dict)
    facts: Mapping[str, Json] = field(default_factory=dict)


def cut_facts(n_cut: int, n_example: int, phrase: str) -> dict[str, str]:
    """Return the fact "cut_sources" of an entry; empty if no source was truncated.

    Args:
        n_cut: number of examples whose source was truncated.
        phrase: phrase that follows "12 of 100", see `System.cut_sources`.
    """
    return {"cut_sources": f"{n_cut:,} of {n_example:,} {phrase}"} if n_cut else {}


@dataclass(frozen=True)
class Results:
    """Contents of the report of an evaluation.

    Attributes:
        headline: name of the main metric.
        scores: scores by system; None for a system that could not answer.
        refusals: sentences that say which scores cannot be compared, and why.
        contaminated: mask (N,) of the examples that overlap with the training text.
        clean: value of the main metric on the other examples, by system; empty without
            contamination.
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
        """Return the reasons why scores are missing, by (system, metric)."""
        return {
            (name, metric): e.reason
            for name, e in self.entries.items()
            for metric in metrics
            if e.reason
        }


def compute_results(
    examples: Sequence[Example],
    entries: Sequence[Entry],
    metrics: Sequence[Metric],
    headline: str,
    known: Sequence[str] | None = None,
    contaminated: np.ndarray | None = None,
    n_resample: int = TEST_RESAMPLES,
    n_worker: int = 1,
) -> Results:
    """Compute scores, comparisons and sanity checks from predictions, without running the systems.

    Args:
        headline: name of the main metric, one of `metrics`.
        known: training texts of the systems, for the breakdown by rare words.
        contaminated: mask (N,) of the examples that overlap with the training text.
        n_resample: number of samples of each bootstrap and randomization test, and of the bootstrap
            for intervals.
        n_worker: number of processes at most that compute statistics; see `measure_all`.
    """
    answers = _answers(entries)
    of_set = check_set(examples, answers, metrics)
    measured = measure_all(answers, examples, metrics, of_set, _limits(entries), n_worker)
    entries, scores, outdated = score_entries(examples, entries, metrics, n_resample, measured)
    answered = {name: found for name, found in scores.items() if found is not None}
    pairs, refusals = _compare(metrics, answered, outdated, n_resample)
    main = next(metric for metric in metrics if metric.name == headline)
    rows = {
        name: found.rows[headline]
        for name, found in answered.items()
        if np.isfinite(found.rows[headline]).all()
    }
    findings = [
        *of_set.findings,
        *(f for entry in entries if not entry.reason for f in measured[entry.name].findings),
        *check_settings(entries),
    ]
    findings += beam_below_greedy(
        _searches(entries), {name: found[headline] for name, found in answered.items()}
    )
    clean: dict[str, float] = {}
    if contaminated is not None and contaminated.any():
        findings.append(_contamination(contaminated))
        if not contaminated.all():
            with naming(main):
                clean = {name: main.score(row[~contaminated].sum(0)) for name, row in rows.items()}
    written = any(p.output is not None for entry in entries for p in entry.predictions)
    return Results(
        headline,
        {entry.name: entry for entry in entries},
        scores,
        pairs,
        refusals,
        in_systems_order(findings, (entry.name for entry in entries)),
        standard_buckets(examples, main, rows, known) if written and rows else [],
        contaminated,
        clean,
    )


class ScoredEntries(NamedTuple):
    """Entries and their scores by name: None if the predictions could not be scored, which the
    entry states then. `outdated` has reasons why recorded scores cannot be compared with those
    computed now, by (name of the entry, metric).
    """

    entries: list[Entry]
    scores: dict[str, Scores | None]
    outdated: dict[tuple[str, str], str]


def score_entries(
    examples: Sequence[Example],
    entries: Sequence[Entry],
    metrics: Sequence[Metric],
    n_resample: int,
    measured: Mapping[str, Measured] | None = None,
) -> ScoredEntries:
    """Score the predictions of entries; scores that an earlier run recorded replace those computed
    now.

    Args:
        n_resample: number of bootstrap samples for intervals; 0 omits the intervals.
        measured: statistics that have been computed already, by name of the entry.
    """
    known = measured or {}
    scored = [
        _scored(entry, examples, metrics, n_resample, known.get(entry.name, Measured()))
        for entry in entries
    ]
    return ScoredEntries(
        [entry for entry, _ in scored],
        {
            entry.name: None if found is None else _with_recorded(found, entry)
            for entry, found in scored
        },
        {
            (entry.name, metric): reason
            for entry, found in scored
            if found is not None
            for metric, reason in _outdated(found, entry).items()
        },
    )


def _with_recorded(found: Scores, entry: Entry) -> Scores:
    """Return the scores; a score that an earlier run recorded for the entry replaces the computed
    one.
    """
    return replace(found, scores=[entry.recorded.get(s.metric, s) for s in found.scores])


def _outdated(found: Scores, entry: Entry) -> dict[str, str]:
    """Return the reasons why recorded scores cannot be compared with those computed now, by
    metric.
    """
    reasons = {}
    for now in found.scores:
        if parts := differing_parts(entry.recorded.get(now.metric, now), now):
            reasons[now.metric] = f"recorded and now {'; '.join(parts)}; run lslm test again"
    return reasons


def _compare(
    metrics: Sequence[Metric],
    answered: Mapping[str, Scores],
    outdated: Mapping[tuple[str, str], str],
    n_resample: int,
) -> tuple[list[Pair], list[str]]:
    """Return comparisons of all pairs of systems, and sentences about scores that cannot be
    compared.

    Args:
        answered: scores by system.
        outdated: reasons why recorded scores are not tested, by (system, metric).
    """
    pairs: list[Pair] = []
    reasons: dict[tuple[str, str, str], str] = {}
    for metric in metrics:
        defined = {
            name: found[metric.name]
            for name, found in answered.items()
            if not math.isnan(found[metric.name].value)
        }
        differences = {
            (first, second): differing_parts(defined[first], defined[second])
            for first, second in combinations(defined, 2)
        }
        rows = {
            name: answered[name].rows[metric.name]
            for name in defined
            if (name, metric.name) not in outdated
        }
        pairs += compare_systems(
            metric,
            rows,
            n_resample,
            comparable=lambda *pair: not differences[pair],  # noqa: B023 (called here alone)
        )
        for (first, second), parts in differences.items():
            if parts:
                reasons[metric.name, first, second] = "; ".join(parts)
    return pairs, explain_incomparable(reasons) + [
        f"{metric_label(metric)} of {name} cannot be ranked: {reason}"
        for (name, metric), reason in outdated.items()
    ]


def check_entries(
    examples: Sequence[Example], entries: Sequence[Entry], metrics: Sequence[Metric]
) -> list[Finding]:
    """Return the findings of the sanity checks on examples, answers and settings."""
    of_answers = run_checks(examples, _answers(entries), metrics, _limits(entries))
    return of_answers + check_settings(entries)


def check_settings(entries: Sequence[Entry]) -> list[Finding]:
    """Return the findings on how systems were asked, from the facts of their entries."""
    findings = [
        *(left_out(entry.name, entry.facts.get("left_out", {})) for entry in entries),
        *(other_model(entry.name, entry.facts.get("answered_as", [])) for entry in entries),
        *(unused_outputs(entry.name, entry.facts.get("unused_outputs", [])) for entry in entries),
        *(cut_sources(entry.name, entry.facts.get("cut_sources", "")) for entry in entries),
    ]
    return [finding for finding in findings if finding is not None]


def _answers(entries: Sequence[Entry]) -> dict[str, Sequence[Prediction]]:
    """Return the predictions of the entries that have some, by name."""
    return {entry.name: entry.predictions for entry in entries if not entry.reason}


def _limits(entries: Sequence[Entry]) -> dict[str, str]:
    """Return the setting that limits the length of answers, by name of the entry, if known."""
    return {entry.name: entry.facts["limit"] for entry in entries if "limit" in entry.facts}


def _searches(entries: Sequence[Entry]) -> dict[str, tuple[str, str]]:
    """Return the digest of the weights and the name of the search, by system, if both are known."""
    return {
        entry.name: (entry.facts["weights"], entry.facts["search"])
        for entry in entries
        if {"weights", "search"} <= entry.facts.keys()
    }


def _contamination(contaminated: np.ndarray) -> Finding:
    """Return the finding that examples, a mask (N,), overlap with the training text."""
    message = (
        f"{int(contaminated.sum()):,} of {len(contaminated):,} examples overlap with the training "
        "text (at least half of their 8-grams); the report has the scores on the others"
    )
    return Finding("contamination", "", message)


def _scored(
    entry: Entry,
    examples: Sequence[Example],
    metrics: Sequence[Metric],
    n_resample: int,
    measured: Measured,
) -> tuple[Entry, Scores | None]:
    """Return an entry and its scores.

    If a metric fails on the predictions, the scores are None and the entry states the reason.

    Args:
        measured: statistics of the metrics, if they did not fail.
    """
    if entry.reason:
        return entry, None
    try:
        found = score(examples, entry.predictions, metrics, n_resample, rows=measured.rows)
        found = with_signature_parts(found, metrics, entry.signature)
    except Exception as error:
        reason = f"its answers cannot be scored: {type(error).__name__}: {error}"
        return replace(entry, reason=" ".join(reason.split())[:500], failed=True), None
    return entry, found


def write_results(path: str | os.PathLike[str], results: Results, data: Mapping[str, str]) -> None:
    """Write the results of an evaluation to `path` as JSON, atomically; nan becomes null.

    Args:
        data: description of the scored data: "corpus", "split" and "digest".
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


def plain(value: object) -> Json:
    """Return a value for JSON: nan becomes None and infinity becomes text."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
