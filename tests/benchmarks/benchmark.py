"""What a benchmark is: parts that are measured one after the other, and what their figures must
reach.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Figures = Mapping[str, Any]
"""Of one part: numbers, texts, lists and mappings that JSON knows."""

Part = Callable[[Mapping[str, Figures], bool], Figures]
"""Measures: part(figures of the parts before it, whether this is only a smoke test) -> its own
figures.
"""

MISALIGNED = "misaligned"
"""Figure of a part that trains: systems whose outputs are said to be misaligned; of a right run
none is.
"""

RULES = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True)
class Check:
    """A figure, and what it must reach; without a threshold it is only reported."""

    what: str
    value: float
    rule: Literal[">=", ">", "<=", "<"] = ">="
    threshold: float | None = None

    @property
    def reached(self) -> bool | None:
        """None where nothing has to be reached; nan reaches nothing."""
        return None if self.threshold is None else RULES[self.rule](self.value, self.threshold)


@dataclass(frozen=True)
class Benchmark:
    """One module of this folder, as its `BENCHMARK`.

    Args:
        about: one line.
        minutes: on 2 cores, about.
        parts: in the order they are measured; each is recorded as soon as it is done.
        checks: from the figures of all parts.
        needs: any of "LSLM_DATA" (real corpora) and "GPU".
        files: in the folder of real corpora; where one is missing, the benchmark is passed over.
    """

    about: str
    minutes: float
    parts: Mapping[str, Part]
    checks: Callable[[Mapping[str, Figures]], list[Check]]
    needs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def no_false_alarm(figures: Mapping[str, Figures]) -> list[Check]:
    """Whether outputs of any part were said to be misaligned; nothing of parts that were recorded
    without it.
    """
    found = [part[MISALIGNED] for part in figures.values() if MISALIGNED in part]
    return [Check("systems said to be misaligned", sum(found), "<=", 0)] if found else []


def table(checks: Sequence[Check]) -> str:
    """What, figure, threshold, reached or not."""
    rows = [("", "figure", "threshold", "reached")]
    for check in checks:
        threshold = "" if check.threshold is None else f"{check.rule} {number(check.threshold)}"
        rows.append(
            (
                check.what,
                number(check.value),
                threshold,
                {None: "", True: "yes", False: "NO"}[check.reached],
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        f"  {a:<{widths[0]}}  {b:>{widths[1]}}  {c:<{widths[2]}}  {d}".rstrip()
        for a, b, c, d in rows
    )


def number(value: float) -> str:
    """Four digits that count, thousands whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
