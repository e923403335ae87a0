"""Adjustments for the unigram trainer of `tokenizers`: limit the characters and remove
randomness.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, count, takewhile


def without_rare_characters(texts: Sequence[str], coverage: float, room: int) -> Iterator[str]:
    """Return the texts with every rare character replaced by a space.

    The trainer gives every character a token and fails if there are too many. The characters kept
    are the most frequent ones that together make up the fraction `coverage` of all characters.

    Args:
        room: number of pieces that fit into the vocabulary.

    Raises:
        ValueError: more than `room` characters would be kept.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    frequent = sorted(counts, key=lambda character: (-counts[character], character))
    seen = list(accumulate(counts[character] for character in frequent))
    n_kept = bisect_left(seen, coverage * seen[-1]) + 1
    if n_kept + 1 > room:  # one more for the sign of a space
        raise ValueError(
            f"vocab_size leaves {room} pieces, but {n_kept} different characters make up "
            f"{coverage:.2%} of the text; raise vocab_size "
            f"by {2 * n_kept - room} or more, or lower coverage"
        )
    rare = {ord(character): " " for character in frequent[n_kept:]}
    return (text.translate(rare) for text in texts)


def without_chance(pieces: Sequence[tuple[str, float]]) -> list[list[str | float]]:
    """Return trained [piece, score] pairs, best first, without the random differences between runs.

    The differences come from the trainer's hash tables. Scores are rounded, since they are summed
    in varying order. Characters added only because each must have a token have scores in steps of
    0.0001 above the lowest score, in random order; they are reassigned in code point order.
    """
    lowest = min(score for _, score in pieces)
    by_step: dict[int, list[tuple[str, float]]] = {}
    for piece, score in pieces:
        steps = (score - lowest) / 1e-4
        if len(piece) == 1 and abs(steps - round(steps)) < 1e-3:
            by_step.setdefault(round(steps), []).append((piece, score))
    added = [pair for step in takewhile(by_step.__contains__, count()) for pair in by_step[step]]
    taken = {piece for piece, _ in added}
    renewed = zip(sorted(taken), sorted((score for _, score in added), reverse=True), strict=True)
    others = (pair for pair in pieces if pair[0] not in taken)
    rounded = ((piece, round(score, 6)) for piece, score in (*others, *renewed))
    return [
        [piece, score] for piece, score in sorted(rounded, key=lambda pair: (-pair[1], pair[0]))
    ]
