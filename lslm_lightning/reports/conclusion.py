"""Results of significance tests as sentences: better, worse, or no sure difference.

These sentences are the first in the terminal, on the report page, and in the description of the run
in MLflow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lslm_lightning.contracts import Score, metric_label
from lslm_lightning.evaluation.comparison import SIGNIFICANT, THIS, Pair, listed
from lslm_lightning.metrics.significance import ENOUGH
from lslm_lightning.reports.blocks import interval_of
from lslm_lightning.reports.escaping import markdown
from lslm_lightning.reports.formatting import counted, decimals, number
from lslm_lightning.reports.scores import heading_of
from lslm_lightning.safety.display import safe_text

Outcome = Literal["worse", "unsure", "better"]
OUTCOMES: tuple[Outcome, ...] = ("worse", "unsure", "better")  # in the order of their sentences


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Comparison of one system with others on a test set, in sentences.

    Attributes:
        outcome: the worst outcome of all comparisons; None if nothing was compared.
        summary: sentences that name the other systems by outcome, the worst outcome first.
        details: one sentence for each other system, with scores, interval and p-value.
        pairs: names of the two systems of each comparison.
    """

    outcome: Outcome | None
    summary: str
    details: tuple[str, ...] = ()
    pairs: frozenset[frozenset[str]] = frozenset()

    @property
    def sentences(self) -> list[str]:
        """Summary and details as a list of sentences; empty if nothing was compared."""
        return [sentence for sentence in (self.summary, *self.details) if sentence]

    def markdown(self) -> str:
        """Return the summary in bold and the details as a list; "" if nothing was compared."""
        if not self.summary:
            return ""
        summary, *details = (markdown(safe_text(sentence)) for sentence in self.sentences)
        return "\n".join([f"**{summary}**", "", *(f"- {detail}" for detail in details)]).strip()


NOTHING = Conclusion(None, "")


def draw_conclusion(
    own: Score,
    others: Mapping[str, Score],
    pairs: Sequence[Pair],
    subject: str = THIS,
    noun: str = "baseline",
) -> Conclusion:
    """Return a comparison of a system with each of the others in one metric.

    Args:
        own: score of the system. If it is not finite, the outcome is "worse".
        others: scores in the same metric, by system; nan scores are ignored.
        pairs: tests of the system against the others, in either order.
        subject: name of the system in the sentences.
        noun: word for one of the other systems in the sentences.
    """
    known = {name: score for name, score in others.items() if not math.isnan(score.value)}
    if not known:
        return NOTHING
    label = metric_label(own.metric)
    if not math.isfinite(own.value):
        has = listed([f"{quoted(name)} has {shown(score)}" for name, score in known.items()])
        return Conclusion("worse", f"{capitalized(subject)} has no {label}, and {has}.")
    tests: dict[str, Pair] = {}
    for pair in pairs:
        if pair.metric == own.metric:
            tests |= {pair.first: swapped(pair), pair.second: pair}
    tests = {name: tests[name] for name in known if name in tests}
    if not tests:
        return NOTHING
    groups: dict[Outcome, list[str]] = {outcome: [] for outcome in OUTCOMES}
    for name, pair in tests.items():
        groups[outcome_of(pair, own.higher_is_better)].append(name)
    parts: list[str] = []
    for outcome, names in groups.items():
        if names:
            whom = group_phrase(names, len(tests), noun, "any" if outcome == "unsure" else "all")
            tested = [tests[name] for name in names]
            why, what = reason(tested, own), sought(tested)
            parts.append(sentence_of(outcome, whom, label, "" if parts else subject, what, why))
    details = [describe_pair(pair, known[name], name) for name, pair in tests.items()]
    worst = next(outcome for outcome in OUTCOMES if groups[outcome])
    compared = frozenset(frozenset((pair.first, pair.second)) for pair in tests.values())
    return Conclusion(worst, " ".join(parts), tuple(map(capitalized, details)), compared)


def qualified(
    found: Conclusion,
    own: Sequence[Score],
    others: Mapping[str, Sequence[Score]],
    pairs: Sequence[Pair],
) -> Conclusion:
    """Return `found`. If its outcome is "better", add in which other metrics the system is worse.

    Args:
        found: comparison of the system in one metric.
        own: scores of the system in all metrics.
        others: scores in all metrics of the systems that it was compared with.
        pairs: tests of the system against the others in all metrics, in either order.
    """
    if found.outcome != "better":
        return found
    sentences = []
    for name, scores in others.items():
        theirs = {score.metric: score for score in scores}
        worse = [
            f"{metric_label(score.metric)} ({shown(score)} against {shown(theirs[score.metric])})"
            for score in own
            if score.metric in theirs and is_worse(score, name, pairs)
        ]
        if worse:
            whom = f" than {quoted(name)}" if len(others) > 1 else ""
            sentences.append(f"But it is worse{whom} in {listed(worse)}.")
    return replace(found, summary=" ".join([found.summary, *sentences]))


def is_worse(score: Score, other: str, pairs: Sequence[Pair]) -> bool:
    """Return whether `score` is significantly worse than the score of the system `other`.

    Args:
        pairs: tests in any metric; those in other metrics or with other systems are ignored.
    """
    for pair in pairs:
        if pair.metric == score.metric and other in (pair.first, pair.second):
            seen = swapped(pair) if pair.first == other else pair
            return outcome_of(seen, score.higher_is_better) == "worse"
    return False


def outcome_of(pair: Pair, higher_is_better: bool) -> Outcome:
    """Return "better" or "worse" for a significant difference of the first system of a pair from
    the second, otherwise "unsure".
    """
    if math.isnan(pair.p) or pair.p >= SIGNIFICANT or not pair.difference:
        return "unsure"
    return "better" if (pair.difference > 0) == higher_is_better else "worse"


def describe_pair(pair: Pair, other: Score, name: str) -> str:
    """Return "better than X (BLEU 21.3): difference ..., 95 % interval ..., p = ...".

    Args:
        pair: test whose first system is the subject of the sentence.
        other: score of the second system.
        name: name of the second system.
    """
    outcome = outcome_of(pair, other.higher_is_better)
    words = {"worse": "worse than", "unsure": f"no {sought([pair])} from", "better": "better than"}
    against = f"{words[outcome]} {quoted(name)} ({metric_label(other.metric)} {shown(other)})"
    if not pair.difference:
        return f"{against}: the scores are equal."
    if math.isnan(pair.p):
        return f"{against}: {reason([pair], other)}."
    places = (
        max(0, 2 - math.floor(math.log10(abs(pair.difference))))
        if math.isfinite(pair.difference)
        else None
    )
    difference, low, high = (
        number(value, places) for value in (pair.difference, pair.low, pair.high)
    )
    sign = "+" if pair.difference > 0 else ""
    return (
        f"{against}: difference {sign}{difference}, 95 % interval {low} to {high}, "
        f"{p_value_text(pair.p)}."
    )


def is_untested(pairs: Sequence[Pair]) -> bool:
    """Return whether none of these pairs, whose scores are not all equal, could be tested."""
    return all(math.isnan(pair.p) for pair in pairs) and any(pair.difference for pair in pairs)


def sought(pairs: Sequence[Pair]) -> str:
    """Return what there is none of between the systems of pairs without a sure difference."""
    return "test of the difference" if is_untested(pairs) else "sure difference"


def reason(pairs: Sequence[Pair], score: Score) -> str:
    """Return the reason why no test of these pairs shows a sure difference.

    Args:
        score: score of one of the systems, for the size of the test set.
    """
    if is_untested(pairs):
        return (
            "the test set has only one example"
            if score.n_example < ENOUGH
            else "resampled scores are not defined"
        )
    equal = all(pair.difference == 0 for pair in pairs)
    return "the scores are equal" if equal else "chance could explain it"


def sentence_of(
    outcome: Outcome, whom: str, label: str, subject: str, sought_for: str, why: str
) -> str:
    """Return one sentence of a summary: the subject, the outcome, and the systems compared, such as
    "There is no test of the difference between this run and the baseline ...".

    Args:
        whom: phrase for the other systems, from `group_phrase`.
        label: name of the metric.
        subject: name of the system; "" in the sentences after the first, which omit the metric,
            too.
        sought_for: what there is none of if the outcome is "unsure", from `sought`.
        why: reason for the outcome "unsure".
    """
    metric = f" in {label}" if subject else ""
    if outcome == "unsure":
        what = (
            f"between {subject} and {whom}"
            if subject and not whom.startswith("any")
            else f"from {whom}"
        )
        return f"There is no {sought_for} {what}{metric}: {why}."
    return f"{capitalized(subject) or 'It'} is {outcome} than {whom}{metric}."


def group_phrase(names: Sequence[str], n_all: int, noun: str, every: str) -> str:
    """Return a phrase for some of the other systems: 'the baseline "X"', "all 3 baselines".

    Args:
        names: systems that the phrase stands for.
        n_all: number of all other systems.
        noun: word for one of them, such as "baseline".
        every: "all", or "any" after a negation; used if the phrase stands for all of them.
    """
    if len(names) == n_all > 2:
        return (
            f"{every} of the {counted(n_all, noun)}"
            if every == "any"
            else f"all {counted(n_all, noun)}"
        )
    return f"the {noun}{'' if len(names) == 1 else 's'} {listed([*map(quoted, names)])}"


def swapped(pair: Pair) -> Pair:
    """Return the same test with first and second system exchanged."""
    return Pair(
        pair.second,
        pair.first,
        pair.metric,
        -pair.difference,
        -pair.high,
        -pair.low,
        pair.p_bootstrap,
        pair.p_randomization,
        pair.p,
        1 - pair.better,
    )


def p_value_text(p: float) -> str:
    """Return a p-value as text: "p = 0.0312", "p < 0.001"."""
    if p < 0.001:
        return "p < 0.001"
    text = number(round(p, 4))
    return (
        f"p < {SIGNIFICANT}" if p < SIGNIFICANT and text == number(SIGNIFICANT) else f"p = {text}"
    )


def score_sentence(score: Score, corpus: str | None) -> str:
    """Return one sentence with a score, its interval and the number of examples; "" for nan.

    Args:
        corpus: name of the corpus; None if it is not known.
    """
    if math.isnan(score.value):
        return ""
    places = decimals([score.value])
    bounds = interval_of(score.low, score.high, places)
    interval = f" (95 % interval {bounds})" if bounds else ""
    heading = heading_of(score)
    unit = f" {heading.shown_unit}" if heading.shown_unit else ""
    where = f" on {corpus}" if corpus else ""
    return (
        f"{heading.name} {number(score.value, places)}{unit}{interval}{where}, "
        f"{counted(score.n_example, 'example')}."
    )


def shown(score: Score) -> str:
    """Return the value of a score with four significant digits."""
    return number(score.value, decimals([score.value]))


def quoted(name: str) -> str:
    """Return the name of a system in quotation marks."""
    return f'"{name}"'


def capitalized(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
