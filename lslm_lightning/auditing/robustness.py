"""Robustness: what changes to the inputs cost in the score of the task."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lslm_lightning.auditing.finding import AuditFigure, AuditFinding, AuditTable
from lslm_lightning.auditing.input_changes import InputChange, input_changes
from lslm_lightning.auditing.part import AuditPart, Progress
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.contracts import Example, Metric, Mode, Prediction
from lslm_lightning.contracts.metric import metric_label
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.metrics.significance import (
    Comparison,
    bootstrap_totals,
    holm,
    paired_randomization,
)
from lslm_lightning.runs import find_run
from lslm_lightning.runs.registered import short_name
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.types import JsonObject

N_EXAMPLE = 200
LONGEST = 1_000  # characters of a text whose probability is asked
CHANGED_LONGEST = 400  # likewise, where it is changed: full width may have ten times the tokens
N_TRIAL = 2_000
P = 0.05
LARGE = 0.1  # share of the score that must be lost for a person to look at it
LIMITS = (
    "The changes are made by rules: what people mistype, and how often, differs.",
    "References stay as they are, but for given names of regions. A change that alters the "
    "meaning counts as a loss as well.",
    "Few words are exchanged: spelling, contractions and given names of short lists. Dialects, "
    "accents and noise other than white are not measured.",
)


@dataclass(frozen=True)
class Robustness:
    """Statistics of a system on the same examples, unchanged and changed.

    Attributes:
        metric: metric of the statistics.
        clean: (N, D) statistics on the unchanged inputs.
        changed: (N, D) statistics on the changed inputs, by name of the change.
        n_changed: number of inputs that a change has altered, by its name.
    """

    metric: Metric
    clean: np.ndarray
    changed: dict[str, np.ndarray]
    n_changed: dict[str, int] = field(default_factory=dict)

    def score(self, name: str | None = None) -> float:
        """Return the score on the inputs of a change, or on the unchanged ones."""
        rows = self.clean if name is None else self.changed[name]
        return self.metric.score(rows.sum(0))


class RobustnessPart(AuditPart):
    """Paired difference of the task's first score on changed and unchanged test inputs: typos,
    lower case, full width, lost spaces, lost punctuation, similar Chinese characters, British or
    American spelling, contractions, given names of other regions, names of a list; white noise on
    recordings. A language model is measured by the bits that the changed text costs for each byte
    of the unchanged one, and not without punctuation or with other contractions, which make texts
    shorter or longer.

    Args:
        names: names of people, exchanged for one another; none to leave them.
        against: run that is measured on the same inputs; "" for none.
        seed: seed of the changes.
    """

    name = "robustness"
    title = "Robustness"
    version = 3
    weight = 6.0

    def __init__(self, names: Sequence[str] = (), against: str = "", seed: int = 0) -> None:
        self.names = sorted(set(names))
        self.against = against
        self.seed = seed

    def settings(self) -> JsonObject:
        other = Checkpoint(self.against).fingerprint() if self.against else None
        return {"names": self.names, "against": other}

    def check(self) -> None:
        if self.against:
            _ = find_run(self.against).checkpoint

    def reason_not(self, subject: AuditSubject) -> str | None:
        if subject.data is None:
            return subject.without_data
        if not subject.test_examples:
            return "The corpus has no test split here."
        return None

    def measure(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        assert subject.data is not None
        mode = subject.data.mode
        examples = drawn(subject.test_examples, self.seed, mode, CHANGED_LONGEST)
        metric = first_metric(subject, examples)
        changes = input_changes(examples, mode, self.names)
        share = 0.5 if self.against else 1.0
        found = robustness(
            subject.system, examples, mode, metric, changes, self.seed, progress, (0.0, share)
        )
        other = None
        if self.against:
            system = Checkpoint(self.against, device=subject.system.device)
            other = robustness(
                system, examples, mode, metric, changes, self.seed, progress, (0.5, 0.5)
            )
        return self._finding(found, other, short_name(self.against))

    def _finding(self, found: Robustness, other: Robustness | None, name: str) -> AuditFinding:
        """Return the finding for the measured statistics.

        Args:
            other: statistics of the run to compare with, and None if there is none.
            name: name of that run.
        """
        if math.isnan(found.score()):
            label = metric_label(found.metric.name)
            said = f"{label} is not defined for what this model gives."
            return AuditFinding(self.name, self.title, "unknown", (said,), LIMITS)
        tests = {
            change: paired_randomization(found.metric, rows, found.clean, N_TRIAL)
            for change, rows in found.changed.items()
        }
        corrected = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
        least = LARGE * abs(found.score())
        large = [
            change
            for change, test in tests.items()
            if corrected[change] < P and _lost(found.metric, test.difference) > least
        ]
        n = len(found.clean)
        label = metric_label(found.metric.name)
        if large:
            listed = ", ".join(large)
            said = f"{label} becomes worse by more than a tenth with {listed} ({n} test inputs)."
        else:
            said = f"No change of {n} test inputs costs more than a tenth of {label} for sure."
        tables = [_table(found, tests, corrected)]
        summary = [said]
        if other is not None:
            compared = {change: compare_losses(found, other, change) for change in found.changed}
            tables.append(_comparison_table(name, found, other, compared))
            summary += _compared(compared, found.metric, name)
        return AuditFinding(
            self.name,
            self.title,
            "look" if large else "ok",
            tuple(summary),
            LIMITS,
            tuple(_figure(change, test, found.metric) for change, test in tests.items()),
            (),
            tuple(tables),
        )


def drawn(
    examples: Sequence[Example], seed: int, mode: Mode, longest: int = LONGEST
) -> list[Example]:
    """Return at most 200 examples, drawn with a seed. Texts whose probability is asked are cut
    after `longest` characters, and passages become texts of their own.
    """
    chosen = list(examples)
    if len(chosen) > N_EXAMPLE:
        chosen = random.Random(seed).sample(chosen, N_EXAMPLE)
    if mode == "generate":
        return chosen
    return [
        replace(example, id=f"text-{i}", references=(example.references[0][:longest],))
        for i, example in enumerate(chosen)
    ]


def first_metric(subject: AuditSubject, examples: Sequence[Example]) -> Metric:
    """Return the metric that is shown first for the task; bits per byte for language models."""
    if subject.mode == "log_prob":
        return BitsPerByte()
    task = subject.task
    metrics = task.answering.metrics_of(examples)
    return next((metric for metric in metrics if metric.name == task.headline), metrics[0])


def robustness(
    system: Checkpoint,
    examples: Sequence[Example],
    mode: Mode,
    metric: Metric,
    changes: Sequence[InputChange],
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    span: tuple[float, float] = (0.0, 1.0),
) -> Robustness:
    """Return the statistics of a system on unchanged and on changed inputs. Changes that alter no
    input are left out; inputs that a change leaves as they are keep their answers.

    Args:
        span: share of `progress` at the start, and the share of this work.
    """

    def told(n: int) -> None:
        progress(span[0] + span[1] * n / (len(changes) + 1))

    clean = _statistics(system, examples, examples, mode, metric)
    changed: dict[str, np.ndarray] = {}
    n_changed: dict[str, int] = {}
    for i, change in enumerate(changes, 1):
        told(i)
        draw = random.Random(seed)
        inputs = [change.changed(example, draw) for example in examples]
        at = [
            i
            for i, (one, other) in enumerate(zip(inputs, examples, strict=True))
            if one != other or other.modality != "text"  # noise changes what is not compared
        ]
        if not at:
            continue
        asked = [inputs[i] for i in at]
        scored = asked if change.of_references else [examples[i] for i in at]
        rows = clean.copy()
        rows[at] = _statistics(system, asked, scored, mode, metric)
        changed[change.name] = rows
        n_changed[change.name] = len(at)
    return Robustness(metric, clean, changed, n_changed)


def _statistics(
    system: Checkpoint,
    inputs: Sequence[Example],
    examples: Sequence[Example],
    mode: Mode,
    metric: Metric,
) -> np.ndarray:
    """Return the statistics (N, D) of the answers to inputs, scored as answers to the examples."""
    answers = system.generate(inputs) if mode == "generate" else system.log_prob(inputs)
    found: dict[str, Prediction] = {prediction.id: prediction for prediction in answers}
    return metric.rows(examples, [found[example.id] for example in examples])


def compare_losses(first: Robustness, second: Robustness, name: str) -> Comparison:
    """Compare what a change costs two systems: the difference of the differences of their scores,
    with an interval by bootstrap, and a p-value from exchanging the systems at random, example by
    example. Below 0 the first system loses more, if higher scores are better. All are nan if a
    score is.
    """
    metric = first.metric
    rows = np.hstack([first.changed[name], first.clean, second.changed[name], second.clean])

    def difference(totals: np.ndarray) -> np.ndarray:
        one, one_clean, two, two_clean = (
            metric.scores(part) for part in np.split(totals, 4, axis=1)
        )
        return (one - one_clean) - (two - two_clean)

    observed = float(difference(rows.sum(0, keepdims=True))[0])
    if math.isnan(observed):
        return Comparison(*4 * [math.nan])
    low, high = np.percentile(difference(bootstrap_totals(rows, N_TRIAL)), [2.5, 97.5])
    exchanged = np.hstack(np.split(rows, 2, axis=1)[::-1])
    kept = np.random.default_rng(0).integers(0, 2, (N_TRIAL, len(rows))).astype(np.float64)
    null = difference(kept @ rows + (1 - kept) @ exchanged)
    as_far = np.sum(np.abs(null) >= abs(observed) - 1e-12)
    return Comparison(observed, float(low), float(high), float((1 + as_far) / (1 + N_TRIAL)))


def _lost(metric: Metric, difference: float) -> float:
    """Return by how much a score became worse."""
    return -difference if metric.higher_is_better else difference


def _figure(name: str, test: Comparison, metric: Metric) -> AuditFigure:
    """Return the figure of the difference that a change makes."""
    key = name.replace(" ", "_")
    return AuditFigure(key, name, test.difference, metric.unit, test.low, test.high)


def _table(
    found: Robustness, tests: dict[str, Comparison], corrected: dict[str, float]
) -> AuditTable:
    """Return the table of the scores on changed inputs."""
    rows = [
        (
            name,
            found.score(name),
            test.difference,
            corrected[name],
            found.n_changed.get(name, len(found.clean)),
        )
        for name, test in tests.items()
    ]
    return AuditTable(
        f"{metric_label(found.metric.name)} on changed inputs",
        ("change", "score", "difference", "corrected p", "inputs changed"),
        (("unchanged", found.score(), None, None, 0), *rows),
    )


def _comparison_table(
    name: str, found: Robustness, other: Robustness, compared: dict[str, Comparison]
) -> AuditTable:
    """Return the table of the losses of two systems."""
    return AuditTable(
        f"Difference of the losses to {name}",
        ("change", "this run", "the other run", "difference", "p"),
        tuple(
            (
                change,
                found.score(change) - found.score(),
                other.score(change) - other.score(),
                each.difference,
                each.p,
            )
            for change, each in compared.items()
        ),
    )


def _compared(compared: dict[str, Comparison], metric: Metric, name: str) -> list[str]:
    """Return the sentences that say to which changes one of two runs is more robust."""
    tests = {change: test for change, test in compared.items() if not math.isnan(test.p)}
    if not tests:
        return [f"The robustness of {name} cannot be compared: its score is not defined here."]
    sure = {
        change: _lost(metric, test.difference)
        for (change, test), p in zip(
            tests.items(), holm([test.p for test in tests.values()]), strict=True
        )
        if p < P
    }
    more = [change for change, lost in sure.items() if lost < 0]
    less = [change for change, lost in sure.items() if lost > 0]
    said = []
    if more:
        said.append(f"More robust than {name} to {', '.join(more)}.")
    if less:
        said.append(f"Less robust than {name} to {', '.join(less)}.")
    return said or [f"No difference in robustness to {name} is sure."]
