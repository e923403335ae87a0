"""Texts that stand beside the wrong lines: one line off, in part, or out of order.

A text is compared with its own reference, with those a few lines away, and with others far away.
Of a system that is right in its order, its own reference is the most alike; of a run that is one
line off, that of the next line is.

N lines, K near offsets, F far lines, C features.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lslm_lightning.evaluation.similarity import vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ENOUGH = 40  # lines with something to compare
REACH = 5  # lines that a shift of lengths is sought among
NEAR = 10  # lines on both sides that a text is compared with
N_FAR = 200
N_RANKED = 3  # features that compare a text with far ones
RIDGE = 2.0  # on slopes of standardized features
LEAST_SHARE = 0.08  # of right references, that are taken to be as alike as others
MOST = 5.5  # nats that one line may speak for an offset
BEYOND = -1.9  # nats, for a line that does not exist
LEAST = 4  # lines in a run
N_QUERY = 800  # lines whose best match is sought among all
# of texts beyond their product, so many blocks are looked at
N_BLOCK = 20
BLOCK = 500
CERTAIN = 1.5  # nats beyond the number of runs that there are; of right orders none seen is above 0
# of training pairs, which share less, and are many
PAIR_BLOCK = 150
PAIR_CERTAIN = 10.0
SWITCH = 4.0  # nats that another offset costs within a run
FEW = 9  # outputs that fit another line alone; a barely trained system has so many by chance
ALIKE = 0.1  # cosine, below which two texts have next to nothing in common
CLEAR = 1.3  # times more alike than the next
CLEAR_SHARE = 0.22  # of outputs that fit one reference alone, of a system that is not merely poor


class Shift(NamedTuple):
    """Lines `first` to `last`, from 1, that fit what stands `offset` lines further on."""

    first: int
    last: int
    offset: int

    def __str__(self) -> str:
        n = abs(self.offset)
        way = "further on" if self.offset > 0 else "further up"
        return f"{n} {'line' if n == 1 else 'lines'} {way}"


class Order(NamedTuple):
    """Among so many lines looked at, those that fit their own reference alone, and those that fit
    another alone.

    `is_unrelated` where outputs are no more like their own references than like those of other
    lines.
    """

    n_line: int
    n_own: int
    n_other: int
    is_unrelated: bool = False


def sample(n: int, n_block: int = N_BLOCK, block: int = BLOCK) -> np.ndarray:
    """Indices of all lines, or of evenly spaced blocks of consecutive ones."""
    if n <= n_block * block:
        return np.arange(n)
    starts = np.linspace(0, n - block, n_block).astype(int)
    return np.concatenate([np.arange(start, start + block) for start in starts])


def fold(text: str) -> str:
    """Return the text in lower case, runs of white space as one space."""
    return " ".join(text.lower().split())


def log_ratios(features: np.ndarray) -> np.ndarray:
    """Log likelihood ratios, of each near offset of each line: is this the right reference, or any
    other?

    How alike right ones are is learned, by logistic regression, from the offset that fits best on
    the whole: 0, where no more than a run is off. How alike others are is learned from all offsets
    but this one and 0. A system that knows nothing of its lines, or of nothing but a subject that
    neighbours share, has no such offset: its ratios are near 0.

    Args:
        features: (N, K, C), each higher where more alike; NaN beyond the first or last line.
    """
    evidence = features[..., :N_RANKED].sum(-1)
    is_known = ~np.isnan(evidence)
    rank = np.searchsorted(np.sort(evidence[is_known]), evidence, "left")
    highest = 1 - 1 / evidence.size
    surprise = np.where(is_known, -np.log(1 - np.minimum(rank / is_known.sum(), highest)), 0)
    right = int(surprise.mean(0).argmax())
    is_other = is_known.copy()
    is_other[:, [right, NEAR]] = False
    ratios = np.full(evidence.shape, BEYOND)
    found = fit_log_ratio(
        features[is_known[:, right], right], features[is_other], features[is_known]
    )
    ratios[is_known] = np.minimum(found, MOST)
    return ratios


def fit_log_ratio(right: np.ndarray, others: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Log of how much more often features are those of right references, fitted by Newton's method.

    Both classes weigh as many lines as there are right ones; LEAST_SHARE of right ones are taken to
    be like others.

    Args:
        right: (R, C).
        others: (O, C).
        asked: (A, C); the result is (A,).
    """
    features = np.concatenate([right, others])
    mean = features.mean(0)
    deviation = features.std(0) + 1e-6
    columns = np.insert((features - mean) / deviation, 0, 1, 1)
    n = len(right)
    target = np.repeat([1, LEAST_SHARE / (1 + LEAST_SHARE)], [n, len(others)])
    weight = np.repeat([1, n / len(others) * (1 + LEAST_SHARE)], [n, len(others)])
    ridge = RIDGE * np.eye(columns.shape[1])
    ridge[0, 0] = 1e-6
    slopes = np.zeros(columns.shape[1])
    for _ in range(25):
        expected = 1 / (1 + np.exp(-columns @ slopes))
        gradient = columns.T @ (weight * (target - expected)) - ridge @ slopes
        curvature = (columns * (weight * expected * (1 - expected))[:, None]).T @ columns + ridge
        step = np.clip(np.linalg.solve(curvature, gradient), -2, 2)
        slopes += step
        if abs(step).max() < 1e-4:
            break
    return np.insert((asked - mean) / deviation, 0, 1, 1) @ slopes


def compare_offsets(out: "csr_matrix", ref: "csr_matrix") -> tuple[np.ndarray, np.ndarray]:
    """(N, K) cosines with near references, and (N, K, C) features; NaN beyond the first and last
    line.

    Features are how far a cosine is above the highest of those of its output with far references
    and of its reference with far outputs, how high it ranks among either of these, and itself.
    """
    n = out.shape[0]
    chosen = np.random.default_rng(0).choice(n, min(N_FAR, n), replace=False)
    is_near = np.abs(np.arange(n)[:, None] - chosen) <= NEAR
    of_out = np.where(is_near, -1, (out @ ref[chosen].T).toarray())  # (N, F)
    of_ref = np.where(is_near, -1, (ref @ out[chosen].T).toarray())  # (N, F)
    top_out = of_out.max(1)
    top_ref = of_ref.max(1)
    similar = np.full((n, 2 * NEAR + 1), np.nan)
    features = np.full((n, 2 * NEAR + 1, N_RANKED + 1), np.nan)
    for column, k in enumerate(range(-NEAR, NEAR + 1)):
        a = max(0, -k)
        b = min(n, n - k)
        if a >= b:
            continue
        its = np.asarray(out[a:b].multiply(ref[a + k : b + k]).sum(1)).ravel()
        rank_out = 1 + (of_out[a:b] >= its[:, None]).sum(1)
        rank_ref = 1 + (of_ref[a + k : b + k] >= its[:, None]).sum(1)
        top = np.maximum(np.maximum(top_out[a:b], top_ref[a + k : b + k]), 0)
        margin = np.clip(np.log((its + 0.02) / (top + 0.02)), -2, 2)
        similar[a:b, column] = its
        features[a:b, column] = np.stack([margin, -np.log(rank_out), -np.log(rank_ref), its], 1)
    return similar, features


def score_offsets(
    outputs: Sequence[str], references: Sequence[str], n_character: int
) -> np.ndarray | None:
    """(N, K) what speaks for each near offset and against 0, in nats; None where too little can be
    compared.
    """
    folded = [fold(text) for text in references]
    counts = Counter(folded)
    is_one = np.array([counts[text] == 1 for text in folded])
    n = len(references)
    if is_one.sum() < ENOUGH:
        return None
    similar, features = compare_offsets(*vectors(outputs, references, n_character))
    ratios = log_ratios(features)
    ratios = np.where(similar <= 0, np.minimum(ratios, 0), ratios)
    for column, k in enumerate(range(-NEAR, NEAR + 1)):
        ratios[~is_one[np.clip(np.arange(n) + k, 0, n - 1)], column] = 0
    odds = ratios - np.maximum(0, ratios[:, NEAR])[:, None]
    written = [fold(text) for text in outputs]
    repeated = Counter(written)
    several = np.array([repeated[text] > 1 for text in written])
    odds[several] = np.minimum(odds[several], 0)  # it belongs to several lines
    odds[[not text for text in written]] = 0  # nothing in it is known
    odds[:, NEAR] = -np.inf
    return odds


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
    odds = score_offsets([outputs[i] for i in lines], [references[i] for i in lines], n_character)
    if odds is None:
        return None
    total, start, path = best_run(odds)
    if total < np.log(2 * NEAR * len(lines)) + certain or len(path) < max(LEAST, len(lines) / 50):
        return None
    columns, n_each = np.unique(path, return_counts=True)
    return Shift(
        int(lines[start]) + 1,
        int(lines[start + len(path) - 1]) + 1,
        int(columns[n_each.argmax()]) - NEAR,
    )


def best_run(odds: np.ndarray) -> tuple[float, int, np.ndarray]:
    """Return the sum, the start and the columns of the consecutive lines that score most.

    Each line is in one column; another costs SWITCH (Viterbi's algorithm, begun anew where the sum
    falls below 0).
    """
    n, n_column = odds.shape
    back = np.full((n, n_column), -1, np.int8)  # column of the line before; -1 where a run begins
    sums = np.zeros(n_column)
    best = (0.0, -1, -1)
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


def clear_matches(
    out: "csr_matrix", ref: "csr_matrix", asked: np.ndarray, own: bool = True
) -> tuple[np.ndarray, ...]:
    """Return, for each output asked for, its best reference, whether this is clear, and its own
    one's percentiles.

    There are two of these: the share of references that are less alike, and that with half of the
    equal ones; nan for the second where no reference is alike. A match is clear where it is much
    more alike than all others of its output, and of its reference. Without `own`, no text is
    matched with that of its line: of references alone, how often unrelated ones match.
    """
    found: list[tuple[np.ndarray, ...]] = []
    for part in np.array_split(asked, max(1, len(asked) // 200)):
        here = np.arange(len(part))
        rows = (out[part] @ ref.T).toarray()  # (Q, N)
        percentile = (rows < rows[here, part][:, None]).mean(1)
        middle = (percentile + (rows <= rows[here, part][:, None]).mean(1)) / 2
        if not own:
            rows[here, part] = -1
        at = rows.argmax(1)
        top = rows[here, at]
        rows[here, at] = -1
        columns = (ref[at] @ out.T).toarray()
        columns[here, part] = -1
        if not own:
            columns[here, at] = -1
        second = np.maximum(rows.max(1), columns.max(1))
        middle[top < ALIKE] = np.nan
        found.append((at, top > CLEAR * second + 0.02, percentile, middle))
    at, is_clear, percentile, middle = (np.concatenate(each) for each in zip(*found, strict=True))
    return at, is_clear, percentile, middle


def find_disorder(
    outputs: Sequence[str],
    references: Sequence[str],
    n_character: int = 1000,
    block: int = BLOCK,
) -> Order | None:
    """Return how many lines fit another reference, where they are far too many for a system that
    errs.

    Only clear matches count: what is merely poor, or vague, has none. Of lines whose own reference
    is empty none counts, and of matches with lines nearby no more than chance has among those with
    any line: an answer to a question is often that to another one on its subject. Outputs must have
    more matches than unrelated references have among themselves. Where they have not, lines out of
    order still show where own references stand among all others as if by chance.
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
    asked = np.flatnonzero(is_one[0] & has_own)
    n_written = sum(bool(text) and known for text, known in zip(folded[0], has_own, strict=True))
    # most outputs belong to several lines
    if min(len(asked), is_one[1].sum()) < ENOUGH or len(asked) < n_written / 4:
        return None
    if len(asked) > N_QUERY:
        asked = asked[np.linspace(0, len(asked) - 1, N_QUERY).astype(int)]
    out, ref = vectors(outputs, references, n_character)
    at, is_clear, percentile, middle = clear_matches(out, ref, asked)
    is_clear &= is_one[1][at]
    n_own = int((is_clear & (at == asked)).sum())
    is_far = is_clear & (np.abs(at - asked) > NEAR)
    is_other = is_clear & (at != asked)
    share_far = (np.abs(np.arange(len(references)) - asked[:, None]) > NEAR).mean()
    total = len(asked)
    n_other = min(int(is_other.sum()), round(is_far.sum() / share_far))
    unclear = (
        Order(total, n_own, n_other, True) if is_by_chance(middle[~np.isnan(middle)]) else None
    )
    is_half = n_other >= 0.055 * total and n_own >= 0.7 * n_other
    if n_other < FEW or n_own > 1.7 * n_other or not (is_half or n_other >= 0.12 * total):
        return unclear
    if percentile[is_other].mean() > 0.72:
        return unclear
    unrelated, is_clear, *_ = clear_matches(ref, ref, asked, own=False)
    usual = (is_clear & is_one[1][unrelated]).mean()
    least = max(CLEAR_SHARE, 1.1 * usual) * total
    return unclear if n_own + n_other < least else Order(total, n_own, n_other)


def is_by_chance(percentile: np.ndarray) -> bool:
    """Return whether the mean of these (n,) is not beyond 3 standard errors above that of numbers
    drawn from 0 to 1.
    """
    n = len(percentile)
    return n >= ENOUGH and bool(percentile.mean() < 0.5 + 3 / np.sqrt(12 * n))


# Of training pairs


def find_length_shift(sources: Sequence[str], targets: Sequence[str]) -> Shift | None:
    """Return the run of pairs whose lengths agree a few lines away and not on their own line.

    Long sources have long targets, in any language. Windows of a twentieth of the lines are looked
    at, where the correlation of log lengths elsewhere is six standard errors above that of the
    pairs.
    """
    size = max(60, len(sources) // 20)
    lengths = np.log1p(
        [[len(source), len(target)] for source, target in zip(sources, targets, strict=True)]
    )
    if len(lengths) < size + 2 * REACH:
        return None
    found: list[tuple[int, int]] = []  # start and offset
    for start in range(REACH, len(lengths) - size - REACH + 1, size):
        own = correlation(lengths[start : start + size, 0], lengths[start : start + size, 1])
        best = max(
            (
                correlation(
                    lengths[start : start + size, 0], lengths[start + k : start + k + size, 1]
                ),
                k,
            )
            for k in range(-REACH, REACH + 1)
            if k
        )
        if (
            np.arctanh(best[0]) - np.arctanh(own) > 6 * np.sqrt(2 / (size - 3))
            and own < 0.5 * best[0]
        ):
            found.append((start, best[1]))
    if not found:
        return None
    offset = Counter(k for _, k in found).most_common(1)[0][0]
    starts = [start for start, k in found if k == offset]
    return Shift(starts[0] + 1, starts[-1] + size, offset)


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
    if (order := find_disorder(sources, targets, 300, PAIR_BLOCK)) and not order.is_unrelated:
        looked = f"{order.n_other:,} of {order.n_line:,} sources that were looked at"
        return (
            f"{looked} share words and numbers with the target of another line, "
            f"{order.n_own:,} with their own"
        )
    return ""
