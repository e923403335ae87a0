"""Detection of training pairs whose sources and targets seem misaligned."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lslm_lightning.evaluation.alignment import Shift, find_shift
from lslm_lightning.evaluation.disorder import find_disorder

# of training pairs, which share less text than outputs and references, and are many
REACH = 5  # lines that a shift of lengths is sought among
PAIR_BLOCK = 150
PAIR_CERTAIN = 10.0


def find_length_shift(sources: Sequence[str], targets: Sequence[str]) -> Shift | None:
    """Return the run of pairs whose source lengths fit the target lengths of a few lines away, or
    None.

    The method uses that long sources have long targets, in any language. It tests windows of a
    twentieth of the lines. In a shifted window, the correlation of the log lengths at an offset is
    six standard errors above their correlation within the pairs, and more than twice as high.
    """
    size = max(60, len(sources) // 20)
    lengths = np.log1p(
        [[len(source), len(target)] for source, target in zip(sources, targets, strict=True)]
    )
    if len(lengths) < size + 2 * REACH:
        return None
    shifted: list[tuple[int, int]] = []  # start and offset
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
            shifted.append((start, best[1]))
    if not shifted:
        return None
    offset = Counter(k for _, k in shifted).most_common(1)[0][0]
    starts = [start for start, k in shifted if k == offset]
    return Shift(starts[0] + 1, starts[-1] + size, offset)


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Return the correlation coefficient of two samples, clipped so that its arctanh is finite.

    The result is 0.0 if one of the samples is constant.
    """
    if min(x.std(), y.std()) < 1e-9:
        return 0.0
    return float(np.clip(np.corrcoef(x, y)[0, 1], -0.999, 0.999))


def describe_pairs(sources: Sequence[str], targets: Sequence[str]) -> str:
    """Return a message about sources and targets that seem misaligned, or "" if none do.

    The evidence is lengths, and the names, numbers and other words that source and target share.
    """
    by_words = find_shift(sources, targets, 300, PAIR_BLOCK, PAIR_CERTAIN)
    if shift := by_words or find_length_shift(sources, targets):
        return (
            f"sources of about lines {shift.first:,} to {shift.last:,} "
            f"{'share words and numbers' if by_words else 'agree in length'} "
            f"with the targets {shift} rather than with their own"
        )
    order = find_disorder(sources, targets, 300, PAIR_BLOCK, least_chrf=None)
    if order and not order.is_unrelated:
        return (
            f"{order.n_other:,} of {order.n_line:,} inspected sources share words and numbers with "
            f"the target of another line, {order.n_own:,} with their own"
        )
    return ""
