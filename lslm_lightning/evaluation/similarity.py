"""Similarity of many texts by weighted character n-grams.

Array shapes: N texts, G hashed n-grams.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SIZES = (2, 3, 4, 5)  # of n-grams; two characters are a word in Chinese
N_BIT = 20
MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


def ngrams(texts: Sequence[str], n_character: int) -> "csr_matrix":
    """Return the square roots of the counts (N, G) of hashed character n-grams in N texts.

    Args:
        n_character: number of characters of each text that are used, from its start.
    """
    from scipy.sparse import csr_matrix

    tidy = (
        " ".join(unicodedata.normalize("NFKC", text[: 2 * n_character]).lower().split())
        for text in texts
    )
    padded = [f" {text[:n_character]} " if text else "" for text in tidy]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "replace"), "<u4").astype(np.uint64)
    owner = np.repeat(np.arange(len(padded)), [len(text) for text in padded])
    rows = []
    columns = []
    for size in SIZES:
        n = max(0, len(codes) - size + 1)
        hashed = np.full(n, size, np.uint64)
        for j in range(size):
            hashed = (hashed * MIX[0] + codes[j : j + n]) * MIX[1]
            hashed ^= hashed >> np.uint64(29)
        inside = owner[:n] == owner[size - 1 : size - 1 + n]
        rows.append(owner[:n][inside])
        columns.append((hashed[inside] >> np.uint64(64 - N_BIT)).astype(np.int32))
    at = np.concatenate(rows), np.concatenate(columns)
    counts = csr_matrix((np.ones(len(at[0]), np.float32), at), shape=(len(texts), 1 << N_BIT))
    counts.sum_duplicates()
    counts.data = np.sqrt(counts.data)
    return counts


# the references of all systems, and the outputs of one for several checks
_known_ngrams = lru_cache(maxsize=2)(ngrams)


def vectors(
    outputs: Sequence[str], references: Sequence[str], n_character: int = 1000
) -> "tuple[csr_matrix, csr_matrix]":
    """Return unit vectors (N, G) of outputs and of references; their dot products are cosines.

    N-grams are weighted by inverse document frequency.

    Args:
        n_character: number of characters of each text that are used, from its start.
    """
    found = [_known_ngrams(tuple(texts), n_character).copy() for texts in (outputs, references)]
    n = len(references)
    frequency = np.maximum(*(np.bincount(matrix.indices, minlength=1 << N_BIT) for matrix in found))
    weight = np.log((n + 1) / np.arange(1, n + 2)).astype(np.float32)[frequency]
    for matrix in found:
        matrix.data *= weight[matrix.indices]
        length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
        matrix.data /= np.repeat(np.maximum(length, 1e-9), np.diff(matrix.indptr)).astype(
            np.float32
        )
    return found[0], found[1]
