"""Detection of outputs out of order: too many outputs fit the references of other lines.

Array shapes: N lines, Q matched outputs, G hashed n-grams.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lslm_lightning.evaluation.alignment import BLOCK, ENOUGH, LONG, NEAR, fold, sample
from lslm_lightning.evaluation.similarity import vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

N_QUERY = 800  # outputs at most whose best match among all references is computed
ALIKE = 0.1  # cosine below which two texts share next to nothing
SAME = 0.6  # cosine above which two references count as one
CLEAR = 1.3  # factor by which the best match is more similar than the second
STRONG = 0.25  # lead of a match that unrelated texts hardly ever have
FEW = 8  # outputs that match another line; a barely trained system has so many by chance
FEW_STRONG = 6  # strong matches with other lines
FEW_EQUAL = 2  # outputs that are the reference of another line, letter by letter
SAME_LEAD = 0.45  # least ratio of the typical leads of matches with other and with own lines
ENOUGH_OWN = 4  # clear matches with own lines that chance does not explain


class Order(NamedTuple):
    """Result of matching outputs with references.

    `n_line` outputs were inspected. `n_own` of them clearly match the reference of their own line,
    and `n_other` the reference of another line. `is_unrelated` is True if outputs are no more
    similar to the references of their own lines than to other references.
    """

    n_line: int
    n_own: int
    n_other: int
    is_unrelated: bool = False


class Count(NamedTuple):
    """Number of outputs that match the reference of their own line, and of another line."""

    own: int
    other: int


class Matches(NamedTuple):
    """Best matching reference of each of Q outputs.

    References that are much like each other count as one. `lead` is by how much the best cosine
    exceeds that of every other pair with the same output or the same reference. `percentile` is the
    share of references that are less similar to the output than the reference of its own line.
    `middle` is the same share with equally similar references counted half; it is nan if no
    reference is similar.
    """

    line: np.ndarray  # (Q,) line of the output
    best: np.ndarray  # (Q,) line of the most similar reference
    is_own: np.ndarray  # (Q,) whether that is the reference of the output's own line
    is_clear: np.ndarray  # (Q,) whether it is unique, and much more similar than the others
    lead: np.ndarray  # (Q,)
    percentile: np.ndarray  # (Q,)
    middle: np.ndarray  # (Q,)

    @property
    def is_strong(self) -> np.ndarray:
        """Mask (Q,) of clear matches whose lead unrelated texts hardly ever have."""
        return self.is_clear & (self.lead > STRONG)

    def count_matches(self, is_match: np.ndarray, n_line: int) -> Count:
        """Return how many outputs match their own and another reference.

        Matches with nearby lines count only as often as chance explains.

        Args:
            is_match: whether a match counts (Q,).
            n_line: number of references.
        """
        is_other = is_match & ~self.is_own
        is_far = np.abs(self.best - self.line) > NEAR
        share_far = (np.abs(np.arange(n_line) - self.line[:, None]) > NEAR).mean()
        n_other = min(int(is_other.sum()), round((is_other & is_far).sum() / share_far))
        return Count(int((is_match & self.is_own).sum()), n_other)

    def leads_are_alike(self) -> bool:
        """Return whether clear matches with other lines look as those with own lines do: about as
        far ahead of the second, and the own reference is not much like the output.
        """
        own, other = (self.is_clear & is_match for is_match in (self.is_own, ~self.is_own))
        is_far_behind = own.any() and (
            np.median(self.lead[other]) < SAME_LEAD * np.median(self.lead[own])
        )
        return bool(self.percentile[other].mean() <= 0.72 and not is_far_behind)


def clear_matches(
    out: "csr_matrix", ref: "csr_matrix", queries: np.ndarray, is_unique: np.ndarray
) -> Matches:
    """Return the best matching reference of each output in `queries`.

    A match is clear if its similarity is much higher than that of every other pair with the same
    output or the same reference.

    Args:
        out: unit vectors (N, G) of outputs.
        ref: unit vectors (N, G) of references. If it is `out`, each reference is matched with other
            references.
        queries: lines (Q,) of the outputs to match.
        is_unique: whether each reference is that of one line only (N,).
    """
    parts: list[Matches] = []
    for part in np.array_split(queries, max(1, len(queries) // 200)):
        here = np.arange(len(part))
        rows = (out[part] @ ref.T).toarray()  # (Q, N)
        own = rows[here, part][:, None]
        percentile = (rows < own).mean(1)
        middle = (percentile + (rows <= own).mean(1)) / 2
        is_alike = rows > SAME if out is ref else np.zeros_like(rows, bool)
        rows[is_alike] = -1
        best = rows.argmax(1)
        top = rows[here, best]
        is_same = (ref[best] @ ref.T).toarray() > SAME  # (Q, N)
        is_same[here, best] = True
        rows[is_same] = -1
        columns = (ref[best] @ out.T).toarray()
        columns[here, part] = -1
        columns[is_alike] = -1
        if out is ref:
            columns[is_same] = -1
        # as many outputs may be as similar as there are references that count as one
        n_same = 0 if out is ref else is_same.sum(1) - 1
        second = np.maximum(rows.max(1), -np.sort(-columns, 1)[here, n_same])
        middle[top < ALIKE] = np.nan
        is_clear = (top > CLEAR * second + 0.02) & is_unique[best]
        is_own = is_same[here, part]
        parts.append(Matches(part, best, is_own, is_clear, top - second, percentile, middle))
    return Matches(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def is_once(texts: Sequence[str]) -> np.ndarray:
    """Return whether each of N texts is not empty and differs from all others (N,)."""
    counts = Counter(texts)
    return np.array([bool(text) and counts[text] == 1 for text in texts])


def find_disorder(
    outputs: Sequence[str],
    references: Sequence[str],
    n_character: int = 1000,
    block: int = BLOCK,
) -> Order | None:
    """Return how many outputs match their own and another reference, or None if the order seems
    right or cannot be checked.

    Only clear matches count; poor or vague outputs have few. Lines with an empty reference are left
    out. An answer may fit another question on the same topic, so matches with nearby lines count
    only as often as chance explains.

    Args:
        n_character: number of characters of each text that are used, from its start.
        block: lines in each block that is sampled from a long corpus.
    """
    lines = sample(len(references), block=block)
    folded, other = ([fold(texts[i]) for i in lines] for texts in (outputs, references))
    is_unique = is_once(other)
    queries = np.flatnonzero(is_once(folded) & np.array([bool(text) for text in other]))
    n_written = sum(bool(text and reference) for text, reference in zip(folded, other, strict=True))
    # most outputs belong to several lines
    if min(len(queries), is_unique.sum()) < ENOUGH or len(queries) < n_written / 4:
        return None
    if len(queries) > N_QUERY:
        queries = queries[np.linspace(0, len(queries) - 1, N_QUERY).astype(int)]
    out, ref = vectors([outputs[i] for i in lines], [references[i] for i in lines], n_character)
    found = clear_matches(out, ref, queries, is_unique)
    pairs = ((folded[line], other[best]) for line, best in zip(queries, found.best, strict=True))
    is_equal = np.array([text == best and len(text.encode()) >= LONG for text, best in pairs])
    order = Order(len(queries), *found.count_matches(found.is_clear, len(other)))
    if has_equal_to_others(found, is_equal & found.is_clear, len(other)) or (
        has_more_than_usual(found, lambda: clear_matches(ref, ref, queries, is_unique), len(other))
    ):
        return order
    strong = found.count_matches(found.is_strong, len(other))
    is_related = order.n_own >= max(ENOUGH_OWN, order.n_other) or (
        strong.own >= max(ENOUGH_OWN, strong.other)
    )
    if is_related or not is_by_chance(found.middle[~np.isnan(found.middle)]):
        return None
    return order._replace(is_unrelated=True)


def has_equal_to_others(found: Matches, is_equal: np.ndarray, n_line: int) -> bool:
    """Return whether enough outputs are, letter by letter, the references of other lines.

    Args:
        is_equal: whether an output is the reference that it matches (Q,).
        n_line: number of references.
    """
    equal = found.count_matches(is_equal, n_line)
    return equal.other >= max(FEW_EQUAL, 0.02 * len(is_equal)) and equal.own <= 4 * equal.other


def has_more_than_usual(
    found: Matches, match_references: Callable[[], Matches], n_line: int
) -> bool:
    """Return whether more outputs match other lines than unrelated texts on the same subjects do.

    Enough matches must be strong, or clear and like those with own lines.

    Args:
        match_references: matches references with other references.
        n_line: number of references.
    """
    total = len(found.line)
    clear, strong = (
        found.count_matches(each, n_line) for each in (found.is_clear, found.is_strong)
    )
    has_clear = clear.other >= max(FEW, 0.055 * total) and clear.own <= 1.7 * clear.other
    has_clear = has_clear and found.leads_are_alike()
    has_strong = strong.other >= max(FEW_STRONG, 0.04 * total)
    has_strong = has_strong and strong.own <= 2.4 * strong.other
    if not (has_clear or has_strong):
        return False
    usual = match_references()
    n_clear, n_strong = (
        usual.count_matches(each, n_line).other for each in (usual.is_clear, usual.is_strong)
    )
    return (has_strong and strong.other >= n_strong) or (
        has_clear and clear.other >= n_clear + 2 * np.sqrt(n_clear)
    )


def is_by_chance(percentile: np.ndarray) -> bool:
    """Return whether the mean of percentiles (n,), from 0 to 1, is less than 3 standard errors
    above the mean of uniform random numbers.

    The result is False if there are fewer than `ENOUGH` percentiles.
    """
    n = len(percentile)
    return n >= ENOUGH and bool(percentile.mean() < 0.5 + 3 / np.sqrt(12 * n))
