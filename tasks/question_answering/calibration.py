"""Calibration: agreement between the confidence of a system and its share of right answers."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lslm_lightning.localization import Term, verbatim
from lslm_lightning.reports.blocks import Cell, Columns, Heading, Section, Table
from lslm_lightning.reports.figures import Curves, Series

N_BIN = 10


class Calibration(NamedTuple):
    """Calibration statistics of the non-empty bins of confidence, (n,) each.

    For each bin: mean confidence in percent, share of right answers in percent, number of answers,
    and number of the bin from 0.
    """

    confidence: np.ndarray
    right: np.ndarray
    n: np.ndarray
    bins: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error in percent: the difference between confidence and share of
        right answers, averaged over all answers. Source: Guo et al. 2017, equation 3.
        """
        return float((np.abs(self.confidence - self.right) * self.n).sum() / self.n.sum())


def calibrate(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """Return the calibration in ten bins of equal width.

    Args:
        confidence: (N,) probabilities that the system gives its answers, from 0 to 1.
        right: (N,) 1 for right answers, 0 for wrong ones.
    """
    indices = np.minimum((confidence * N_BIN).astype(np.int64), N_BIN - 1)
    n = np.bincount(indices, minlength=N_BIN)
    sums = [np.bincount(indices, weights=values, minlength=N_BIN) for values in (confidence, right)]
    there = n > 0
    mean, right_share = (100 * total[there] / n[there] for total in sums)
    return Calibration(mean, right_share, n[there], np.flatnonzero(there))


def section(found: Mapping[str, Calibration]) -> Section:
    """Return a report section with the calibration of each system.

    Args:
        found: calibration by name of the system.
    """
    lines = [
        Series(name, each.confidence.tolist(), each.right.tolist()) for name, each in found.items()
    ]
    lines.append(Series(Term("perfect calibration"), [0.0, 100.0], [0.0, 100.0]))
    rows: list[list[Cell]] = [
        [name, each.error, float((each.confidence * each.n).sum() / each.n.sum())]
        for name, each in found.items()
    ]
    columns: list[Heading | str] = [
        "system",
        Heading("expected calibration error", "%", False),
        Heading("mean confidence", "%"),
    ]
    note = (
        "Confidence: probability of the answer among all candidates. Ten bins of equal width; "
        "right: exact match."
    )
    picture = Curves(lines, "confidence, %", "exact match, %", "Right answers by confidence")
    return Section(
        "Calibration", [Columns([picture]), Table(columns, rows, notes=[note]), bins(found)]
    )


def bins(found: Mapping[str, Calibration]) -> Table:
    """Return a table of the share of right answers and the number of answers, by system and bin of
    confidence.
    """
    width = 100 / N_BIN
    rows: list[list[Cell]] = []
    for index in range(N_BIN):
        cells: list[Cell] = []
        for each in found.values():
            here = each.bins == index
            n = int(each.n[here].sum())
            cells += [n, float(each.right[here][0]) if n else None]
        if any(cells[::2]):
            rows.append([Term(f"{index * width:.0f} to {(index + 1) * width:.0f} %"), *cells])
    columns: list[Heading | str] = ["confidence"]
    for name in found:
        columns += [Heading(verbatim(name), "answers"), Heading(verbatim(name), "% right")]
    return Table(columns, rows, "Right answers by bin")
