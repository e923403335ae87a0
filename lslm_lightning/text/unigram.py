"""What the unigram trainer of `tokenizers` leaves to others: too many characters, and chance."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, count, takewhile


def without_rare_characters(texts: Sequence[str], coverage: float, room: int) -> Iterator[str]:
    """The texts with a space for each character outside the most frequent ones that make up the
    share `coverage` of all characters.

    The trainer gives every character a token and fails where they do not fit; `room` is the number
    of pieces that do.
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


def without_chance(pieces: Sequence[tuple[str, float]]) -> list[list]:
    """Trained (piece, score) pairs, best first, without what differs from run to run with the
    trainer's hash tables.

    Sums come out in another order, which rounding hides. And characters that are added only because
    each must have a token get, in any order, the lowest score, that plus 0.0001, plus 0.0002...:
    here in the order of their code points.
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
    return sorted(
        ([piece, round(score, 6)] for piece, score in (*others, *renewed)),
        key=lambda pair: (-pair[1], pair[0]),
    )
