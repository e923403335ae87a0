"""Estimation of n-gram probabilities by interpolated modified Kneser-Ney smoothing.

Source: Chen and Goodman 1999, section 3; conventions of Heafield et al. 2013.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from lslm_lightning.ngram.counting import CountRows, Packing

# discounts where counts of counts are degenerate, as KenLM's --discount_fallback has them
FALLBACK = (0.5, 1.0, 1.5)


class CountTable(NamedTuple):
    """Table of the n-grams of one order in suffix order, with their probabilities.

    Args:
        keys: (n,) int64, ascending. A key is index * vocab_size + first word, where index is the
            row of the suffix (the n-gram without its first word) in the table of the next lower
            order; for order 1 it is the word itself.
        log_prob: (n,) natural log probability of the last word given the words before it; float64,
            on disk float32.
        log_backoff: (n,) natural log of the back-off weight, applied to words not seen after this
            n-gram; same types.
    """

    keys: np.ndarray
    log_prob: np.ndarray
    log_backoff: np.ndarray


@dataclass
class Counts:
    """Adjusted and raw counts of the n-grams of one order, in suffix order."""

    suffix: np.ndarray  # (n,) int32, index of the suffix among the n-grams of the order below
    first: np.ndarray  # (n,) int32, the first word
    adjusted: np.ndarray  # (n,) int32
    raw: np.ndarray  # (n,) int32


def adjusted_counts(pieces: Iterable[CountRows], packing: Packing, bos: int) -> list[Counts]:
    """Return the counts for each order from 1 on, adjusted for Kneser-Ney.

    The adjusted count of an n-gram is the number of distinct words that precede it. For n-grams of
    the highest order, and those at the start of a sentence, it is the number of occurrences.

    Args:
        pieces: n-grams of the highest order, in suffix order.
        bos: word id that precedes every sentence.
    """
    order = packing.order
    by_order: list[list[Counts]] = [[] for _ in range(order)]
    n_before = [0] * order
    for keys, counts in pieces:
        words = [packing.column(keys, i) for i in range(order)]
        bounds = []
        is_new = np.zeros(len(counts), bool)
        is_new[:1] = True
        for column in words:  # where the n-grams of an order begin
            is_new = is_new | np.concatenate([[True], column[1:] != column[:-1]])
            bounds.append(is_new)
        n_word = np.full(len(counts), order)  # up to and with the first bos
        for i in range(order - 1, -1, -1):
            n_word[words[i] == bos] = i + 1
        for n in range(1, order + 1):
            starts = np.flatnonzero(bounds[n - 1])
            raw = np.add.reduceat(counts, starts)
            if n == order:
                adjusted = raw
            else:
                adjusted = np.where(
                    n_word[starts] > n, np.add.reduceat(bounds[n].astype(np.int64), starts), raw
                )
            keep = n_word[starts] >= n
            if n == 1:
                suffix = np.zeros(len(starts), np.int64)
            else:
                groups = bounds[n - 2] & (n_word >= n - 1)
                suffix = (n_before[n - 2] + np.cumsum(groups) - 1)[starts]
            counts_of_piece = Counts(
                *(
                    values[keep].astype(np.int32)
                    for values in (suffix, words[n - 1][starts], adjusted, raw)
                )
            )
            by_order[n - 1].append(counts_of_piece)
        for n in range(order):
            n_before[n] += len(by_order[n][-1].first)
    # so that memory holds parts and whole of one order only
    return [joined(by_order.pop(0)) for _ in range(order)]


def joined(parts: list[Counts]) -> Counts:
    """Return the concatenated counts of several parts of one order."""
    empty = np.zeros(0, np.int32)
    return Counts(
        *(
            np.concatenate([empty, *(getattr(part, field.name) for part in parts)])
            for field in fields(Counts)
        )
    )


def discounts(adjusted: np.ndarray) -> np.ndarray:
    """Return the discounts (4,) for n-grams with adjusted counts 0, 1, 2, and 3 or more.

    `FALLBACK` is returned if the discounts cannot be estimated from the counts.
    """
    n = np.bincount(np.minimum(adjusted, 5), minlength=6).astype(float)
    if not n[1:5].all():
        return np.array([0.0, *FALLBACK])
    y = n[1] / (n[1] + 2 * n[2])
    computed = np.array([0.0, *(k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3))])
    return (
        computed
        if (computed[1:] > 0).all() and (computed[1:] <= (1, 2, 3)).all()
        else np.array([0.0, *FALLBACK])
    )


def estimate(
    counts: list[Counts],
    vocab_size: int,
    bos: int,
    least: Sequence[int] = (),
    impossible: Sequence[int] = (),
) -> list[CountTable]:
    """Return the probability tables of all orders.

    All words 0 to vocab_size - 1, also unseen ones, share the probability left over at order 1
    evenly.

    Args:
        counts: counts of all orders; the list is emptied to save memory.
        bos: word id that precedes every sentence and is never predicted.
        least: minimum number of occurrences for an n-gram to be kept, by order from 1 on. The last
            value also applies to higher orders; all single words are kept.
        impossible: further words that are never predicted; their counts must be 0.

    Raises:
        ValueError: `least` decreases from one order to the next, so that an n-gram could be kept
            without its suffix.
    """
    if list(least) != sorted(least):
        raise ValueError(f"least={list(least)} must not decrease from one order to the next")
    least = [*least, *[max(least, default=1)] * len(counts)]
    words = counts.pop(0)
    keys = [np.arange(vocab_size)]
    probs = [word_probabilities(words, vocab_size, {bos, *impossible})]
    backoffs = [np.ones(vocab_size)]
    kept = [np.ones(vocab_size, bool)]
    context = np.zeros(vocab_size, np.int32)
    while counts:
        rows = counts.pop(0)
        # the table of words has all of them, in the order of their numbers
        suffix = words.first[rows.suffix] if len(keys) == 1 else rows.suffix
        # the context of an n-gram is that of its suffix with its first word before it
        context = (
            rows.first
            if len(keys) == 1
            else indices_of(keys[-1], context[suffix].astype(np.int64) * vocab_size + rows.first)
        )
        keep = rows.raw >= least[len(keys)]
        discount = np.where(
            keep, discounts(rows.adjusted)[np.minimum(rows.adjusted, 3)], rows.adjusted
        )
        total = np.bincount(context, rows.adjusted, len(keys[-1]))
        left = np.bincount(context, discount, len(keys[-1])) / np.maximum(total, 1)
        left[total == 0] = 1.0
        backoffs[-1] = left
        prob = np.subtract(rows.adjusted, discount, out=discount)
        prob /= total[context]
        prob += left[context] * probs[-1][suffix]
        probs.append(prob)
        keys.append(suffix.astype(np.int64) * vocab_size + rows.first)
        backoffs.append(np.ones(len(rows.first)))
        kept.append(keep)
    return list(tables(keys, probs, backoffs, kept, vocab_size))


def word_probabilities(words: Counts, vocab_size: int, impossible: set[int]) -> np.ndarray:
    """Return the probability of each word without context: (vocab_size,) float64.

    Args:
        words: counts of order 1.
        impossible: words that are never predicted.
    """
    seen = np.zeros(vocab_size, np.int64)
    seen[words.first] = words.adjusted
    never = list(impossible)
    seen[never] = 0
    discount = discounts(seen[seen > 0])[np.minimum(seen, 3)]
    total = max(int(seen.sum()), 1)
    prob = (seen - discount) / total + (discount.sum() / total if seen.any() else 1.0) / (
        vocab_size - len(never)
    )
    prob[never] = 0.0
    return prob


def indices_of(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the index of each wanted key in sorted keys: int32.

    Keys are looked up in ascending order, which reads memory sequentially and halves the time.
    """
    order = np.argsort(wanted)
    indices = np.empty(len(wanted), np.int32)
    indices[order] = np.searchsorted(keys, wanted[order])
    return indices


def tables(
    keys: list[np.ndarray],
    probs: list[np.ndarray],
    backoffs: list[np.ndarray],
    kept: list[np.ndarray],
    vocab_size: int,
) -> Iterator[CountTable]:
    """Yield the table of each order, restricted to the n-grams that are kept.

    Args:
        keys, probs, backoffs: columns of the tables by order, with probabilities instead of
            logarithms. All four lists are emptied.
        kept: boolean masks by order.
    """
    index: np.ndarray | None = None  # among those kept; None where all of the order below are
    while keys:
        key, prob, backoff, keep = (values.pop(0) for values in (keys, probs, backoffs, kept))
        if index is not None:
            key = index[key // vocab_size] * vocab_size + key % vocab_size
        index = None if keep.all() else np.cumsum(keep) - 1
        if index is not None:
            key = key[keep]
            prob = prob[keep]
            backoff = backoff[keep]
        with np.errstate(divide="ignore"):
            yield CountTable(key, np.log(prob, out=prob), np.log(backoff, out=backoff))
