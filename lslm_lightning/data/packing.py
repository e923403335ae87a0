"""Texts as one long memory-mapped row of token ids, and training windows over it."""

import hashlib
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from lslm_lightning.text.tokenizer import Tokenizer

CHUNK = 1024


def pack(texts: Iterable[str], tokenizer: Tokenizer, path: Path) -> np.ndarray:
    """Ids of all texts, `</s>` after each and once before the first: (n_token,) int32, memory-mapped from `path`.

    A file that is already there is used as it is, so `path` must name the texts and the tokenizer (see `packed_name`). It is written under
    a temporary name and renamed: a killed process leaves nothing half-written under the final name.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                np.array([tokenizer.eos_id], dtype=np.int32).tofile(file)
                source = iter(texts)
                while chunk := list(islice(source, CHUNK)):
                    for ids in tokenizer.encode_batch(chunk):
                        np.array([*ids, tokenizer.eos_id], dtype=np.int32).tofile(file)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return np.memmap(path, dtype=np.int32, mode="r")


def packed_name(corpus_digest: str, tokenizer_digest: str) -> str:
    """File name of the ids of these texts in this tokenizer."""
    return hashlib.sha256(f"{corpus_digest} {tokenizer_digest}".encode()).hexdigest()[:32] + ".ids"


class Pieces:
    """Whole texts of a row of ids in order, in pieces of about `n_token`: (start, end) of each, `</s>` at both ends, shared by neighbours.

    The same in every epoch.
    """

    def __init__(self, ids: np.ndarray, eos_id: int, n_token: int) -> None:
        ends = np.flatnonzero(ids == eos_id)
        wanted = np.arange(n_token, len(ids) - 1, n_token)
        cuts = np.unique(ends[np.searchsorted(ends, wanted)]) if len(wanted) else np.zeros(0, np.int64)
        self._cuts = np.unique([0, *cuts, len(ids) - 1])

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def __call__(self, epoch: int) -> list[tuple[int, int]]:
        return list(zip(self._cuts[:-1].tolist(), self._cuts[1:].tolist(), strict=True))


class Windows:
    """Batches of start positions of training windows of `context` + 1 ids: inputs and, shifted by one, targets.

    An epoch tiles the row from a random phase below `context`, so that windows differ from epoch to epoch. No target is seen twice in an
    epoch; at most `context` - 1 are not seen: those before the phase, or at the end where the row is no whole number of windows. The last
    window may reach beyond the row. Which windows share a batch is random too. Pure in (seed, epoch).
    """

    def __init__(self, n_token: int, context: int, batch_size: int, seed: int = 0) -> None:
        if context < 1 or batch_size < 1:
            raise ValueError(f"context={context} and batch_size={batch_size} must both be at least 1")
        if n_token < context + 1:
            raise ValueError(f"context={context} needs at least {context + 1} training tokens, but there are {n_token}; make it smaller")
        self.context, self.batch_size, self.seed = context, batch_size, seed
        self._n_window = (n_token - 1) // context

    def __len__(self) -> int:
        return -(-self._n_window // self.batch_size)

    def __call__(self, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch: arrays of at most `batch_size` window starts."""
        random = np.random.default_rng((self.seed, epoch))
        starts = random.integers(self.context) + self.context * random.permutation(self._n_window)
        return [starts[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self))]
