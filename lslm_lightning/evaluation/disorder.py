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
CLEAR_SHARE = 0.22  # least share of outputs with a clear match, unless the system is just poor


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

    `percentile` is the share of references that are less similar to the output than the reference
    of its own line. `middle` is the same share with equally similar references counted half; it is
    nan if no reference is similar.
    """

    best: np.ndarray  # (Q,) line of the most similar reference
    is_clear: np.ndarray  # (Q,) whether it is much more similar than the others
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
        parts.append(Matches(best, top > CLEAR * second + 0.02, percentile, middle))
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
    among themselves. If there are too few, a wrong order is still reported where outputs are no
    more similar to their own references than to others.

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
    best, is_clear, percentile, middle = clear_matches(out, ref, queries)
    is_clear &= is_one[1][best]
    n_own = int((is_clear & (best == queries)).sum())
    is_far = is_clear & (np.abs(best - queries) > NEAR)
    is_other = is_clear & (best != queries)
    share_far = (np.abs(np.arange(len(references)) - queries[:, None]) > NEAR).mean()
    total = len(queries)
    n_other = min(int(is_other.sum()), round(is_far.sum() / share_far))
    unclear = (
        Order(total, n_own, n_other, True) if is_by_chance(middle[~np.isnan(middle)]) else None
    )
    is_half = n_other >= 0.055 * total and n_own >= 0.7 * n_other
    if n_other < FEW or n_own > 1.7 * n_other or not (is_half or n_other >= 0.12 * total):
        return unclear
    if percentile[is_other].mean() > 0.72:
        return unclear
    unrelated, is_clear, *_ = clear_matches(ref, ref, queries, own=False)
    usual = (is_clear & is_one[1][unrelated]).mean()
    least = max(CLEAR_SHARE, 1.1 * usual) * total
    return unclear if n_own + n_other < least else Order(total, n_own, n_other)


def is_by_chance(percentile: np.ndarray) -> bool:
    """Return whether the mean of percentiles (n,), from 0 to 1, is less than 3 standard errors
    above the mean of uniform random numbers.

    The result is False if there are fewer than `ENOUGH` percentiles.
    """
    n = len(percentile)
    return n >= ENOUGH and bool(percentile.mean() < 0.5 + 3 / np.sqrt(12 * n))
