"""Texts that stand beside the wrong lines: one line off, in part, or out of order.

A text is compared with its own reference, with those a few lines away, and with others far away.
Of a system that is right in its order, its own reference is the most alike; of a run that is one
line off, that of the next line is.

N lines, K near offsets, F far lines.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lslm_lightning.evaluation.similarity import vectors

ENOUGH = 40  # lines with something to compare
REACH = 5  # lines that a shift of lengths is sought among
NEAR = 10  # lines on both sides that a text is compared with
N_FAR = 64
N_QUERY = 800  # lines whose best match is sought among all
N_BLOCK, BLOCK = 20, 500  # of texts beyond their product, so many blocks are looked at
CERTAIN = 1.0  # nats beyond the number of runs that there are
PAIR_BLOCK, PAIR_CERTAIN = 150, 10.0  # of training pairs, which share less, and are many
SWITCH = 4.0  # nats that another offset costs within a run
CLEAR = 1.3  # times more alike than the next


class Shift(NamedTuple):
    """Lines `first` to `last`, from 1, that fit what stands `offset` lines further on."""

    first: int
    last: int
    offset: int
    n_fit: int

    def __str__(self) -> str:
        n, way = abs(self.offset), "further on" if self.offset > 0 else "further up"
        return f"{n} {'line' if n == 1 else 'lines'} {way}"


class Order(NamedTuple):
    """Among so many lines looked at, those that fit their own reference, and those that fit another."""

    n_line: int
    n_own: int
    n_other: int


def sample(n: int, n_block: int = N_BLOCK, block: int = BLOCK) -> np.ndarray:
    """Indices of all lines, or of evenly spaced blocks of consecutive ones."""
    if n <= n_block * block:
        return np.arange(n)
    starts = np.linspace(0, n - block, n_block).astype(int)
    return np.concatenate([np.arange(start, start + block) for start in starts])


def fold(text: str) -> str:
    return " ".join(text.lower().split())


def log_odds(rank: np.ndarray, is_clear: np.ndarray, n: int) -> np.ndarray:
    """Log odds, of a rank among `n` candidates, that this is the right one rather than any.

    Half of the right ones are first, most of them clearly; a third follow closely; the rest may
    stand anywhere. Of any others that are first, a fifth are so clearly.
    """
    first = np.where(is_clear, np.log(0.38 * n / 0.2), np.log(0.14 * n / 0.8))
    later = np.log((0.105 * 0.7 ** (rank - 1.0) + 0.15 / n) * n)
    return np.where(rank == 1, first, later)


class Scores(NamedTuple):
    """What speaks for each near offset of each line, in nats, and which candidate is the best."""

    odds: np.ndarray  # (N, K)
    best: np.ndarray  # (N,) column; those of near offsets come first


def score_offsets(outputs: Sequence[str], references: Sequence[str], n_character: int) -> Scores | None:
    """Compare each output with the references near its line, and some far away."""
    folded = [fold(text) for text in references]
    counts = Counter(folded)
    is_one = np.array([counts[text] == 1 for text in folded])
    n = len(references)
    if is_one.sum() < ENOUGH:
        return None
    out, ref = vectors(outputs, references, n_character)
    near = np.arange(-NEAR, NEAR + 1)
    similar = np.full((n, len(near)), -1.0, np.float32)  # (N, K)
    for column, k in enumerate(near):
        a, b = max(0, -k), min(n, n - k)
        if a < b:
            similar[a:b, column] = np.asarray(out[a:b].multiply(ref[a + k : b + k]).sum(1)).ravel()
    chosen = np.random.default_rng(0).choice(n, min(N_FAR, n), replace=False)
    far = (out @ ref[chosen].T).toarray()  # (N, F)
    far[np.abs(np.arange(n)[:, None] - chosen) <= NEAR] = -1
    candidates = np.concatenate([similar, far], 1)
    first, second = np.sort(candidates, 1)[:, :-3:-1].T
    is_clear = first > CLEAR * second + 0.02
    own = similar[:, NEAR]
    odds = np.empty_like(similar)
    for column, k in enumerate(near):
        its = similar[:, column]
        rank = np.maximum(1, (candidates >= its[:, None]).sum(1))
        odds[:, column] = log_odds(rank, is_clear, candidates.shape[1])
        odds[its <= 0.05, column] = np.log(0.15)
        odds[~is_one[np.clip(np.arange(n) + k, 0, n - 1)], column] = 0
    rank = (candidates > own[:, None]).sum(1) + 1
    owns = np.where((own > 0.05) & is_one, log_odds(rank, is_clear, candidates.shape[1]), 0)
    odds -= np.maximum(0, owns)[:, None]
    odds[first <= 0.05] = 0  # nothing in it is known
    written = [fold(text) for text in outputs]
    repeated = Counter(written)
    several = np.array([repeated[text] > 1 for text in written])
    odds[several] = np.minimum(odds[several], 0)  # it belongs to several lines
    odds[:, NEAR] = -np.inf
    best = candidates.argmax(1)
    best[own >= first] = NEAR
    best[first <= 0.05] = -1
    return Scores(odds, best)


def find_shift(
    outputs: Sequence[str],
    references: Sequence[str],
    n_character: int = 1000,
    block: int = BLOCK,
    certain: float = CERTAIN,
) -> Shift | None:
    """Return the run of lines that fit references a few lines away, where one is beyond chance.

    Args:
        references: one a line.
        n_character: of each text, from its start.
        block: of long corpora, lines in each block that is looked at.
        certain: nats beyond the number of runs that there are.
    """
    lines = sample(len(references), block=block)
    outputs, references = [outputs[i] for i in lines], [references[i] for i in lines]
    scores = score_offsets(outputs, references, n_character)
    if scores is None:
        return None
    total, start, path = best_run(scores.odds)
    here = scores.best[start : start + len(path)]
    fits = here == path
    columns, n_each = np.unique(path[fits], return_counts=True)
    n_fit, used = int(fits.sum()), set(columns.tolist())
    others = [int((here == column).sum()) for column in range(2 * NEAR + 1) if column not in used]
    if total < np.log(2 * NEAR * len(lines)) + certain:
        return None
    if len(path) < len(lines) / 50 or n_fit < max(5, 0.2 * (here >= 0).sum()) or n_fit < 3 * max(others, default=0):
        return None
    offset = int(columns[n_each.argmax()]) - NEAR
    return Shift(int(lines[start]) + 1, int(lines[start + len(path) - 1]) + 1, offset, n_fit)


def best_run(odds: np.ndarray) -> tuple[float, int, np.ndarray]:
    """Return the sum, the start and the columns of the consecutive lines that score most.

    Each line is in one column; another costs SWITCH (Viterbi's algorithm, begun anew where the sum
    falls below 0).
    """
    n, n_column = odds.shape
    back = np.full((n, n_column), -1, np.int8)  # column of the line before; -1 where a run begins
    sums, best = np.zeros(n_column), (0.0, -1, -1)
    for i, row in enumerate(odds):
        other = int(sums.argmax())
        switched = sums[other] - SWITCH
        before = np.where(sums >= switched, np.arange(n_column), other)
        sums = np.maximum(sums, switched)
        begins = sums <= 0
        back[i] = np.where(begins, -1, before)
        sums = np.where(begins, 0, sums) + row
        column = int(sums.argmax())
        if sums[column] > best[0]:
            best = float(sums[column]), i, column
    total, i, column = best
    path: list[int] = []
    while i >= 0 and column >= 0:
        path.append(column)
        i, column = i - 1, int(back[i, column])
    return total, i + 1, np.array(path[::-1], int)


def find_disorder(
    outputs: Sequence[str],
    references: Sequence[str],
    n_character: int = 1000,
    block: int = BLOCK,
) -> Order | None:
    """Return how many lines fit another reference, where they are far too many for a system that errs.

    A pair counts that is much more alike than all other pairs of its output, and of its reference:
    what is merely poor, or vague, has no such pair.
    """
    lines = sample(len(references), block=block)
    outputs, references = [outputs[i] for i in lines], [references[i] for i in lines]
    folded = [[fold(text) for text in texts] for texts in (outputs, references)]
    counts = [Counter(texts) for texts in folded]
    is_one = [np.array([bool(text) and count[text] == 1 for text in texts]) for texts, count in zip(folded, counts, strict=True)]
    asked = np.flatnonzero(is_one[0])
    if min(len(asked), is_one[1].sum()) < ENOUGH:
        return None
    if len(asked) > N_QUERY:
        asked = asked[np.linspace(0, len(asked) - 1, N_QUERY).astype(int)]
    out, ref = vectors(outputs, references, n_character)
    n_own = n_other = 0
    percentiles: list[float] = []
    for part in np.array_split(asked, max(1, len(asked) // 200)):
        rows = (out[part] @ ref.T).toarray()  # (Q, N)
        at = rows.argmax(1)
        own = rows[np.arange(len(part)), part]
        top = rows[np.arange(len(part)), at]
        percentile = (rows < own[:, None]).mean(1)
        rows[np.arange(len(part)), at] = -1
        second = rows.max(1)
        columns = (ref[at] @ out.T).toarray()
        columns[np.arange(len(part)), part] = -1
        second = np.maximum(second, columns.max(1))
        strong = (top > CLEAR * second + 0.02) & is_one[1][at]
        n_own += int((strong & (at == part)).sum())
        n_other += int((strong & (at != part)).sum())
        percentiles += percentile[strong & (at != part)].tolist()
    total = len(asked)
    is_half = n_other >= 0.055 * total and 0.7 * n_other <= n_own <= 1.7 * n_other
    if n_other < 6 or not (is_half or n_other >= 0.12 * total) or np.mean(percentiles) > 0.72:
        return None
    return None if n_own > 1.7 * n_other else Order(len(asked), n_own, n_other)


# Of training pairs


def find_length_shift(sources: Sequence[str], targets: Sequence[str]) -> Shift | None:
    """Return the run of pairs whose lengths agree a few lines away and not on their own line.

    Long sources have long targets, in any language. Windows of a twentieth of the lines are looked
    at, where the correlation of log lengths elsewhere is six standard errors above that of the pairs.
    """
    size = max(60, len(sources) // 20)
    lengths = np.log1p([[len(source), len(target)] for source, target in zip(sources, targets, strict=True)])
    if len(lengths) < size + 2 * REACH:
        return None
    found: list[tuple[int, int]] = []  # start and offset
    for start in range(REACH, len(lengths) - size - REACH + 1, size):
        own = correlation(lengths[start : start + size, 0], lengths[start : start + size, 1])
        best = max(
            (correlation(lengths[start : start + size, 0], lengths[start + k : start + k + size, 1]), k)
            for k in range(-REACH, REACH + 1)
            if k
        )
        if np.arctanh(best[0]) - np.arctanh(own) > 6 * np.sqrt(2 / (size - 3)) and own < 0.5 * best[0]:
            found.append((start, best[1]))
    if not found:
        return None
    offset = Counter(k for _, k in found).most_common(1)[0][0]
    starts = [start for start, k in found if k == offset]
    return Shift(starts[0] + 1, starts[-1] + size, offset, size * len(starts))


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Of two samples, within what has a finite arctanh; 0 where one does not vary."""
    if min(x.std(), y.std()) < 1e-9:
        return 0.0
    return float(np.clip(np.corrcoef(x, y)[0, 1], -0.999, 0.999))


def describe_pairs(sources: Sequence[str], targets: Sequence[str]) -> str:
    """Say how pairs of a source and a target look misaligned; "" of those that do not.

    Names, numbers and other words that both sides share tell it, and lengths.
    """
    by_words = find_shift(sources, targets, 300, PAIR_BLOCK, PAIR_CERTAIN)
    if shift := by_words or find_length_shift(sources, targets):
        sign = "share words and numbers" if by_words else "agree in length"
        lines = f"sources of about lines {shift.first:,} to {shift.last:,}"
        return f"{lines} {sign} with the targets {shift} rather than with their own"
    if order := find_disorder(sources, targets, 300, PAIR_BLOCK):
        looked = f"{order.n_other:,} of {order.n_line:,} sources that were looked at"
        return f"{looked} share words and numbers with the target of another line, {order.n_own:,} with their own"
    return ""
