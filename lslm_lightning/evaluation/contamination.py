"""Examples of an exam that stand in the training text: what was learned by heart is no proof of skill."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from lslm_lightning.contracts import Example
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.normalization import normalize

N, SHARE = 8, 0.5


def contaminated(examples: Sequence[Example], training_texts: Iterable[str], n: int = N, share: float = SHARE) -> np.ndarray:
    """A mask (N,): the examples of which the source, or a reference, stands in the training texts.

    A text does when at least `share` of its n-grams do; one of fewer than `n` words when it is the whole of a training text. Words
    are those of `text.chinese.segment`, lower case, NFKC, without punctuation. n-grams are kept as 64-bit digests: 8 bytes a training word.
    """
    grams, wholes = [], set()
    for text in training_texts:
        words = words_of(text)
        if len(words) < n:
            wholes.add(digest(words))
        else:
            grams.append(np.fromiter((digest(words[i : i + n]) for i in range(len(words) - n + 1)), dtype=np.uint64))
    known = np.unique(np.concatenate(grams)) if grams else np.empty(0, dtype=np.uint64)

    def stands_there(text: str) -> bool:
        words = words_of(text)
        if len(words) < n:
            return bool(words) and digest(words) in wholes
        own = np.fromiter((digest(words[i : i + n]) for i in range(len(words) - n + 1)), dtype=np.uint64)
        if not len(known):
            return False
        found = known[np.searchsorted(known, own).clip(max=len(known) - 1)] == own
        return bool(found.mean() >= share)

    return np.array([any(stands_there(text) for text in (e.source, *e.references) if text) for e in examples], dtype=bool)


def words_of(text: str) -> list[str]:
    """As they are compared: lower case, NFKC, no punctuation."""
    return [piece for piece in segment(normalize(text, "NFKC").lower()) if any(map(str.isalnum, piece))]


def digest(words: Sequence[str]) -> int:
    """64 bits."""
    return int.from_bytes(blake2b("\x00".join(words).encode(), digest_size=8).digest(), "big")
