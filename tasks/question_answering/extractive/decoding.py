"""Candidate answers of a passage, scored by its windows.

Axes: N passage tokens, L tokens of the longest answer, S tokens of a window.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from lslm_lightning.contracts import Alternative, Example
from lslm_lightning.metrics.agreement import TokenF1
from tasks.question_answering.extractive.windows import Passage, Window
from tasks.question_answering.offsets import span_text

# nats of no answer above which the probability of all spans has six exact digits
MIN_NATS = 1e-10


def span_scores(
    windows: Iterable[tuple[Window, np.ndarray]], n_token: int, longest: int
) -> tuple[np.ndarray, float]:
    """Return log p(start) + log p(end) for each span of the passage, and the log p of no answer.

    A span in several windows gets its highest score. No answer gets its lowest score, since most
    windows of a passage do not contain the answer. Source: `write_predictions` of BERT's
    run_squad.py, which adds logits. Log probabilities give the same ranking within a window, and an
    uninformative window has less influence on a passage of several windows.

    Args:
        windows: pairs of a window and its log p (at least S, 2) of the start and of the end.
        n_token: N, number of tokens of the passage.
        longest: L, largest number of tokens of an answer.

    Returns:
        Scores (N, L) float64, and the log p of no answer. Element [i, j] is the span of j + 1
            tokens from token i; it is minus infinity where there is no such span.
    """
    found = np.full((n_token, longest), -np.inf)
    nothing = math.inf
    for window, scores in windows:
        # np.minimum keeps nan, which a diverged network gives
        nothing = float(np.minimum(nothing, scores[0].sum()))
        possible = np.where(
            np.stack([window.begins, window.ends], 1), scores[: len(window.ids)], -np.inf
        )
        start, end = possible[window.n_before : window.n_before + window.n_passage].T
        for j in range(min(longest, window.n_passage)):
            column = found[window.first : window.first + window.n_passage - j, j]
            np.maximum(column, start[: window.n_passage - j] + end[j:], out=column)
    return found, nothing


def ranked_answers(
    scores: np.ndarray, nothing: float, text: str, passage: Passage, n: int
) -> list[Alternative]:
    """Return the `n` best answers with different texts, the best first, followed by no answer.
    Their nats are normalized over all spans and no answer.

    If the scores are nan, no answer is the only one, with nan nats.

    Args:
        scores: (N, L) from `span_scores`.
        nothing: log p of no answer.
        text: text of the passage.
        passage: tokens of the passage.
    """
    if math.isnan(nothing):
        return [Alternative("", nothing)]
    flat = scores.ravel()
    total = log_sum(np.append(flat, nothing))
    found: dict[str, float] = {}
    for index in np.argsort(-flat, kind="stable")[: 10 * n]:  # several may have one text
        if len(found) == n or not math.isfinite(flat[index]):
            break
        first, length = divmod(int(index), scores.shape[1])
        answer = span_text(text, passage.offsets, first, first + length)
        if answer and answer not in found:
            found[answer] = total - float(flat[index])
    return [*(Alternative(*each) for each in found.items()), Alternative("", total - nothing)]


def best_span(
    scores: np.ndarray, text: str, passage: Passage, answer: str
) -> tuple[int, int] | None:
    """Return the character offsets [start, end) of the best-scored span with the text `answer`;
    None if there is none.

    Args:
        scores: (N, L) from `span_scores`.
        text: text of the passage.
        passage: tokens of the passage.
    """
    for index in np.argsort(-scores.ravel(), kind="stable"):
        first, length = divmod(int(index), scores.shape[1])
        if not math.isfinite(scores[first, length]):
            return None
        if span_text(text, passage.offsets, first, first + length) == answer:
            start = text.index(answer, passage.offsets[first][0])
            return start, start + len(answer)
    return None


def apply_threshold(answers: Sequence[Alternative], threshold: float) -> list[Alternative]:
    """Return the answers sorted by nats, after lowering the log p of no answer by `threshold`. An
    infinite threshold removes no answer from the list.

    No answer is then ranked first exactly if its log p exceeds the log p of the best span by more
    than `threshold`.

    Args:
        answers: as `ranked_answers` returns them.
    """
    *spans, nothing = answers
    if not spans:
        return [Alternative("", nothing.nats if math.isnan(nothing.nats) else 0.0)]
    rest = log_sum([-answer.nats for answer in spans])
    if nothing.nats > MIN_NATS:
        rest = max(rest, math.log(-math.expm1(-nothing.nats)))  # all spans, listed here or not
    total = log_sum([rest, -nothing.nats - threshold])
    found = [Alternative(answer.output, max(0.0, answer.nats + total)) for answer in spans]
    if math.isfinite(threshold):
        found.append(Alternative("", max(0.0, nothing.nats + threshold + total)))
    return sorted(found, key=lambda answer: answer.nats)


def best_threshold(examples: Sequence[Example], answers: Sequence[Sequence[Alternative]]) -> float:
    """Return the threshold for `apply_threshold` that maximizes F1; of equally good thresholds, the
    one that leaves the fewest questions unanswered.

    The threshold is infinite if every question has an answer. Source: `find_best_thresh` of SQuAD's
    evaluation script v2.0.

    Args:
        answers: answers to each example, as `ranked_answers` returns them.
    """
    if all(any(example.references) for example in examples):
        return math.inf
    metric = TokenF1(examples[0].language)
    # for each question: nats of the best span less nats of no answer, and the gain in F1 of
    # giving no answer
    margins = []
    gains = []
    for example, (best, *_, nothing) in (
        (e, a) for e, a in zip(examples, answers, strict=True) if len(a) > 1
    ):
        margins.append(best.nats - nothing.nats)
        f1 = [
            max(metric.agreement(r, text) for r in example.references) for text in ("", best.output)
        ]
        gains.append(f1[0] - f1[1])
    if not margins:
        return 0.0
    order = np.argsort(-np.array(margins), kind="stable")
    ordered = np.array(margins)[order]
    total = np.concatenate([[0.0], np.cumsum(np.array(gains)[order])])
    edges = np.concatenate([[ordered[0] + 2.0], ordered, [ordered[-1] - 2.0]])
    # at the k-th threshold the first k questions get no answer
    middles = (edges[:-1] + edges[1:]) / 2
    # no threshold separates equal margins
    possible = np.concatenate([[True], ordered[:-1] > ordered[1:], [True]])
    return float(middles[int(np.argmax(np.where(possible, total, -np.inf)))])


def log_sum(values: Sequence[float] | np.ndarray) -> float:
    """Return log(sum(exp(values))); at least one of `values` must be finite."""
    top = np.max(values)
    return float(top + np.log(np.exp(values - top).sum()))
