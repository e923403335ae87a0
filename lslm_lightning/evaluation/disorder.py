"""Detection of outputs out of order: too many outputs fit the references of other lines.

Array shapes: N lines, Q matched outputs, G hashed n-grams.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lslm_lightning.evaluation.alignment import BLOCK, ENOUGH, NEAR, fold, sample
from lslm_lightning.evaluation.similarity import vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

N_QUERY = 800  # outputs at most whose best match among all references is computed
FEW = 9  # outputs that match another line; a barely trained system has so many by chance
ALIKE = 0.1  # cosine below which two texts share next to nothing
CLEAR = 1.3  # factor by which the best match is more similar than the second
CLEAR_SHARE = 0.26  # least share of outputs with a clear match, unless the system is just poor
SAME_LEAD = 0.45  # least ratio of the typical leads of matches with other and with own lines
STRONG = 0.25  # lead of a match that unrelated texts hardly ever have
FEW_STRONG = 6  # strong matches with other lines
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


class Matches(NamedTuple):
    """Best matching reference of each of Q outputs.

    `lead` is by how much the best cosine exceeds that of every other pair with the same output or
    the same reference. `percentile` is the share of references that are less similar to the output
    than the reference of its own line. `middle` is the same share with equally similar references
    counted half; it is nan if no reference is similar.
    """

    best: np.ndarray  # (Q,) line of the most similar reference
    is_clear: np.ndarray  # (Q,) whether it is much more similar than the others
    lead: np.ndarray  # (Q,)
    percentile: np.ndarray  # (Q,)
    middle: np.ndarray  # (Q,)


def clear_matches(
    out: "csr_matrix", ref: "csr_matrix", queries: np.ndarray, own: bool = True
) -> Matches:
    """Return the best matching reference of each output in `queries`.

    A match is clear if its similarity is much higher than that of every other pair with the same
    output or the same reference.

    Args:
        out: unit vectors (N, G) of outputs.
        ref: unit vectors (N, G) of references.
        queries: lines (Q,) of the outputs to match.
        own: whether a text may match the text of its own line; False where `out` and `ref` are both
            references.
    """
    parts: list[Matches] = []
    for part in np.array_split(queries, max(1, len(queries) // 200)):
        here = np.arange(len(part))
        rows = (out[part] @ ref.T).toarray()  # (Q, N)
        percentile = (rows < rows[here, part][:, None]).mean(1)
        middle = (percentile + (rows <= rows[here, part][:, None]).mean(1)) / 2
        if not own:
            rows[here, part] = -1
        best = rows.argmax(1)
        top = rows[here, best]
        rows[here, best] = -1
        columns = (ref[best] @ out.T).toarray()
        columns[here, part] = -1
        if not own:
            columns[here, best] = -1
        second = np.maximum(rows.max(1), columns.max(1))
        middle[top < ALIKE] = np.nan
        is_clear = top > CLEAR * second + 0.02
        parts.append(Matches(best, is_clear, top - second, percentile, middle))
    return Matches(*(np.concatenate(each) for each in zip(*parts, strict=True)))


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
    only as often as chance explains. There must be more matches than unrelated references have
    among themselves, and matches with other lines must lead about as much as those with own lines.
    If most outputs are unrelated to any reference, a few strong matches suffice. If there are too
    few matches with other lines and with own ones, a wrong order is still reported where outputs
    are no more similar to their own references than to others.

    Args:
        n_character: number of characters of each text that are used, from its start.
        block: lines in each block that is sampled from a long corpus.
    """
    lines = sample(len(references), block=block)
    outputs = [outputs[i] for i in lines]
    references = [references[i] for i in lines]
    folded = [[fold(text) for text in texts] for texts in (outputs, references)]
    counts = [Counter(texts) for texts in folded]
    is_one = [
        np.array([bool(text) and count[text] == 1 for text in texts])
        for texts, count in zip(folded, counts, strict=True)
    ]
    has_own = np.array([bool(text) for text in folded[1]])
    queries = np.flatnonzero(is_one[0] & has_own)
    n_written = sum(bool(text) and known for text, known in zip(folded[0], has_own, strict=True))
    # most outputs belong to several lines
    if min(len(queries), is_one[1].sum()) < ENOUGH or len(queries) < n_written / 4:
        return None
    if len(queries) > N_QUERY:
        queries = queries[np.linspace(0, len(queries) - 1, N_QUERY).astype(int)]
    out, ref = vectors(outputs, references, n_character)
    found = clear_matches(out, ref, queries)
    is_clear = found.is_clear & is_one[1][found.best]
    is_strong = is_clear & (found.lead > STRONG)
    n_own, n_other = count(found.best, queries, is_clear, len(references))
    n_own_strong, n_other_strong = count(found.best, queries, is_strong, len(references))
    total = len(queries)
    order = Order(total, n_own, n_other)
    has_strong = n_other_strong >= max(FEW_STRONG, 0.04 * total) and (
        n_own_strong <= 2.4 * n_other_strong
    )
    is_half = n_other >= 0.055 * total and n_own >= 0.7 * n_other
    has_clear = n_other >= FEW and n_own <= 1.7 * n_other and (is_half or n_other >= 0.12 * total)
    if has_clear:
        is_other = is_clear & (found.best != queries)
        is_own = is_clear & (found.best == queries)
        has_clear = found.percentile[is_other].mean() <= 0.72 and not (
            is_own.any()
            and np.median(found.lead[is_other]) < SAME_LEAD * np.median(found.lead[is_own])
        )
    if has_clear or has_strong:
        unrelated = clear_matches(ref, ref, queries, own=False)
        is_usual = unrelated.is_clear & is_one[1][unrelated.best]
        _, n_usual = count(
            unrelated.best, queries, is_usual & (unrelated.lead > STRONG), len(lines)
        )
        if has_strong and n_other_strong >= n_usual:
            return order
        if has_clear and n_own + n_other >= max(CLEAR_SHARE, 0.9 * is_usual.mean()) * total:
            return order
    is_related = n_own >= max(ENOUGH_OWN, n_other) or (
        n_own_strong >= max(ENOUGH_OWN, n_other_strong)
    )
    if is_related or not is_by_chance(found.middle[~np.isnan(found.middle)]):
        return None
    return order._replace(is_unrelated=True)


def count(
    best: np.ndarray, queries: np.ndarray, is_match: np.ndarray, n_line: int
) -> tuple[int, int]:
    """Return how many outputs match the reference of their own line, and of another line.

    Matches with nearby lines count only as often as chance explains.

    Args:
        best: line (Q,) of the best match of each output.
        queries: line (Q,) of each output.
        is_match: whether the match counts (Q,).
        n_line: number of references.
    """
    distance = np.abs(best - queries)
    share_far = (np.abs(np.arange(n_line) - queries[:, None]) > NEAR).mean()
    n_other = int((is_match & (distance > 0)).sum())
    n_far = int((is_match & (distance > NEAR)).sum())
    return int((is_match & (distance == 0)).sum()), min(n_other, round(n_far / share_far))


def is_by_chance(percentile: np.ndarray) -> bool:
    """Return whether the mean of percentiles (n,), from 0 to 1, is less than 3 standard errors
    above the mean of uniform random numbers.

    The result is False if there are fewer than `ENOUGH` percentiles.
    """
    n = len(percentile)
    return n >= ENOUGH and bool(percentile.mean() < 0.5 + 3 / np.sqrt(12 * n))
