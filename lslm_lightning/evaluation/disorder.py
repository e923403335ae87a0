"""Detection of outputs out of order: too many outputs fit the references of other lines.

Array shapes: N lines, Q matched outputs, G hashed n-grams.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
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
LEAST_LEAD = 0.15  # of the matches that are counted; the log of such a factor
USUAL = 0.75  # matches with other lines expected by chance, per such match among references
RELATED = 0.65  # mean share of references less similar to outputs than their own, if it is right
SURE = float(np.log(4000))  # evidence in nats if half are moved; correct orders stayed below 8.3
LEAST_MOVED = 0.5  # share of lines in the smallest permutation that is sought
MOST_MOVED = 0.86  # highest estimate of the share of moved lines
LEAST_CHRF = 30.0  # of outputs in the right order
LIKELY = 1.0  # evidence in nats, if outputs fit their own references no better than others
MOST_UNRELATED = 0.6  # highest mean share of references less similar than the own, if unrelated
MOST_OWN = 4.0  # more nats needed, per squared standard error that own matches are ahead
MOST_DEFICIT = 2.0  # standard errors that they may be ahead by chance
FEW_EQUAL = 2  # outputs that are the reference of another line, letter by letter
RELATED_OWN = float(np.log(100))  # nats of evidence for matches with own lines


class Order(NamedTuple):
    """Result of matching outputs with references.

    `n_line` outputs, or references where outputs repeat, were inspected. `n_own` of them clearly
    match the text of their own line, and `n_other` that of another line. `is_unrelated` is True if
    outputs are no more similar to the references of their own lines than to other references.
    """

    n_line: int
    n_own: int
    n_other: int
    is_unrelated: bool = False


class Count(NamedTuple):
    """Numbers of outputs that match the reference of their own line, and of another line."""

    own: np.ndarray
    other: np.ndarray


class Matches(NamedTuple):
    """Best matching reference of each of Q outputs.

    References that are much like each other count as one. `lead` is the log ratio of the best
    cosine to that of every other pair with the same output or the same reference; it is minus
    infinity if the best cosine is low, or the reference that of several lines. `percentile` is the
    share of references that are less similar to the output than the reference of its own line;
    `percentile_of_best` is the share of outputs that are less similar to the matched reference than
    the output of its line. `middle` is
    `percentile` with equally similar references counted half; it is nan if no reference is similar.
    """

    line: np.ndarray  # (Q,) line of the output
    best: np.ndarray  # (Q,) line of the most similar reference
    is_own: np.ndarray  # (Q,) whether that is the reference of the output's own line
    lead: np.ndarray  # (Q,)
    percentile: np.ndarray  # (Q,)
    percentile_of_best: np.ndarray  # (Q,)
    middle: np.ndarray  # (Q,)

    @property
    def is_clear(self) -> np.ndarray:
        """Mask (Q,) of matches that are much more similar than all others."""
        is_clear: np.ndarray = self.lead > np.log(CLEAR)
        return is_clear

    @property
    def is_other(self) -> np.ndarray:
        """Mask (Q,) of matches with other lines."""
        return ~self.is_own & (self.lead > LEAST_LEAD)

    def count_matches(self, is_match: np.ndarray, n_line: int) -> Count:
        """Return how many outputs match their own and another reference, for each of several masks.

        Matches with nearby lines count only as often as chance explains.

        Args:
            is_match: whether a match counts (..., Q).
            n_line: number of references.
        """
        is_other = is_match & ~self.is_own
        is_far = np.abs(self.best - self.line) > NEAR
        share_far = (np.abs(np.arange(n_line) - self.line[:, None]) > NEAR).mean()
        n_far = np.round((is_other & is_far).sum(-1) / share_far).astype(int)
        return Count((is_match & self.is_own).sum(-1), np.minimum(is_other.sum(-1), n_far))


def clear_matches(
    out: "csr_matrix",
    ref: "csr_matrix",
    queries: np.ndarray,
    is_unique: np.ndarray,
    own_cosine: np.ndarray | None = None,
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
        own_cosine: where references are matched with references, the cosine (N,) that each has with
            its own line, so that it matches others only if it is more similar to them; without it,
            a reference has nothing to do with its own line.
    """
    parts: list[Matches] = []
    out_by_gram, ref_by_gram = (matrix.T.tocsr() for matrix in (out, ref))  # (G, N)
    for part in np.array_split(queries, max(1, len(queries) // 200)):
        here = np.arange(len(part))
        rows = (out[part] @ ref_by_gram).toarray()  # (Q, N)
        own = rows[here, part][:, None]
        percentile = (rows < own).mean(1)
        middle = (percentile + (rows <= own).mean(1)) / 2
        is_alike = rows > SAME if out is ref else np.zeros_like(rows, bool)
        rows[is_alike] = -1
        if own_cosine is not None:
            rows[here, part] = own_cosine[part]
        best = rows.argmax(1)
        top = rows[here, best]
        is_same = (ref[best] @ ref_by_gram).toarray() > SAME  # (Q, N)
        is_same[here, best] = True
        rows[is_same] = -1
        columns = (ref[best] @ out_by_gram).toarray()  # (Q, N)
        percentile_of_best = (columns < columns[here, best][:, None]).mean(1)
        columns[here, part] = -1
        columns[is_alike] = -1
        if out is ref:
            columns[is_same] = -1
        if own_cosine is not None:
            is_moved = best != part
            columns[here[is_moved], best[is_moved]] = own_cosine[best[is_moved]]
        # as many outputs may be as similar as there are references that count as one
        n_same = 0 if out is ref else is_same.sum(1) - 1
        second = np.maximum(rows.max(1), -np.sort(-columns, 1)[here, n_same])
        middle[top < ALIKE] = np.nan
        lead = np.log((top + 0.02) / (np.maximum(second, 0) + 0.02))
        lead[(top < ALIKE) | ~is_unique[best]] = -np.inf
        parts.append(
            Matches(part, best, is_same[here, part], lead, percentile, percentile_of_best, middle)
        )
    return Matches(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def is_once(texts: Sequence[str]) -> np.ndarray:
    """Return whether each of N texts is not empty and differs from all others (N,)."""
    counts = Counter(texts)
    return np.array([bool(text) and counts[text] == 1 for text in texts], bool)


def find_disorder(
    outputs: Sequence[str],
    references: Sequence[str],
    n_character: int = 1000,
    block: int = BLOCK,
    least_chrf: float | None = LEAST_CHRF,
) -> Order | None:
    """Return how many outputs match their own and another reference, or None if the order seems
    right or cannot be checked.

    Only clear matches count; poor or vague outputs have few. Lines with an empty reference are left
    out. An answer may fit another question on the same topic, so matches with nearby lines count
    only as often as chance explains. If most outputs are those of several lines, references are
    matched with outputs instead.

    Args:
        n_character: number of characters of each text that are used, from its start.
        block: lines in each block that is sampled from a long corpus.
        least_chrf: chrF that outputs have if the order is right; None if it is unknown, as of texts
            in two languages.
    """
    lines = sample(len(references), block=block)
    folded, other = ([fold(texts[i]) for i in lines] for texts in (outputs, references))
    is_unique = is_once(other)
    is_written, is_asked = (
        np.array([bool(text) for text in texts], bool) for texts in (folded, other)
    )
    queries = np.flatnonzero(is_once(folded) & is_asked)
    is_repetitive = len(queries) < max(ENOUGH, (is_written & is_asked).sum() / 4)
    if is_repetitive:
        queries = np.flatnonzero(is_unique & is_written)
    if min(len(queries), is_unique.sum()) < ENOUGH:
        return None
    queries = thin(queries)
    out, ref = vectors([outputs[i] for i in lines], [references[i] for i in lines], n_character)
    own_cosine = None if least_chrf is None else np.asarray(out.multiply(ref).sum(1)).ravel()
    match_references = cache(lambda: clear_matches(ref, ref, queries, is_unique, own_cosine))

    @cache
    def share_moved() -> float:
        if least_chrf is None:
            return LEAST_MOVED
        asked = lines[thin(np.flatnonzero(is_asked))]
        written, right = ([each[i][:n_character] for i in asked] for each in (outputs, references))
        return estimate_share_moved(written, right, least_chrf)

    if is_repetitive:
        found = clear_matches(ref, out, queries, is_written)
        n_own, n_other = found.count_matches(found.is_clear, len(other))
        second = second_clearest(found, folded)
        if has_more_than_usual(second, match_references, len(other), share_moved):
            return Order(len(queries), int(n_own), int(n_other))
        return None
    found = clear_matches(out, ref, queries, is_unique)
    pairs = ((folded[line], other[best]) for line, best in zip(queries, found.best, strict=True))
    is_equal = np.array([text == best and len(text.encode()) >= LONG for text, best in pairs])
    n_own, n_other = found.count_matches(found.is_clear, len(other))
    order = Order(len(queries), int(n_own), int(n_other))
    if has_equal_to_others(found, is_equal & found.is_clear, len(other)) or (
        has_more_than_usual(found, match_references, len(other), share_moved)
    ):
        return order
    is_related = exceeds_chance(n_own, n_other, len(other))
    middle = found.middle[~np.isnan(found.middle)]
    if is_related or not is_by_chance(middle):
        return None
    if middle.mean() + margin(len(middle)) > MOST_UNRELATED and not has_more_than_usual(
        found, match_references, len(other), lambda: LEAST_MOVED, LIKELY
    ):
        return None
    return order._replace(is_unrelated=True)


def second_clearest(found: Matches, texts: Sequence[str]) -> Matches:
    """Return matches of references with outputs, of which only the second clearest one of each text
    of an output with own lines counts, and that with other lines.

    A text that was written for several lines fits several references, wherever these are; by chance
    it fits one, or many on one subject.

    Args:
        found: best matching output of each of Q references.
        texts: outputs (N).
    """
    n_clearer: Counter[tuple[str, bool]] = Counter()
    lead = np.full(len(found.lead), -np.inf)
    for i in np.argsort(-found.lead, kind="stable"):
        match = texts[found.best[i]], bool(found.is_own[i])
        if n_clearer[match] == 1:
            lead[i] = found.lead[i]
        n_clearer[match] += 1
    return found._replace(lead=lead)


def has_equal_to_others(found: Matches, is_equal: np.ndarray, n_line: int) -> bool:
    """Return whether enough outputs are, letter by letter, the references of other lines.

    Args:
        is_equal: whether an output is the reference that it matches (Q,).
        n_line: number of references.
    """
    equal = found.count_matches(is_equal, n_line)
    is_enough = equal.other >= max(FEW_EQUAL, 0.02 * len(is_equal))
    return bool(is_enough and equal.own <= 4 * equal.other)


def thin(lines: np.ndarray) -> np.ndarray:
    """Return `N_QUERY` evenly spaced lines, or all if there are no more."""
    if len(lines) <= N_QUERY:
        return lines
    chosen: np.ndarray = lines[np.linspace(0, len(lines) - 1, N_QUERY).astype(int)]
    return chosen


def estimate_share_moved(
    outputs: Sequence[str], references: Sequence[str], least_chrf: float
) -> float:
    """Return the share of lines that a permutation has moved, if outputs had a chrF of `least_chrf`
    before it; from `LEAST_MOVED` to `MOST_MOVED`.

    The chrF of moved lines is that with random references.
    """
    from sacrebleu.metrics import CHRF

    order = np.random.default_rng(0).permutation(len(references))
    present: float
    by_chance: float
    present, by_chance = (
        CHRF().corpus_score(outputs, [texts]).score
        for texts in (references, [references[i] for i in order])
    )
    share_unmoved = (present - by_chance) / max(1.0, least_chrf - by_chance)
    return min(MOST_MOVED, max(LEAST_MOVED, 1 - share_unmoved))


def has_more_than_usual(
    found: Matches,
    match_references: Callable[[], Matches],
    n_line: int,
    share_moved: Callable[[], float],
    sure: float = SURE,
) -> bool:
    """Return whether more outputs match other lines than unrelated texts on the same subjects do.

    Outputs are counted whose match has at least a given lead, for all leads that occur. At one of
    them there must be many more than chance explains, and their own references no more similar to
    them than others are, and so for the lines that they match. Where outputs are permuted, matches
    with other lines lead by as much as those with own lines: the further these are ahead at any
    lead, the more evidence is needed. A permutation that moved more lines gives more evidence, so
    that more is asked of it. Where no more outputs match their own lines than by chance, leads that
    differ a bit count as equal.

    Args:
        match_references: matches references with other references.
        n_line: number of references.
        share_moved: estimates the share of moved lines.
        sure: evidence needed, in nats, if half of the lines were moved.
    """
    leads = np.unique(found.lead[found.lead > LEAST_LEAD])
    if not found.is_other.any():
        return False
    is_match = found.lead >= leads[:, None]  # (L, Q)
    own, other = found.count_matches(is_match, n_line)
    is_other = is_match & found.is_other
    n_each = np.maximum(is_other.sum(1), 1)
    percentile, percentile_of_best = (
        (is_other * each).sum(1) / n_each for each in (found.percentile, found.percentile_of_best)
    )
    is_unlike_own = np.maximum(percentile, percentile_of_best) <= RELATED
    surprise = poisson_surprise(other, 1.0)
    if not (is_unlike_own & (surprise >= sure)).any():
        return False
    deficit = max(0.0, float(((own - other) / np.sqrt(np.maximum(own + other, 1))).max()))
    needed = sure * (share_moved() / LEAST_MOVED) ** 2
    needed += MOST_OWN * max(0.0, deficit**2 - MOST_DEFICIT**2)
    is_tried = is_unlike_own & (surprise >= needed)
    if not is_tried.any():
        return False
    tried = leads[is_tried, None]
    usual = match_references()
    similar, alike = (
        usual.count_matches(usual.lead >= least, n_line).other
        for least in (tried, tried - LEAST_LEAD)
    )
    is_related = exceeds_chance(own[is_tried], other[is_tried], n_line)
    expected = np.maximum(np.where(is_related, USUAL * similar, alike), 1)
    return bool((poisson_surprise(other[is_tried], expected) >= needed).any())


def exceeds_chance(own: np.ndarray, other: np.ndarray, n_line: int) -> np.ndarray:
    """Return whether more outputs match their own lines than if they matched any line as often."""
    return poisson_surprise(own, (own + other) / n_line) >= RELATED_OWN


def poisson_surprise(n: np.ndarray, expected: np.ndarray | float) -> np.ndarray:
    """Return minus the log of the probability of at least `n` events where `expected` of them are
    expected on average; infinite where it is too small for a float.
    """
    from scipy.special import gammainc

    with np.errstate(divide="ignore"):
        surprise: np.ndarray = np.where(n > 0, -np.log(gammainc(np.maximum(n, 1), expected)), 0)
    return surprise


def margin(n: int) -> float:
    """Return 3 standard errors of the mean of n uniform random numbers from 0 to 1."""
    return 3 / float(np.sqrt(12 * n))


def is_by_chance(percentile: np.ndarray) -> bool:
    """Return whether the mean of percentiles (n,), from 0 to 1, is less than 3 standard errors
    above the mean of uniform random numbers.

    The result is False if there are fewer than 2 * `ENOUGH` percentiles.
    """
    n = len(percentile)
    return n >= 2 * ENOUGH and bool(percentile.mean() < 0.5 + margin(n))
