"""Detection of outputs that are shifted against their references by a few lines.

The shift may affect all outputs or only a run of consecutive ones. Each output is compared with the
reference of the same line, with the references a few lines away, and with references far away. In a
correct order, the reference of the same line is the most similar one. In a run that is shifted by
one line, the reference of the next line is the most similar one.

In simulated systems of 100 lines at chrF 30, a shift of all lines is always found, and one of ten
lines in seven of eight (`tests/benchmarks/misalignment.py`). In most others, only one or two of the
ten outputs resemble a reference, too few to tell a shift from chance.

Array shapes: N lines, K near offsets, F far lines, C features.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lslm_lightning.evaluation.similarity import vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ENOUGH = 40  # lines with something to compare
NEAR = 10  # lines on both sides that a text is compared with
N_FAR = 200
N_RANKED = 3  # features that compare a text with far ones
RIDGE = 0.5  # on slopes of standardized features
LEAST_SHARE = 0.08  # of right references, assumed to be as similar as wrong ones
MOST = 5.5  # nats of evidence for an offset from one line at most
BEYOND = -1.9  # nats of evidence for a line beyond the first or last
LEAST = 3  # lines in a run
# longer corpora are sampled: number of blocks, and lines in each
N_BLOCK = 20
BLOCK = 500
CERTAIN = 1.0  # nats above the log number of possible runs; correct orders stayed below 0.7
UNRELATED = 6.5  # more nats needed where own references do not fit best: most lines must tell
SWITCH = 4.0  # nats that a change of the offset within a run costs
LONG = 24  # bytes of a text that two people hardly write independently


class Shift(NamedTuple):
    """Run of shifted lines: lines `first` to `last`, counted from 1, fit the references `offset`
    lines further down (up if negative).
    """

    first: int
    last: int
    offset: int

    def __str__(self) -> str:
        n = abs(self.offset)
        way = "further on" if self.offset > 0 else "further up"
        return f"{n} {'line' if n == 1 else 'lines'} {way}"


def sample(n: int, n_block: int = N_BLOCK, block: int = BLOCK) -> np.ndarray:
    """Return the indices of the lines to inspect, out of `n` lines.

    If there are at most `n_block * block` lines, these are all lines. Otherwise they are `n_block`
    evenly spaced blocks of `block` consecutive lines each.
    """
    if n <= n_block * block:
        return np.arange(n)
    starts = np.linspace(0, n - block, n_block).astype(int)
    return np.concatenate([np.arange(start, start + block) for start in starts])


def fold(text: str) -> str:
    """Return the text in lower case, with white space collapsed."""
    return " ".join(text.lower().split())


def best_column(features: np.ndarray) -> int:
    """Return the column of the near offset that fits best over all lines; this is offset 0 unless
    most lines are shifted.

    Args:
        features: similarity features (N, K, C), each higher where line and reference are more
            similar; nan where the offset points before the first or beyond the last line.
    """
    evidence = features[..., :N_RANKED].sum(-1)
    is_known = ~np.isnan(evidence)
    rank = np.searchsorted(np.sort(evidence[is_known]), evidence, "left")
    highest = 1 - 1 / evidence.size
    surprise = np.where(is_known, -np.log(1 - np.minimum(rank / is_known.sum(), highest)), 0)
    return int(surprise.mean(0).argmax())


def log_ratios(features: np.ndarray, right: int) -> np.ndarray:
    """Return log likelihood ratios (N, K) that the reference at a near offset is the right one for
    a line.

    The similarity of right references is learned, by logistic regression, from the offset that fits
    best. The similarity of wrong references is learned from all offsets except this one and 0. If
    the outputs have nothing to do with their lines, or share only a topic with neighbouring lines,
    no offset fits best and the ratios are near 0.

    Args:
        features: similarity features (N, K, C), as for `best_column`.
        right: column of the offset that fits best.
    """
    is_known = ~np.isnan(features[..., 0])
    is_other = is_known.copy()
    is_other[:, [right, NEAR]] = False
    ratios = np.full(is_known.shape, BEYOND)
    found = fit_log_ratio(
        features[is_known[:, right], right], features[is_other], features[is_known]
    )
    ratios[is_known] = np.minimum(found, MOST)
    return ratios


def fit_log_ratio(right: np.ndarray, others: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the log odds (A,) that feature vectors belong to right references.

    The odds are estimated by logistic regression, fitted with Newton's method. Both classes, right
    and wrong references, get the same total weight. A share LEAST_SHARE of right references is
    assumed to look like wrong ones.

    Args:
        right: features (R, C) of right references.
        others: features (O, C) of wrong references.
        asked: features (A, C) to evaluate.
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
    log_odds: np.ndarray = np.insert((asked - mean) / deviation, 0, 1, 1) @ slopes
    return log_odds


def compare_offsets(out: "csr_matrix", ref: "csr_matrix") -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity of each output to the references of near lines.

    The features of an output and a near reference are:

    - the log ratio of their cosine to the highest cosine that either of them has with a far line
    - minus the log rank of the reference among far references, by similarity to the output
    - minus the log rank of the output among far outputs, by similarity to the reference
    - the cosine

    Args:
        out: unit vectors of the outputs, one row per line.
        ref: unit vectors of the references, one row per line.

    Returns:
        Cosines (N, K) and features (N, K, C); nan if the offset points before the first or beyond
        the last line.
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


def equal_texts(outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return whether each output is the reference at a near offset (N, K), letter by letter; False
    for short texts.
    """
    n = len(outputs)
    is_equal = np.zeros((n, 2 * NEAR + 1), bool)
    for i, text in enumerate(outputs):
        if len(text.encode()) >= LONG:
            for j in range(max(0, i - NEAR), min(n, i + NEAR + 1)):
                is_equal[i, j - i + NEAR] = text == references[j]
    return is_equal


def equal_log_ratio(is_equal: np.ndarray) -> np.ndarray:
    """Return the log likelihood ratio (K,) that the reference at a near offset is the right one for
    an output that equals it.

    Outputs equal right references as often as at the offset with the most equal pairs, and wrong
    ones as often as at all offsets but this and the one in question.

    Args:
        is_equal: whether each output equals the reference at a near offset (N, K).
    """
    n_line, n_offset = is_equal.shape
    n_equal = is_equal.sum(0)
    right = int(n_equal.argmax())
    n_wrong = n_equal.sum() - n_equal[right] - np.where(np.arange(n_offset) == right, 0, n_equal)
    share = (n_wrong + 0.5) / (n_line * (n_offset - 2))
    ratio: np.ndarray = np.log((n_equal[right] + 0.5) / n_line / share)
    return ratio


def score_offsets(
    outputs: Sequence[str], references: Sequence[str], n_character: int
) -> tuple[np.ndarray, int] | None:
    """Return the evidence (N, K), in nats, for each near offset of each line against offset 0, and
    the column that fits best over all lines.

    The evidence is by how much an output and a reference fit each other better than the output fits
    the reference of its own line, and than the reference fits the output of its own line. The
    latter is left out where both outputs are the same text, as most doubled outputs are at this
    offset: a run of them was copied.

    The result is None if fewer than ENOUGH references are unique, so that too few lines can be
    compared.

    Args:
        n_character: number of characters of each text that are used, from its start.
    """
    folded = [fold(text) for text in references]
    counts = Counter(folded)
    is_one = np.array([counts[text] == 1 for text in folded])
    n = len(references)
    if is_one.sum() < ENOUGH:
        return None
    similar, features = compare_offsets(*vectors(outputs, references, n_character))
    right = best_column(features)
    ratios = log_ratios(features, right)
    ratios = np.where(similar <= 0, np.minimum(ratios, 0), ratios)
    is_equal = equal_texts([fold(text) for text in outputs], folded)
    ratios = np.where(is_equal, np.maximum(ratios, equal_log_ratio(is_equal)), ratios)
    near = np.arange(n)[:, None] + np.arange(-NEAR, NEAR + 1)
    is_inside = (near >= 0) & (near < n)
    near = np.clip(near, 0, n - 1)
    ratios[~is_one[near]] = 0
    own = np.maximum(0, ratios[:, NEAR])
    numbers: dict[str, int] = {}
    number = np.array([numbers.setdefault(fold(text), len(numbers)) for text in outputs])
    is_same = is_inside & (number[near] == number[:, None])
    is_same[:, NEAR] = False
    is_copy = is_same & (is_same.sum(1) == 1)[:, None]
    is_copy &= is_copy.sum(0) > is_copy.sum() / 4  # most copies are this far apart, up or down
    rival = np.where(is_inside & ~is_copy, own[near], 0)
    odds: np.ndarray = ratios - np.maximum(own[:, None], rival)
    odds[[not text.strip() for text in outputs]] = 0
    odds[:, NEAR] = -np.inf
    return odds, right


def find_shift(
    outputs: Sequence[str],
    references: Sequence[str],
    n_character: int = 1000,
    block: int = BLOCK,
    certain: float = CERTAIN,
) -> Shift | None:
    """Return the run of lines whose outputs fit the references a few lines away, or None if no run
    is longer and clearer than chance explains.

    Args:
        outputs: one text per line.
        references: one text per line, in the order of `outputs`.
        n_character: number of characters of each text that are used, from its start.
        block: lines in each block that is sampled from a long corpus.
        certain: evidence that a run needs, in nats above the log of the number of possible runs.
    """
    lines = sample(len(references), block=block)
    found = score_offsets([outputs[i] for i in lines], [references[i] for i in lines], n_character)
    if found is None:
        return None
    odds, right = found
    total, start, path = best_run(odds)
    total -= explained_by_nearness(odds, start, path)
    needed = np.log(2 * NEAR * len(lines)) + certain + (UNRELATED if right != NEAR else 0)
    if total < needed or len(path) < max(LEAST, len(lines) / 50):
        return None
    columns, n_each = np.unique(path, return_counts=True)
    return Shift(
        int(lines[start]) + 1,
        int(lines[start + len(path) - 1]) + 1,
        int(columns[n_each.argmax()]) - NEAR,
    )


def explained_by_nearness(odds: np.ndarray, start: int, path: np.ndarray) -> float:
    """Return the highest evidence that the lines of a run fit references one line beside those that
    they are assigned to, or 0.0 if they fit none of these.

    Outputs that resemble several neighbouring references share a topic with them.

    Args:
        odds: evidence (N, K) for each near offset.
        start: index of the first line of the run.
        path: column of each line of the run.
    """
    lines = np.arange(start, start + len(path))
    padded = np.pad(np.where(np.isinf(odds), 0, odds), ((0, 0), (1, 1)))
    return max(0.0, *(float(padded[lines, path + by].sum()) for by in (0, 2)))


def best_run(odds: np.ndarray) -> tuple[float, int, np.ndarray]:
    """Return the run of consecutive lines with the highest sum of `odds` (N, K).

    Each line of a run is assigned to one column, an offset. A change of the column from one line to
    the next costs SWITCH. The search is Viterbi's algorithm, restarted where the sum falls below 0.

    Returns:
        The sum, the index of the first line, and the column of each line of the run.
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
