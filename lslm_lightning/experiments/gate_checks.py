"""Checks of a gate: metrics against a baseline, and assertions on outputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lslm_lightning.contracts import metric_key, metric_label
from lslm_lightning.evaluation.assertions import HoldingShare, OutputAssertion
from lslm_lightning.evaluation.comparison import differing_parts
from lslm_lightning.evaluation.margin import MarginTest, Rule, margin_test
from lslm_lightning.evaluation.results import score_entries
from lslm_lightning.evaluation.scoring import Scores
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.gate_file import GateSpec
from lslm_lightning.experiments.recorded_systems import RecordedSystems
from lslm_lightning.reports.formatting import decimals, number


@dataclass(frozen=True)
class GateCheck:
    """One check of a gate: a metric against the baseline, or an assertion on the outputs.

    Attributes:
        name: display name of the metric, or the assertion as the file has it.
        value: score of the run, or percentage of its outputs on which the assertion holds.
        demanded: percentage of outputs that is demanded; None if the baseline is the measure.
        baseline: the same of the baseline; None if the check does not need it.
        test: paired test against the baseline; None for a share that the file demands.
        rule: rule of the test.
        sentence: result in words, with its reason.
        power: sentence on what this test set could have shown; "" without a test.
        failures: id of each example on which an assertion does not hold, and the reason.
    """

    name: str
    passed: bool
    value: float
    baseline: float | None
    demanded: float | None
    test: "MarginTest | None"
    rule: str
    sentence: str
    power: str = ""
    failures: Sequence[tuple[str, str]] = ()


def metric_checks(
    spec: GateSpec, systems: RecordedSystems, references: tuple[str, str], n_resample: int
) -> list[GateCheck]:
    """Return the checks of all metrics of a gate.

    Args:
        references: references of the run and of the baseline in `systems.groups`.
        n_resample: number of bootstrap samples.

    Raises:
        SettingsError: a metric is named twice.
        ValueError: a metric is unknown, or its scores do not compare.
    """
    by_name = {metric.name: metric for metric in systems.metrics}
    names = [metric_key(each.metric.rpartition("/")[2], by_name) for each in spec.metrics]
    if twice := [i for i, name in enumerate(names) if name in names[:i]]:
        first, again = names.index(names[twice[0]]), twice[0]
        raise SettingsError(
            f"--metric {spec.metrics[first].metric} and --metric {spec.metrics[again].metric} are "
            "the same metric; give one of them, with one margin"
        )
    scores = comparable_scores(systems, names) if names else {}
    checks = []
    for name, each in zip(names, spec.metrics, strict=True):
        level = spec.level_of(each.rule)
        groups = [[scores[entry] for entry in systems.groups[one]] for one in references]
        rows = [[own.rows[name] for own in group] for group in groups]
        test = margin_test(by_name[name], rows[0], rows[1], each.margin, level, n_resample)
        values = [fmean(own[name].value for own in group) for group in groups]
        passed, sentence = test.passes(each.rule), result_sentence(test, each.rule)
        if outputs_are_equal(systems, references):
            passed, sentence = True, "passed, since all answers equal those of the baseline"
        checks.append(
            GateCheck(
                metric_label(name),
                passed,
                values[0],
                values[1],
                None,
                test,
                each.rule,
                sentence,
                power_sentence(test, each.rule),
            )
        )
    return checks


def comparable_scores(systems: RecordedSystems, names: Sequence[str]) -> dict[str, Scores]:
    """Return the scores of all entries by these metrics, which compare by the rules of `lslm
    compare`.

    Args:
        names: names of metrics.

    Raises:
        ValueError: there is no such metric, it has no paired test or no score, or signatures
            differ.
    """
    by_name = {metric.name: metric for metric in systems.metrics}
    if unknown := [name for name in names if name not in by_name]:
        raise ValueError(
            f"--metric {unknown[0]}: the runs were not scored by it; there are {', '.join(by_name)}"
        )
    if whole := [name for name in names if not by_name[name].is_additive]:
        raise ValueError(
            f"--metric {whole[0]} is defined for a corpus as a whole, so that no paired test is "
            f"possible; take one of {', '.join(n for n, m in by_name.items() if m.is_additive)}"
        )
    metrics = [by_name[name] for name in names]
    entries = [*systems.entries.values()]
    scored, scores, outdated = score_entries(systems.examples, entries, metrics, 0)
    if failed := [entry for entry in scored if entry.failed]:
        raise ValueError(f"{failed[0].name}: {failed[0].reason}")
    found = {name: own for name, own in scores.items() if own is not None}
    for name in names:
        for entry, own in found.items():
            if (entry, name) in outdated:
                raise ValueError(
                    f"{metric_label(name)} of {entry} cannot be compared: {outdated[entry, name]}"
                )
            if not math.isfinite(own[name].value):
                raise ValueError(f"{metric_label(name)} of {entry} is not defined")
        first, *others = found
        for other in others:
            if reasons := differing_parts(found[first][name], found[other][name]):
                raise ValueError(
                    f"{metric_label(name)} of {first} cannot be compared with that of {other}: "
                    f"{'; '.join(reasons)}"
                )
    return found


def outputs_are_equal(systems: RecordedSystems, references: tuple[str, str]) -> bool:
    """Return whether two single systems gave the same answers, with the same probabilities."""
    groups = [systems.groups[reference] for reference in references]
    if any(len(group) > 1 for group in groups):
        return False
    first, second = (systems.entries[group[0]].predictions for group in groups)
    return [(p.output, p.nats) for p in first] == [(p.output, p.nats) for p in second]


def output_check(
    assertion: OutputAssertion,
    spec: GateSpec,
    systems: RecordedSystems,
    references: tuple[str, str],
    n_resample: int,
) -> GateCheck:
    """Return the check of an assertion on the outputs of the run, of all its seeds.

    Args:
        references: references of the run and of the baseline in `systems.groups`.
        n_resample: number of bootstrap samples.
    """
    metric = HoldingShare(assertion)
    failures: list[tuple[str, str]] = []
    for name in systems.groups[references[0]]:
        predictions = systems.entries[name].predictions
        failures += [
            (example.id, reason)
            for example, reason in zip(
                systems.examples, assertion.reasons(systems.examples, predictions), strict=True
            )
            if reason
        ]
    n_output = len(systems.examples) * len(systems.groups[references[0]])
    value = 100 * (1 - len(failures) / n_output)
    if assertion.share is not None:
        # of a whole number of outputs, since 1 - 0.99 is more than 0.01
        passed = len(failures) <= math.floor(n_output * (1 - assertion.share) + 1e-9)
        held = n_output - len(failures)
        result = "passed" if passed else "failed"
        demanded = number(100 * assertion.share)
        sentence = f"{result}: holds on {held:,} of {n_output:,} outputs; {demanded} % are demanded"
        return GateCheck(
            assertion.name,
            passed,
            value,
            None,
            100 * assertion.share,
            None,
            "",
            sentence,
            failures=failures,
        )
    rows = [
        [metric.rows(systems.examples, systems.entries[name].predictions) for name in group]
        for group in (systems.groups[reference] for reference in references)
    ]
    test = margin_test(
        metric, rows[0], rows[1], assertion.margin, spec.level_of(spec.rule), n_resample
    )
    baseline = fmean(metric.score(each.sum(0)) for each in rows[1])
    passed, sentence = test.passes(spec.rule), result_sentence(test, spec.rule)
    if outputs_are_equal(systems, references):
        passed, sentence = True, "passed, since all answers equal those of the baseline"
    power = power_sentence(test, spec.rule)
    return GateCheck(
        *(assertion.name, passed, value, baseline, None, test, spec.rule, sentence, power),
        failures,
    )


def result_sentence(test: MarginTest, rule: Rule) -> str:
    """Return whether a metric passed, and the reason."""
    if math.isnan(test.high):
        return "failed, since one example allows no test"
    margin = number(test.margin)
    places = decimals([test.loss, test.low, test.high])
    loss, low, high = (number(value, places) for value in (test.loss, test.low, test.high))
    if test.low > test.margin:
        return f"failed, since the loss is shown to exceed {margin}: it is {loss}, at least {low}"
    if rule == "regression":
        return f"passed, since no loss above {margin} is shown: it is {loss}, at least {low}"
    if test.high < test.margin:
        return f"passed, since a loss of {margin} is ruled out: it is {loss}, at most {high}"
    return f"failed, since a loss of {margin} is not ruled out: it is {loss}, at most {high}"


def power_sentence(test: MarginTest, rule: Rule) -> str:
    """Return what a test set of this size shows, so that the result is not read as more; "" if it
    is unknown.
    """
    if math.isnan(test.high) or not test.deviation > 0:
        return ""
    least = number(test.detectable)
    if rule == "regression":
        beyond = number(test.margin + test.detectable)
        return f"a true loss of {beyond} fails on 80 % of such test sets, a smaller one less often"
    share = f"{100 * test.power(0.0, rule):.0f}"
    margin = number(test.margin)
    return (
        f"an equal run passes on {share} % of such test sets by the margin {margin}, and on "
        f"80 % by {least}"
    )
