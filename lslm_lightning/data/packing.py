"""Packing of texts into one memory-mapped array of token ids, and plans of training windows over
such an array.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lslm_lightning.files import draft_of
from lslm_lightning.text.tokenizer import Tokenizer

CHUNK = 1024
ID = np.dtype(np.int32)  # of one id in a file
CHUNK_IDS = 2**22  # of an array that may be larger than memory, read together


def pack(texts: Iterable[str], tokenizer: Tokenizer, path: Path) -> np.ndarray:
    """Return the token ids of all texts as a (n_token,) int32 array, memory-mapped from `path`.

    `</s>` stands before the first text and after each text. An existing file is reused unless it
    was cut off, so `path` must identify the texts and the tokenizer (use `packed_name`). A new file
    is written under a temporary name and then renamed, so that an interrupted process leaves no
    partial file at `path`.
    """
    if not is_whole(path, tokenizer.eos_id):
        with draft_of(path) as draft, draft.open("wb") as file:
            np.array([tokenizer.eos_id], dtype=np.int32).tofile(file)
            source = iter(texts)
            while chunk := list(islice(source, CHUNK)):
                for ids in tokenizer.encode_batch(chunk):
                    np.array([*ids, tokenizer.eos_id], dtype=np.int32).tofile(file)
    return np.memmap(path, dtype=np.int32, mode="r")


def is_whole(path: Path, eos_id: int) -> bool:
    """Return whether a file holds complete int32 ids that begin and end with `</s>`."""
    size = path.stat().st_size if path.is_file() else 0
    if size < ID.itemsize or size % ID.itemsize:
        return False
    ids = np.memmap(path, dtype=ID, mode="r")
    return int(ids[0]) == int(ids[-1]) == eos_id


def packed_name(corpus_digest: str, tokenizer_digest: str) -> str:
    """Return the name of the file that holds the ids of a corpus, from the digests of corpus and
    tokenizer.
    """
    return hashlib.sha256(f"{corpus_digest} {tokenizer_digest}".encode()).hexdigest()[:32] + ".ids"


class Chunks:
    """Plan that divides an array of ids into chunks of about `n_token` ids, each made of whole
    texts.

    Calling it with an epoch returns (start, end) of every chunk, the same in every epoch. Both
    positions hold `</s>`; neighbouring chunks share one. A text is never cut, however long it is.

    Args:
        ids: the array that `pack` returns.
    """

    def __init__(self, ids: np.ndarray, eos_id: int, n_token: int) -> None:
        chunks = (
            np.arange(start, min(start + CHUNK_IDS, len(ids)))
            for start in range(0, len(ids), CHUNK_IDS)
        )
        ends = np.concatenate([chunk[ids[chunk] == eos_id] for chunk in chunks])
        wanted = np.arange(n_token, len(ids) - 1, n_token)
        cuts = (
            np.unique(ends[np.searchsorted(ends, wanted)]) if len(wanted) else np.zeros(0, np.int64)
        )
        self._cuts = np.unique([0, *cuts, len(ids) - 1])

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def __call__(self, epoch: int) -> list[tuple[int, int]]:
        return list(zip(self._cuts[:-1].tolist(), self._cuts[1:].tolist(), strict=True))


class Windows:
    """Plan of batches of random training windows of `context` + 1 ids (inputs, and targets shifted
    by one).

    Calling it with an epoch returns the start positions of the windows of each batch. The windows
    of an epoch lie side by side from a random offset below `context`, so that they differ between
    epochs, and are distributed over the batches at random. No target is seen twice in an epoch. At
    most `context` - 1 targets are not seen, before the offset or at the end of the array. The last
    window may extend beyond the array. The result is a pure function of (seed, epoch).

    Args:
        n_token: length of the array.
        context: number of targets in a window.
        batch_size: number of windows in a batch.
    """

    def __init__(self, n_token: int, context: int, batch_size: int, seed: int = 0) -> None:
        if context < 1 or batch_size < 1:
            raise ValueError(
                f"context={context} and batch_size={batch_size} must both be at least 1"
            )
        if n_token < context + 1:
            raise ValueError(
                f"context={context} needs at least {context + 1} training tokens, but there are "
                f"{n_token}; make it smaller"
            )
        self.context = context
        self.batch_size = batch_size
        self.seed = seed
        self._n_window = (n_token - 1) // context

    def __len__(self) -> int:
        return -(-self._n_window // self.batch_size)

    def __call__(self, epoch: int) -> list[np.ndarray]:
        """Return the batches of an epoch: arrays of at most `batch_size` window starts."""
        random = np.random.default_rng((self.seed, epoch))
        starts = random.integers(self.context) + self.context * random.permutation(self._n_window)
        return [starts[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self))]


@dataclass(frozen=True)
class Piece:
    """Next window of each of several rows of text that are read in order; `len` is the number of
    rows.

    Args:
        starts: start position of the window in each row.
        follows: whether the windows continue those of the previous piece; False at the start of the
            rows.
    """

    starts: np.ndarray
    follows: bool

    def __len__(self) -> int:
        return len(self.starts)


class Contiguous:
    """Plan of batches of consecutive windows, so that the state of a model can be carried from each
    batch to the next.

    The ids are treated as a ring: the first equals the last (`</s>`). An epoch cuts the ring at a
    random position into `batch_size * world` rows of equal length. Each batch has the next
    `context` tokens of `batch_size` rows. Rank r takes the global micro-batches i * world + r,
    which continue the same rows for every i. No target is seen twice in an epoch. Fewer than one
    window per row is left out, a different one in each epoch. The result is a pure function of
    (seed, epoch).

    Source: Zaremba et al. 2014, "Recurrent Neural Network Regularization", section 4.1, where the
    rows always begin at the same positions.

    Args:
        n_token: length of the array of ids.
        context: number of targets in a window.
        batch_size: number of rows of one rank.
        world: number of ranks.
    """

    def __init__(
        self, n_token: int, context: int, batch_size: int, seed: int = 0, world: int = 1
    ) -> None:
        if context < 1 or batch_size < 1:
            raise ValueError(
                f"context={context} and batch_size={batch_size} must both be at least 1"
            )
        self.n_row = batch_size * world
        self._n_piece = (n_token - 1) // (self.n_row * context)
        if not self._n_piece:
            least = self.n_row * context + 1
            raise ValueError(
                f"data.contiguous=true with {self.n_row} rows and context={context} needs at "
                f"least {least} training tokens,"
                f" but there are {n_token}; make batch_size or context smaller"
            )
        self.n_token = n_token
        self.context = context
        self.batch_size = batch_size
        self.seed = seed
        self.world = world

    def __len__(self) -> int:
        return self._n_piece * self.world

    def __call__(self, epoch: int) -> list[Piece]:
        """Return the batches of an epoch in order of their global micro-batch numbers.

        All starts are below `n_token` - 1. A window that reaches the end of the ids continues at
        their beginning.
        """
        phase = np.random.default_rng((self.seed, epoch)).integers(self.n_token - 1)
        rows = phase + self._n_piece * self.context * np.arange(self.n_row).reshape(
            self.world, self.batch_size
        )
        return [
            Piece((rows[rank] + i * self.context) % (self.n_token - 1), i > 0)
            for i in range(self._n_piece)
            for rank in range(self.world)
        ]


def in_order(n_token: int, context: int, n_row: int, rank: int = 0, world: int = 1) -> list[Piece]:
    """Return the windows that cover a text once, as pieces of at most `n_row` rows of equal length.

    The last row may extend beyond the end of the text.

    Args:
        n_token: number of ids of the text.
        context: number of targets in a window.
        rank: index of this process, which reads every `world`-th row.
    """
    n_piece = max(1, -(-(n_token - 1) // (n_row * context)))
    rows = np.arange(0, n_token - 1, n_piece * context)[rank::world]
    return [Piece(rows + i * context, i > 0) for i in range(n_piece)]
