"""Test contamination: examples of an evaluation set that overlap with the training text."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lslm_lightning.contracts import Example
from lslm_lightning.files import draft_of
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.normalization import normalize
from lslm_lightning.text.scripts import COMPLEX, script_of

N = 8
SHARE = 0.5
N_GRAPHEME = 24  # in place of N where grapheme clusters are counted, of which a Thai word has three
VERSION = 2  # of the digests below; a cache holds those of one
FACTOR = 0x9E3779B97F4A7C15  # odd, so that no digest loses a bit; 2^64 over the golden ratio


@dataclass(frozen=True)
class TextIndex:
    """Index of the n-grams of training texts.

    `grams` holds digests of all n-grams; `wholes` holds digests of the texts shorter than one
    n-gram. Both are sorted arrays of uint64.
    """

    grams: np.ndarray
    wholes: np.ndarray

    def contains(self, text: str) -> bool:
        """Return whether at least a share `SHARE` of the n-grams of `text` occur in the training
        texts.

        A text shorter than one n-gram is contained if it equals a whole training text.
        """
        cut = words_of(text)
        words = digests(cut, {})
        n = order_of(cut)
        if len(words) < n:
            return bool(len(words)) and bool(holds(self.wholes, np.array([whole(words)]))[0])
        return bool(holds(self.grams, n_grams(words, n)).mean() >= SHARE)


def contaminated(examples: Sequence[Example], known: TextIndex) -> np.ndarray:
    """Return a mask (N,) of the examples whose source, or one of whose references, occurs in the
    training texts.

    A text occurs there if at least half of its 8-grams do. A text of fewer than eight words occurs
    if it equals a whole training text. Words are the units of `text.chinese.segment` in lower case
    and NFKC, without punctuation. If most words of a text are grapheme clusters of Thai or another
    script without spaces, 24-grams are used instead. Examples of a modality other than text are
    never marked, since different recordings may contain the same words.
    """
    texts = [(e.source, *e.references) if e.modality == "text" else () for e in examples]
    return np.array(
        [any(known.contains(text) for text in own if text) for own in texts], dtype=bool
    )


def index_texts(texts: Iterable[str]) -> TextIndex:
    """Return the index of the n-grams of training texts."""
    grams = [np.empty(0, np.uint64)]
    wholes = []
    table: dict[str, int] = {}
    for text in texts:
        cut = words_of(text)
        words = digests(cut, table)
        n = order_of(cut)
        if len(words) < n:
            wholes.append(whole(words))
        else:
            grams.append(n_grams(words, n))
    return TextIndex(np.unique(np.concatenate(grams)), np.unique(np.array(wholes, np.uint64)))


def cached_text_index(texts: Iterable[str], key: str, cache: str | os.PathLike[str]) -> TextIndex:
    """Return `index_texts(texts)`, read from the cache if it was computed before.

    Args:
        key: identifies the texts; it must change whenever the texts do.
        cache: folder that holds only cached indexes.
    """
    path = Path(cache) / f"{hashlib.sha256(f'{key} {N} {VERSION}'.encode()).hexdigest()[:32]}.npz"
    try:
        with np.load(path) as found:
            known = TextIndex(found["grams"], found["wholes"])
        if all(part.dtype == np.uint64 and part.ndim == 1 for part in (known.grams, known.wholes)):
            return known
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        MemoryError,
        AttributeError,
        TypeError,
        BadZipFile,
    ):
        pass  # none, or a damaged one
    known = index_texts(texts)
    # a full disk must not end the evaluation
    with suppress(OSError), draft_of(path) as draft, draft.open("wb") as file:
        np.savez(file, grams=known.grams, wholes=known.wholes)
    return known


def words_of(text: str) -> list[str]:
    """Return the words of a text in the form in which they are compared: lower case, NFKC, without
    punctuation.
    """
    return [
        piece for piece in segment(normalize(text, "NFKC").lower()) if any(map(str.isalnum, piece))
    ]


def order_of(words: Sequence[str]) -> int:
    """Return the n-gram order for a text with these words: `N_GRAPHEME` if more than half of the
    words are grapheme clusters of a script without spaces, else `N`.
    """
    n_cluster = sum(not word.isascii() and script_of(word[0]) in COMPLEX for word in words)
    return N_GRAPHEME if 2 * n_cluster > len(words) else N


def digests(words: Sequence[str], table: dict[str, int]) -> np.ndarray:
    """Return a 64-bit digest of each word (n,); `table` caches digests by word."""
    for word in words:
        if word not in table:
            table[word] = int.from_bytes(
                blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
            )
    return np.fromiter((table[word] for word in words), np.uint64, len(words))


def n_grams(words: np.ndarray, n: int = N) -> np.ndarray:
    """Return digests (m - n + 1,) of all n-grams of a text, given the digests (m,) of its words.

    The digest of an n-gram is a polynomial in FACTOR, modulo 2^64.
    """
    found = np.zeros(len(words) - n + 1, np.uint64)
    for i in range(n):
        found = found * np.uint64(FACTOR) + words[i : len(words) - n + 1 + i]
    return found


def whole(words: np.ndarray) -> np.uint64:
    """Return the digest of a whole text, given the digests of its words."""
    return np.uint64(int.from_bytes(blake2b(words.tobytes(), digest_size=8).digest(), "big"))


def holds(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return a mask of the elements of `wanted` that occur in the sorted array `known`."""
    if not len(known):
        return np.zeros(len(wanted), dtype=bool)
    mask: np.ndarray = known[np.searchsorted(known, wanted).clip(max=len(known) - 1)] == wanted
    return mask
