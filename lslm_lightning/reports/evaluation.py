"""Parts of a report that follow from results: the opening sentences, and the sections on scores,
sanity checks, breakdowns and outputs.
"""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lslm_lightning.contracts import Example, Metric, metric_label
from lslm_lightning.evaluation.comparison import SIGNIFICANT, THIS
from lslm_lightning.evaluation.results import Results
from lslm_lightning.localization import Term, verbatim
from lslm_lightning.reports.blocks import (
    Cell,
    Folded,
    Heading,
    Measure,
    Section,
    Table,
    Text,
    interval_of,
)
from lslm_lightning.reports.conclusion import (
    NOTHING,
    Conclusion,
    draw_conclusion,
    qualified,
    quoted,
    shown,
)
from lslm_lightning.reports.explorer import Explorer
from lslm_lightning.reports.formatting import counted, decimals
from lslm_lightning.reports.intervals import Intervals
from lslm_lightning.reports.samples import Sample
from lslm_lightning.reports.scores import ScoreTable


def lead(
    results: Results, metrics: Sequence[Metric], baselines: Collection[str] = ()
) -> Conclusion:
    """Return the opening of a report: the systems that do not beat a baseline, then the leading
    system and the significance of its lead.
    """
    told = {
        name: found
        for name in results.scores
        if name not in baselines
        and (found := conclusion_on(name, results, baselines)).outcome in ("worse", "unsure")
    }
    order = sorted(told, key=lambda name: told[name].outcome == "unsure")
    leader = leading(results, metrics, [(name, other) for name in told for other in baselines])
    summary = " ".join(filter(None, [*(told[name].summary for name in order), leader.summary]))
    details = [line for name in order for line in details_of(name, told[name])]
    worst = told[order[0]].outcome if order else leader.outcome
    pairs = leader.pairs.union(*(found.pairs for found in told.values()))
    return Conclusion(worst, summary, (*details, *leader.details), pairs)


def conclusion_on(name: str, results: Results, others: Collection[str]) -> Conclusion:
    """Return a comparison of the system `name` with the systems `others` in the headline metric;
    `NOTHING` if it has no scores.
    """
    if not (found := results.scores.get(name)):
        return NOTHING
    scores = {
        other: there[results.headline]
        for other in results.scores
        if other in others and other != name and (there := results.scores[other])
    }
    pairs = [pair for pair in results.pairs if name in (pair.first, pair.second)]
    subject = name if name == THIS else quoted(name)
    compared = draw_conclusion(found[results.headline], scores, pairs, subject)
    every = {
        other: there.scores for other in scores if (there := results.scores[other]) is not None
    }
    return qualified(compared, found.scores, every, pairs)


def leading(
    results: Results, metrics: Sequence[Metric], told: Collection[tuple[str, str]] = ()
) -> Conclusion:
    """Return a sentence on the best system in the headline metric, and whether its difference from
    the second is significant.

    Args:
        told: pairs of systems whose comparison is stated elsewhere and is not repeated.
    """
    headline = {m.name: m for m in metrics}[results.headline]
    sign = 1 if headline.higher_is_better else -1
    label = metric_label(headline.name)
    scores = {name: found[headline.name] for name, found in results.scores.items() if found}
    order = sorted(
        (name for name, score in scores.items() if math.isfinite(score.value)),
        key=lambda name: -sign * scores[name].value,
    )
    if not order:
        return Conclusion(None, "No system has answers for this test set.")
    best = scores[order[0]]
    verb = "has" if len(results.scores) == 1 else "leads with"
    words = f"{quoted(order[0])} {verb} {label} {shown(best)}"
    is_told = any(set(pair) == set(order[:2]) for pair in told)
    if is_told and best.value == scores[order[1]].value:  # told already, and no system leads
        return NOTHING
    if len(order) == 1 or is_told:
        return Conclusion(None, f"{words}.")
    second = order[1]
    pairs = [pair for pair in results.pairs if {pair.first, pair.second} == set(order[:2])]
    found = draw_conclusion(best, {second: scores[second]}, pairs, "it", "system")
    if not found.summary:
        score = f"{quoted(order[0])} has {label} {shown(best)}"
        return Conclusion(
            None, f"{score}; its score is not comparable with that of {quoted(second)}."
        )
    if best.value == scores[second].value:
        words = f"{quoted(order[0])} and {quoted(second)} lead with the same {label}, {shown(best)}"
        return Conclusion(found.outcome, f"{words}.")
    details = details_of(order[0], found)
    return Conclusion(found.outcome, f"{words}. {found.summary}", details, found.pairs)


def details_of(name: str, conclusion: Conclusion) -> tuple[str, ...]:
    """Return the details of a conclusion about the system `name`, each preceded by this name."""
    lines = conclusion.details
    return tuple(f"{quoted(name)}: {line[:1].lower()}{line[1:]}" for line in lines)


def scores_section(
    results: Results, metrics: Sequence[Metric], apart: Collection[str] = ()
) -> Section | None:
    """Return the section "Scores": scores of all systems, and tests of pairs of them; None without
    systems.

    Args:
        apart: systems that were evaluated on another test set.
    """
    if not results.scores:
        return None
    names = [metric.name for metric in metrics]
    table = score_table(results, names, apart)
    blocks: list[object] = [*interval_figures(results, table), table]
    if clean := results.clean:
        n = int(np.count_nonzero(~results.contaminated)) if results.contaminated is not None else 0
        columns: list[Heading | str] = [
            "system",
            Heading(f"{metric_label(results.headline)} on the {counted(n, 'clean example')}"),
        ]
        blocks.append(
            Table(
                columns,
                [[name, value] for name, value in clean.items()],
                "Without examples found in the training text",
            )
        )
    blocks += [Text(f"{words}.") for words in results.refusals]
    of_headline = [pair for pair in results.pairs if pair.metric == results.headline]
    if of_headline:
        blocks.append(pair_table(results, results.headline))
        others = [
            m
            for m in names
            if m != results.headline and any(pair.metric == m for pair in results.pairs)
        ]
        if others:
            blocks.append(
                Folded(
                    "The same by the other metrics", [pair_table(results, name) for name in others]
                )
            )
    return Section("Scores", blocks)


def interval_figures(results: Results, table: ScoreTable) -> list[Intervals]:
    """Return a figure of all scores in the headline metric, in a list. The list is empty if fewer
    than two systems have such a score on the same test set.
    """
    found = {
        name: score
        for name, own in table.systems.items()
        for score in own
        if score.metric == results.headline
        and math.isfinite(score.value)
        and name not in table.apart
    }
    own = THIS if THIS in found else next(iter(found), "")
    return [Intervals(found, own)] if len(found) > 1 else []


def score_table(
    results: Results, metrics: Sequence[str], apart: Collection[str] = ()
) -> ScoreTable:
    """Return a table of all scores in `metrics`, sorted by the headline metric, the best system
    first and systems without a score last.

    Args:
        apart: systems that were evaluated on another test set; they are placed after the others.
    """

    def rank(name: str) -> tuple[bool, float]:
        found = results.scores[name]
        own = found.scores if found else []
        score = next((score for score in own if score.metric == results.headline), None)
        if score is None or math.isnan(score.value):
            return name in apart, math.inf
        return name in apart, -score.value if score.higher_is_better else score.value

    systems = {
        name: found.scores if (found := results.scores[name]) else []
        for name in sorted(results.scores, key=rank)
    }
    return ScoreTable(systems, reasons=results.reasons(metrics), apart=apart)


def pair_table(results: Results, metric: str) -> Table:
    """Return a table of significance tests in one metric: difference, interval and p-values of each
    pair of systems.
    """
    rows: list[list[Cell]] = []
    pairs = [pair for pair in results.pairs if pair.metric == metric]
    places = decimals([pair.difference for pair in pairs])
    for pair in pairs:
        difference = Measure(
            pair.difference,
            interval_of(pair.low, pair.high, places),
            places,
            best=pair.p < SIGNIFICANT,
        )
        chances = (round(p, 4) for p in (pair.p, pair.p_randomization, pair.p_bootstrap))
        name = f"{pair.first} − {pair.second}"
        named = Term(name) if THIS in (pair.first, pair.second) else name
        rows.append([named, difference, 100 * pair.better, *chances])
    columns: list[Heading | str] = [
        "pair",
        f"difference in {metric_label(metric)}",
        Heading("first is better on", "% of examples"),
        Heading("p", "corrected"),
        Heading("p", "randomization"),
        Heading("p", "bootstrap"),
    ]
    notes = [
        "Small figures: 95 % interval of the difference. Bold: corrected p below 0.05. Corrected: "
        "p of the randomization test, corrected by Holm's method for all pairs of this table. Ties "
        "count half in the share of examples."
    ]
    of_run = all(THIS in (pair.first, pair.second) for pair in pairs)
    title = "Comparison with baselines" if of_run else "Pairs"
    return Table(columns, rows, f"{title} by {metric_label(metric)}", notes)


def checks_section(results: Results) -> Section:
    """Return the section "Sanity checks": all findings, and a note if test examples were not
    searched for in the training text.
    """
    rows = [
        [Term(finding.check), finding.where, Term(finding.words)] for finding in results.findings
    ]
    blocks: list[object] = [
        Table(["check", "where", "finding"], rows)
        if rows
        else Text("The sanity checks found nothing.")
    ]
    if results.contaminated is None:
        blocks.append(
            Text(
                "Test examples were not searched for in the training text. lslm evaluate and lslm "
                "compare do that if the text is available."
            )
        )
    return Section("Sanity checks", blocks)


def breakdown_section(results: Results) -> Section | None:
    """Return the section "Breakdown": a table of the headline metric for each way to sort the
    examples into buckets; None without buckets.
    """
    if not results.buckets:
        return None
    tables = []
    for cut in results.buckets:
        systems = list(cut.buckets[0].scores)
        rows: list[list[Cell]] = [
            [Term(bucket.name), len(bucket.indices), *(bucket.scores[s] for s in systems)]
            for bucket in cut.buckets
        ]
        columns = [cut.title.lower(), "examples", *map(verbatim, systems)]
        tables.append(Table(columns, rows, cut.title, [cut.note]))
    return Section(f"Breakdown by {metric_label(results.headline)}", tables)


def outputs_section(
    results: Results, examples: Sequence[Example], metrics: Sequence[Metric]
) -> Section | None:
    """Return the section "Samples": the outputs of all systems, with the headline score of each;
    None without outputs or without metrics.
    """
    written: dict[str, Mapping[str, str | None]] = {
        name: {p.id: p.output for p in entry.predictions}
        for name, entry in results.entries.items()
        if not entry.reason
    }
    written = {
        name: texts
        for name, texts in written.items()
        if any(text is not None for text in texts.values())
    }
    if not written or not results.headline:
        return None
    metric = {m.name: m for m in metrics}[results.headline]
    of_each = {
        name: [metric.score_alone(row) for row in scores.rows[metric.name]]
        for name in written
        if (scores := results.scores[name]) is not None
    }
    samples = [
        Sample(
            e.id,
            {name: texts.get(e.id) for name, texts in written.items()},
            e.source,
            e.references,
            {name: values[i] for name, values in of_each.items() if math.isfinite(values[i])},
            e.language,
            e.source_language,
        )
        for i, e in enumerate(examples)
    ]
    explorer = Explorer(samples, metric_label(metric.name), metric.higher_is_better)
    return Section("Samples", [explorer])
