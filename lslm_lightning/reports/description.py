"""Markdown description of a run in MLflow: results, how to repeat it, and where the report is."""

import math
from collections.abc import Mapping, Sequence

from lslm_lightning.contracts import Score, metric_label
from lslm_lightning.reports.escaping import code_block, code_span, markdown
from lslm_lightning.reports.formatting import number
from lslm_lightning.safety.display import safe_text

MOST_COLUMNS = 6  # systems beside the run; the report has all of them
MOST_ROWS = 20


def describe(
    table: str = "",
    lead: str = "",
    facts: Mapping[str, str] | None = None,
    command: str = "",
    links: Mapping[str, str] | None = None,
) -> str:
    """Return the description of a run in Markdown.

    Args:
        table: table of scores, from `score_table` or `ranking_table`.
        lead: opening sentences in Markdown.
        facts: one line each by title, such as the model and the test data.
        command: command that starts the run again.
        links: addresses by link text; an address that begins with `#` is a page of MLflow.
    """
    parts = [lead.strip(), table]
    named = [
        f"- {markdown(name)}: {markdown(safe_text(text))}"
        for name, text in (facts or {}).items()
        if text
    ]
    parts.append("\n".join(named))
    parts.append(code_block(safe_text(command)) if command else "")
    parts.append(" · ".join(shown_link(name, address) for name, address in (links or {}).items()))
    return "\n\n".join(part for part in parts if part)


def score_table(scores: Mapping[str, Sequence[Score]]) -> str:
    """Return a Markdown table with a row for each metric, the scores of all systems, and the
    interval of the first system; "" without scores.
    """
    names = [name for name, found in scores.items() if found][: MOST_COLUMNS + 1]
    if not names:
        return ""
    own, *others = ({score.metric: score for score in scores[name]} for name in names)
    has_interval = any(score.low is not None for score in own.values())
    headings = ["metric", *names[:1], *(["95 % interval"] if has_interval else []), *names[1:]]
    rows = []
    for metric, score in [*own.items()][:MOST_ROWS]:
        arrow = "↑" if score.higher_is_better else "↓"
        beside = [number(other[metric].value if metric in other else None) for other in others]
        interval = [bounds(score)] if has_interval else []
        rows.append(
            [
                f"{metric_label(metric)} {arrow} {score.unit}".strip(),
                f"**{number(score.value)}**",
                *interval,
                *beside,
            ]
        )
    lines = [[markdown(safe_text(heading)) for heading in headings], ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ranking_table(scores: Mapping[str, Sequence[Score]], headline: str) -> str:
    """Return a Markdown table with a row for each system, the best by the metric `headline` first;
    "" without scores.

    A row has the scores of the system in all metrics and the interval of the headline score.
    """
    found = {name: {score.metric: score for score in own} for name, own in scores.items()}
    found = {name: own for name, own in found.items() if headline in own}
    if not found:
        return ""

    def rank(name: str) -> float:
        score = found[name][headline]
        return (
            math.inf
            if math.isnan(score.value)
            else score.value * (-1 if score.higher_is_better else 1)
        )

    first = next(iter(found.values()))
    metrics = [headline, *(metric for metric in first if metric != headline)]
    shown = [
        (
            f"{metric_label(metric)} {'↑' if first[metric].higher_is_better else '↓'} "
            f"{first[metric].unit}"
        ).strip()
        for metric in metrics
    ]
    rows = [["system", shown[0], "95 % interval", *shown[1:]], ["---"] * (len(metrics) + 2)]
    for name in sorted(found, key=rank)[:MOST_ROWS]:
        values = [
            number(found[name][metric].value if metric in found[name] else None)
            for metric in metrics
        ]
        rows.append(
            [
                markdown(safe_text(name)),
                f"**{values[0]}**",
                bounds(found[name][headline]),
                *values[1:],
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def bounds(score: Score) -> str:
    """Return the interval of a score, such as "41.8 to 44.6"; "" if none was computed."""
    return "" if score.low is None else f"{number(score.low)} to {number(score.high)}"


def interval_in_words(score: Score) -> str:
    """Return the interval of a score with its metric, such as "BLEU 41.8 to 44.6 (95 %)"; "" if
    none was computed.
    """
    found = bounds(score)
    return f"{metric_label(score.metric)} {found} (95 %)" if found else ""


def shown_link(name: str, address: str) -> str:
    """Return a Markdown link to a page; for a file, its path as code."""
    if address.startswith(("#", "http://", "https://")):
        return f"[{markdown(name)}]({address})"
    return f"{markdown(name)} {code_span(safe_text(address))}"
