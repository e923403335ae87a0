"""Table of the scores of one or more systems."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from lslm_lightning.contracts import Score, metric_label
from lslm_lightning.evaluation.comparison import differing_parts
from lslm_lightning.localization import Joined, verbatim
from lslm_lightning.reports.blocks import Cell, Code, Heading, Measure, Missing, Table, interval_of
from lslm_lightning.reports.formatting import counted, decimals


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Scores by system. For one system, the table has a row for each metric. For several, it has a
    row for each system and a column for each metric, with the best score in bold. Signatures are
    listed below the table.

    Scores with different signatures are shown, but not ranked.

    Attributes:
        reasons: reason for a missing or nan score, by (system, metric); by default "not defined for
            this system".
        apart: systems evaluated on another test set, which are shown but never ranked best.
    """

    systems: Mapping[str, Sequence[Score]]
    caption: str = ""
    reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)
    apart: Collection[str] = ()

    def table(self) -> Table:
        """Return the scores as a table."""
        return self._one() if len(self.systems) == 1 else self._several()

    def _cell(
        self, system: str, metric: str, score: Score | None, places: int | None, best: bool = False
    ) -> Measure | Missing:
        if score is None or math.isnan(score.value):
            return Missing(self.reasons.get((system, metric), "not defined for this system"))
        return Measure(score.value, interval_of(score.low, score.high, places), places, best)

    def _one(self) -> Table:
        [(system, scores)] = self.systems.items()
        columns: dict[str, list[Cell]] = {"metric": [heading_of(score) for score in scores]}
        cells = [
            self._cell(system, score.metric, score, decimals([score.value])) for score in scores
        ]
        columns["score"] = [
            replace(cell, interval=None) if isinstance(cell, Measure) else cell for cell in cells
        ]
        if any(score.low is not None for score in scores):
            columns["95 % interval"] = [getattr(cell, "interval", None) for cell in cells]
        columns["examples"] = [score.n_example for score in scores]
        notes = [
            Code(score.signature, metric_label(score.metric)) for score in scores if score.signature
        ]
        return Table(list(columns), list(zip(*columns.values(), strict=True)), self.caption, notes)

    def _several(self) -> Table:
        scores = [score for row in self.systems.values() for score in row]
        columns: list[Heading | str] = [Heading("system")]
        rows: dict[str, list[Cell]] = {system: [system] for system in self.systems}
        readings: dict[tuple[str, ...], list[str]] = {}
        for metric in dict.fromkeys(score.metric for score in scores):
            found = {
                system: score
                for system, row in self.systems.items()
                for score in row
                if score.metric == metric
            }
            given = {
                system: score for system, score in found.items() if not math.isnan(score.value)
            }
            first = next(iter(found.values()))
            best = best_value(
                [score for system, score in given.items() if system not in self.apart]
            )
            places = decimals([score.value for score in given.values()])
            columns.append(heading_of(first))
            for system, row in rows.items():
                ranked = best is not None and system in given and system not in self.apart
                is_best = ranked and given[system].value == best
                row.append(self._cell(system, metric, found.get(system), places, is_best))
            for reading in _readings(given, self.apart):
                readings.setdefault(reading, []).append(metric_label(metric))
        notes: list[Cell] = [
            Code(signature, Joined([Joined(labels), *about], "; "))
            for (signature, *about), labels in readings.items()
        ]
        if any(score.low is not None for score in scores):
            notes.insert(0, "With each score: its 95 % confidence interval.")
        return Table(columns, list(rows.values()), self.caption, notes)


def heading_of(score: Score) -> Heading:
    """Return the column heading for scores in the metric of `score`."""
    label = metric_label(score.metric)
    key = score.metric
    return Heading(label, score.unit, score.higher_is_better, "" if label == key else key)


def best_value(scores: Sequence[Score]) -> float | None:
    """Return the best value among scores in one metric; None for fewer than two scores, or if
    `differing_parts` finds that they are not comparable.
    """
    if len(scores) < 2 or any(differing_parts(*pair) for pair in combinations(scores, 2)):
        return None
    return (max if scores[0].higher_is_better else min)(score.value for score in scores)


def _readings(scores: Mapping[str, Score], apart: Collection[str]) -> list[tuple[str, ...]]:
    """Return the signatures of the scores in a metric, each with what a note says of it: the
    systems, and whether the scores are not ranked, if there are several signatures or test sets;
    the number of examples.

    Args:
        apart: systems evaluated on another test set.
    """
    kinds: dict[tuple[str, str, bool], list[str]] = {}
    for system, score in scores.items():
        signature = score.signature or "no signature"
        examples = counted(score.n_example, "example")
        kinds.setdefault((signature, examples, system in apart), []).append(system)
    if len(kinds) == 1:
        return [(signature, examples) for signature, examples, _ in kinds]
    together = [score for system, score in scores.items() if system not in apart]
    is_ranked = best_value(together) is not None
    return [
        (
            signature,
            Joined(map(verbatim, systems)),
            *([] if is_ranked and not is_apart else ["not ranked"]),
            examples,
        )
        for (signature, examples, is_apart), systems in kinds.items()
    ]
