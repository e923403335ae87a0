"""Bound of what similarity tells of an order: an oracle that knows the right one.

The oracle is given the very run and offset, or the very permutation, and how similar outputs of
this system are to right and to wrong references. What it cannot tell from chance, no check that
has to search can tell by the same similarity.

Array shapes: N lines.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from lslm_lightning.evaluation.similarity import vectors
from tests.support.misaligned import OFFSETS, Disorder

N_SET = 1000  # sets in the right order, on none of which a check may give an alarm
N_PERMUTATION = 1000
LEAST_RUN = 0.1  # share of lines in the shortest run that is sought


class Bound(NamedTuple):
    """Whether the right order fits outputs better than the given one, and whether chance, given all
    orders that a check has to try, does not explain by how much.
    """

    is_preferred: bool
    is_significant: bool


def n_candidate(n_line: int) -> int:
    """Return the number of shifts that a check has to try: of all runs of a tenth of the lines or
    more, each by every offset.
    """
    least = int(LEAST_RUN * n_line)
    return len(OFFSETS) * sum(n_line - size + 1 for size in range(least, n_line + 1))


class Oracle:
    """Knows the similarity of outputs in the right order to all references.

    Args:
        outputs: of N lines, in the right order.
        references: of the same lines.
    """

    def __init__(self, outputs: Sequence[str], references: Sequence[str]) -> None:
        out, ref = vectors(outputs, references)
        self.similar = (out @ ref.T).toarray()  # (N, N)
        self.log_ratio = log_ratios(self.similar)  # (N, N)

    def bound(self, wrong: Disorder, chance: np.random.Generator) -> Bound:
        """Return what the oracle tells of outputs in a wrong order.

        The log likelihood ratio of a shift, summed over its run, must exceed the log of
        `n_candidate` x `N_SET`: by chance, a ratio so high comes up in one of `N_SET` sets at most.
        Outputs that are permuted must be more similar to their right references than after any of
        `N_PERMUTATION` random permutations.
        """
        lines = np.array(wrong.lines)
        moved = np.flatnonzero(lines != np.arange(len(lines)))
        right = lines[moved]
        similar = self.similar[right, right].sum()
        is_preferred = bool(similar > self.similar[right, moved].sum())
        if not wrong.offsets:
            others = [
                self.similar[right, chance.permutation(moved)].sum() for _ in range(N_PERMUTATION)
            ]
            return Bound(is_preferred, is_preferred and bool(similar > max(others)))
        evidence = (self.log_ratio[right, right] - self.log_ratio[right, moved]).sum()
        return Bound(is_preferred, bool(evidence > np.log(n_candidate(len(lines)) * N_SET)))


def log_ratios(similar: np.ndarray) -> np.ndarray:
    """Return log likelihood ratios (N, N) that a reference is the right one for an output.

    The ratios are those of right and wrong pairs with about the same margin, which is by how much
    an output and a reference are more similar to each other than to all others. They rise with the
    margin, by isotonic regression on the same pairs, and so flatter the oracle a bit.

    Args:
        similar: similarity (N, N) of outputs in the right order to references.
    """
    others = np.maximum(most_of_others(similar), most_of_others(similar.T).T)
    margin = np.log((similar + 0.02) / (np.maximum(others, 0) + 0.02))
    steps, step = np.unique(margin, return_inverse=True)
    step = step.reshape(margin.shape)
    n_pair = np.bincount(step.ravel())
    n_right = np.bincount(np.diagonal(step), minlength=len(steps))
    share = isotonic_regression(n_right / n_pair, weights=n_pair).x
    level = np.unique(share, return_inverse=True)[1]
    right, pairs = (np.bincount(level, each) for each in (n_right, n_pair))
    wrong = pairs - right
    of_right, of_wrong = (np.log((n + 0.5) / (n.sum() + 0.5)) for n in (right, wrong))
    found: np.ndarray = (of_right - of_wrong)[level][step]
    return found


def most_of_others(similar: np.ndarray) -> np.ndarray:
    """Return the highest similarity (N, N) in the same row, leaving out the pair itself."""
    highest = np.sort(similar, 1)
    is_highest = similar == highest[:, -1:]
    others: np.ndarray = np.where(is_highest, highest[:, -2:-1], highest[:, -1:])
    return others
