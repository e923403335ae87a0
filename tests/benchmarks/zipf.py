"""Texts of any size whose words have Zipf's frequencies, half of them Chinese in their looks: quick
to make, the same every time.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

N_WORD = 60_000
N_DRAW = 2**19
LETTERS = tuple("etaoinshrdlucmfwgypbvk")
CHARACTERS = tuple(chr(0x4E00 + i) for i in range(3500))
MEAN_LENGTH = 500  # words of a document, about


def texts(n_byte: int, seed: int = 0) -> Iterator[str]:
    """Documents of at least `n_byte` bytes of UTF-8 together, by turns words with spaces and
    Chinese without.
    """
    chance = np.random.default_rng(seed)
    while n_byte > 0:
        for table, between in (
            (draws(LETTERS, (2, 9), ","), " "),
            (draws(CHARACTERS, (1, 3), "，"), ""),
        ):
            length = round(float(chance.lognormal(0.0, 0.8)) * MEAN_LENGTH) + 5
            text = between.join(table[chance.integers(0, N_DRAW, length, dtype=np.int32)].tolist())
            n_byte -= len(text.encode())
            yield text


@cache
def draws(letters: tuple[str, ...], lengths: tuple[int, int], mark: str) -> np.ndarray:
    """A table in which a word stands about as often as Zipf and Mandelbrot say: a random place is a
    random word.

    Args:
        letters: of which the words are made; they have Zipf's frequencies themselves.
        lengths: of the shortest and the longest words; the shorter, the more frequent.
        mark: every eighth word.
    """
    chance = np.random.default_rng(0)
    shares = 1 / (np.arange(len(letters)) + 10)
    each = chance.integers(lengths[0], lengths[1] + 1, 2 * N_WORD)
    drawn = iter(chance.choice(letters, int(each.sum()), p=shares / shares.sum()))
    made = {"".join(next(drawn) for _ in range(length)) for length in each.tolist()}
    ranked = np.array(sorted(made, key=lambda word: (len(word), word))[:N_WORD], dtype=object)
    shares = 1 / (np.arange(len(ranked)) + 2.7)
    table = np.resize(
        np.repeat(ranked, np.ceil(shares / shares.sum() * N_DRAW).astype(int)), N_DRAW
    )
    table[::8] = mark
    return table


def write(path: Path, n_byte: int, seed: int = 0) -> None:
    """`n_byte` bytes of text, or a little more, as JSON lines {"text": ...}."""
    with path.open("w", encoding="utf-8") as file:
        for text in texts(n_byte, seed):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
