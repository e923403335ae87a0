"""The report of an evaluation: which system is better, how sure that is, what it costs, and where
it fails.
"""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lslm_lightning.contracts import Example, Metric, metric_label
from lslm_lightning.evaluation.comparison import SIGNIFICANT, THIS
from lslm_lightning.evaluation.doctor import Finding
from lslm_lightning.evaluation.results import Results
from lslm_lightning.reports.blocks import (
    Cell,
    Code,
    Columns,
    Facts,
    Folded,
    Heading,
    Measure,
    Missing,
    Report,
    Section,
    Table,
    Text,
    interval_of,
)
from lslm_lightning.reports.conclusion import (
    NOTHING,
    Conclusion,
    conclude,
    qualified,
    quoted,
    shown,
)
from lslm_lightning.reports.explorer import Explorer
from lslm_lightning.reports.intervals import Intervals
from lslm_lightning.reports.numerals import counted, decimals
from lslm_lightning.reports.samples import Sample
from lslm_lightning.reports.scatter import Scatter
from lslm_lightning.reports.scores import ScoreTable

COSTS = (  # of an entry's facts: name, heading, unit, size of the unit
    ("seconds_per_example", "time", "ms an example", 1e-3),
    ("n_parameter", "parameters", "millions", 1e6),
    ("money", "money", "", 1.0),
    ("training_flops", "training", "TFLOP", 1e12),
    ("memory_bytes", "weights", "MB", 1e6),
)


def evaluation_report(
    title: str,
    task: str,
    results: Results,
    examples: Sequence[Example],
    metrics: Sequence[Metric],
    repeat: Sequence[Section],
    sections: Sequence[Section] = (),
    date: str = "",
    baselines: Collection[str] = (),
    after_scores: Sequence[Section] = (),
) -> Report:
    """The whole page.

    Args:
        baselines: systems that every other one has to beat.
        repeat: what was run, at the end of the page.
        sections: the task's own.
        after_scores: sections that follow the scores.
    """
    parts = [
        ladder(results, metrics),
        *after_scores,
        doubts(results),
        choice(results, metrics),
        parts_of_the_exam(results, metrics),
        *sections,
        outputs(results, examples, metrics),
        *repeat,
    ]
    words = lead(results, metrics, baselines)
    kicker = task.replace("_", " ").capitalize()
    return Report(
        title, [part for part in parts if part], words.summary, kicker, date, words.details
    )


def lead(
    results: Results, metrics: Sequence[Metric], baselines: Collection[str] = ()
) -> Conclusion:
    """Say which systems lose to a baseline, and then which system leads and how sure that is."""
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
    """Say how a system compares with these others in the headline metric; nothing without
    scores.
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
    compared = conclude(found[results.headline], scores, pairs, subject)
    every = {other: results.scores[other].scores for other in scores}
    return qualified(compared, found.scores, every, pairs)


def leading(
    results: Results, metrics: Sequence[Metric], told: Collection[tuple[str, str]] = ()
) -> Conclusion:
    """Say which system is best, and whether that is more than chance.

    Args:
        told: pairs of which another sentence says how they compare.
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
        return Conclusion(None, "No system could answer this evaluation set.")
    best = scores[order[0]]
    verb = "has" if len(results.scores) == 1 else "leads with"
    words = f"{quoted(order[0])} {verb} {label} {shown(best)}"
    is_told = any(set(pair) == set(order[:2]) for pair in told)
    if is_told and best.value == scores[order[1]].value:  # which was said, and nothing leads
        return NOTHING
    if len(order) == 1 or is_told:
        return Conclusion(None, f"{words}.")
    second = order[1]
    pairs = [pair for pair in results.pairs if {pair.first, pair.second} == set(order[:2])]
    found = conclude(best, {second: scores[second]}, pairs, "it", "system")
    if not found.summary:
        score = f"{quoted(order[0])} has {label} {shown(best)}"
        return Conclusion(None, f"{score}; its score and that of {quoted(second)} do not compare.")
    if best.value == scores[second].value:
        words = f"{quoted(order[0])} and {quoted(second)} lead with the same {label}, {shown(best)}"
        return Conclusion(found.outcome, f"{words}.")
    details = details_of(order[0], found)
    return Conclusion(found.outcome, f"{words}. {found.summary}", details, found.pairs)


def details_of(name: str, conclusion: Conclusion) -> tuple[str, ...]:
    """Return the details of a conclusion with the name of the system that they are about."""
    lines = conclusion.details
    return tuple(f"{quoted(name)}: {line[:1].lower()}{line[1:]}" for line in lines)


def ladder(results: Results, metrics: Sequence[Metric]) -> Section:
    """Scores of all systems, and every pair of them."""
    names = [metric.name for metric in metrics]
    table = score_table(results, names)
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
                "Without what stands in the training text",
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
                Folded("Pairs by the other metrics", [pair_table(results, name) for name in others])
            )
    return Section("Scores", blocks)


def interval_figures(results: Results, table: ScoreTable) -> list[Intervals]:
    """Return the figure of scores in the headline metric, where two systems have one."""
    found = {
        name: score
        for name, own in table.systems.items()
        for score in own
        if score.metric == results.headline and math.isfinite(score.value)
    }
    return [Intervals(found, next(iter(found)))] if len(found) > 1 else []


def score_table(results: Results, metrics: Sequence[str]) -> ScoreTable:
    """The best by the headline metric first, systems without a score last."""

    def place(name: str) -> float:
        found = results.scores[name]
        score = found[results.headline] if found else None
        if score is None or math.isnan(score.value):
            return math.inf
        return -score.value if score.higher_is_better else score.value

    systems = {
        name: found.scores if (found := results.scores[name]) else []
        for name in sorted(results.scores, key=place)
    }
    return ScoreTable(systems, reasons=results.reasons(metrics))


def pair_table(results: Results, metric: str) -> Table:
    """Differences with intervals, and p-values."""
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
        rows.append([f"{pair.first} − {pair.second}", difference, 100 * pair.better, *chances])
    columns = [
        "pair",
        f"difference in {metric_label(metric)}",
        Heading("first is better on", "% of examples"),
        Heading("p", "corrected"),
        Heading("p", "randomization"),
        Heading("p", "bootstrap"),
    ]
    notes = [
        "Small figures: 95 % interval of the difference. Bold: corrected p below 0.05. "
        "Corrected: the randomization test's, by Holm's"
        " method for all pairs of this table. Ties count half in the share of examples."
    ]
    return Table(columns, rows, f"Pairs by {metric_label(metric)}", notes)


def doubts(results: Results) -> Section:
    """What the sanity checks found."""
    unchecked = (
        []
        if results.contaminated is not None
        else [Text("The training text is not here: no example was looked for in it.")]
    )
    return checks_section(results.findings, unchecked)


def checks_section(findings: Sequence[Finding], notes: Sequence[Text] = ()) -> Section:
    """What the sanity checks found, on the page of an evaluation and of a run."""
    if not findings:
        return Section("Sanity checks", [Text("The sanity checks found nothing."), *notes])
    rows = [[finding.check, finding.where, finding.words] for finding in findings]
    return Section("Sanity checks", [Table(["check", "where", "finding"], rows), *notes])


def choice(results: Results, metrics: Sequence[Metric]) -> Section | None:
    """Quality against each cost that two systems or more know."""
    metric = {m.name: m for m in metrics}[results.headline]
    label = metric_label(metric.name)
    quality = Heading(label, metric.unit, metric.higher_is_better)
    pictures = []
    units = {key: (unit, size) for key, _, unit, size in COSTS}
    currencies = {
        str(e.facts["currency"]) for e in results.entries.values() if "currency" in e.facts
    }
    units["money"] = (" or ".join(sorted(currencies)), 1.0)
    for key, name, *_ in COSTS:
        unit, size = units[key]
        known = {
            s: e.facts[key]
            for s, e in results.entries.items()
            if results.scores[s] and e.facts.get(key) is not None
        }
        if len(known) > 1 and any(known.values()) and (key != "money" or len(currencies) == 1):
            points = {
                s: (float(cost) / size, results.scores[s][results.headline].value)
                for s, cost in known.items()
            }
            picture = Scatter(points, Heading(name, unit), quality, f"{label} against {name}")
            pictures += [picture] if len(picture.finite()) > 1 else []
    shown = [
        (key, name, *units[key])
        for key, name, *_ in COSTS
        if any(e.facts.get(key) is not None for e in results.entries.values())
    ]
    rows = [
        [
            s,
            *(cell(e.facts.get(key), size) for key, _, _, size in shown),
            cell(e.facts.get("tokens_per_second")),
        ]
        for s, e in results.entries.items()
    ]
    columns = [
        "system",
        *(Heading(name, unit) for _, name, unit, _ in shown),
        Heading("tokens", "per second"),
    ]
    notes = [
        (
            "Time and tokens: of answering, as it was measured when each system was asked; batches "
            "share theirs evenly."
        )
    ]
    if any(key == "training_flops" for key, *_ in shown):
        notes.append(
            "Training: 6 operations a parameter and token (Kaplan et al. 2020), an upper bound "
            "where parts see only some tokens."
        )
    if not pictures:
        return Section("Costs", [Table(columns, rows, notes=notes)])
    return Section("Which to choose", [Columns(pictures), Table(columns, rows, "Costs", notes)])


def cell(value: float | None, size: float = 1.0) -> Cell:
    """A cost in units of `size`, or a dash."""
    return Missing("not known") if value is None else value / size


def parts_of_the_exam(results: Results, metrics: Sequence[Metric]) -> Section | None:
    """The headline metric in buckets."""
    if not results.buckets:
        return None
    tables = []
    for cut in results.buckets:
        systems = list(cut.buckets[0].scores)
        rows = [
            [bucket.name, len(bucket.places), *(bucket.scores[s] for s in systems)]
            for bucket in cut.buckets
        ]
        tables.append(Table([cut.title.lower(), "examples", *systems], rows, cut.title, [cut.note]))
    return Section(f"Parts of the exam, by {metric_label(results.headline)}", tables)


def outputs(
    results: Results, examples: Sequence[Example], metrics: Sequence[Metric]
) -> Section | None:
    """All outputs side by side, with the headline metric of each alone."""
    metric = {m.name: m for m in metrics}[results.headline]
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
    if not written:
        return None
    alone = {
        name: [metric.score_alone(row) for row in results.scores[name].rows[metric.name]]
        for name in written
    }
    samples = [
        Sample(
            e.id,
            {name: texts.get(e.id) for name, texts in written.items()},
            e.source,
            e.references,
            {name: alone[name][i] for name in written if math.isfinite(alone[name][i])},
            e.language,
            e.source_language,
        )
        for i, e in enumerate(examples)
    ]
    return Section(
        "Outputs side by side",
        [Explorer(samples, metric_label(metric.name), metric.higher_is_better)],
    )


def to_repeat(
    command: str, facts: Mapping[str, Cell], systems: Mapping[str, str], versions: Mapping[str, str]
) -> Section:
    """What was run, and with what; `systems` holds the YAML of each."""
    blocks: list[object] = [Facts(facts), Code(command, "To repeat this evaluation")]
    blocks.append(
        Folded(
            f"The {counted(len(systems), 'system')}",
            [Code(text, name) for name, text in systems.items()],
        )
    )
    blocks.append(Folded(f"Versions of {counted(len(versions), 'package')}", [Facts(versions)]))
    return Section("What was run", blocks)
