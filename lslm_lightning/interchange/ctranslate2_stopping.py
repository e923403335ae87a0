"""End of a beam search, found again in answers of a search that went on for longer.

CTranslate2 searches until a number of answers have ended. Our `Beam` without `early_stopping` looks
at the best unfinished hypothesis as well, which CTranslate2 does not tell. It is found again among
the beginnings of the answers that ended later.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Answer(NamedTuple):
    """Answer of a beam search.

    Args:
        ids: its tokens, the end included where it was reached.
        score: log p / n ** length_penalty.
    """

    ids: list[int]
    score: float


def first_end(answers: Sequence[Answer], beam_size: int) -> int:
    """Return the number of steps after which as many answers as beams had ended."""
    lengths = sorted(len(answer.ids) for answer in answers)
    return lengths[min(beam_size, len(lengths)) - 1]


def last_step(
    answers: Sequence[Answer],
    beginnings: Sequence[np.ndarray | None],
    beam_size: int,
    length_penalty: float,
    max_length: int,
) -> int | None:
    """Return the number of steps after which `Beam` stops; None if it goes on for longer than the
    search that found the answers.

    Args:
        answers: answers to one source, in any order.
        beginnings: log p (n,) of the first 1, 2, ... tokens of each answer; None for answers that
            ended at `first_end` or before.
        beam_size: number of hypotheses of the search.
        length_penalty: exponent of the length that divides log p.
        max_length: most tokens of an answer.
    """
    lengths = [len(answer.ids) for answer in answers]
    for n in range(first_end(answers, beam_size), max(lengths) + 1):
        if n == max_length:
            return n
        ended = [answer.score for answer, length in zip(answers, lengths) if length <= n]
        worst = sorted(ended, reverse=True)[:beam_size][-1]
        unfinished = [
            log_p[n - 1] / n**length_penalty
            for log_p, length in zip(beginnings, lengths)
            if length > n and log_p is not None
        ]
        if not unfinished:
            return None
        if max(unfinished) <= worst:
            return n
    return None
