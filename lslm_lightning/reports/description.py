"""The Markdown text with which MLflow shows a run: what came out, how to repeat it, and where the report is."""

from collections.abc import Mapping, Sequence

from lslm_lightning.contracts import Score
from lslm_lightning.reports.escaping import code_block, code_span, markdown
from lslm_lightning.reports.numerals import number
from lslm_lightning.safety.display import safe_text

MOST_COLUMNS = 6  # systems beside the run; the report has all of them
MOST_ROWS = 20


def describe(
    scores: Mapping[str, Sequence[Score]],
    lead: str = "",
    facts: Mapping[str, str] | None = None,
    command: str = "",
    links: Mapping[str, str] | None = None,
) -> str:
    """Return a description of a run.

    Args:
        scores: by system, that of the run first; a table is made of them.
        lead: sentences in Markdown that come first.
        facts: one line each: what was trained, on what it was tested.
        command: that starts the run again.
        links: addresses by what they lead to; one that begins with `#` is a page of MLflow.
    """
    parts = [lead.strip(), score_table(scores)]
    named = [f"- {markdown(name)}: {markdown(safe_text(text))}" for name, text in (facts or {}).items() if text]
    parts.append("\n".join(named))
    parts.append(code_block(safe_text(command)) if command else "")
    parts.append(" · ".join(shown_link(name, address) for name, address in (links or {}).items()))
    return "\n\n".join(part for part in parts if part)


def score_table(scores: Mapping[str, Sequence[Score]]) -> str:
    """Return a table with a row for each metric and the interval of the first system; "" without scores."""
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
        rows.append([f"{metric} {arrow} {score.unit}".strip(), f"**{number(score.value)}**", *interval, *beside])
    lines = [[markdown(safe_text(heading)) for heading in headings], ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bounds(score: Score) -> str:
    """Return the interval of a score, as "41.8 to 44.6"; "" where none was computed."""
    return "" if score.low is None else f"{number(score.low)} to {number(score.high)}"


def shown_link(name: str, address: str) -> str:
    """Return a link to a page, or the path of a file as text."""
    if address.startswith(("#", "http://", "https://")):
        return f"[{markdown(name)}]({address})"
    return f"{markdown(name)} {code_span(safe_text(address))}"
