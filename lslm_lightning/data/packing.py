"""Texts as one long memory-mapped array of token ids, and training windows over it."""

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
    """Return the ids of all texts, `</s>` after each and once before the first: (n_token,) int32,
    memory-mapped from `path`, which is written first if need be.

    A file that is already there is used as it is, unless it was cut off, so `path` must name the
    texts and the tokenizer (see `packed_name`). It is written under a temporary name and renamed: a
    killed process leaves nothing half-written under the final name.
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
    """Return whether a file holds whole int32 ids with `</s>` at both ends."""
    size = path.stat().st_size if path.is_file() else 0
    if size < ID.itemsize or size % ID.itemsize:
        return False
    ids = np.memmap(path, dtype=ID, mode="r")
    return int(ids[0]) == int(ids[-1]) == eos_id


def packed_name(corpus_digest: str, tokenizer_digest: str) -> str:
    """Return the name of the file for the ids of a corpus by a tokenizer."""
    return hashlib.sha256(f"{corpus_digest} {tokenizer_digest}".encode()).hexdigest()[:32] + ".ids"


class Chunks:
    """Plan that divides an array of ids into pieces of about `n_token` ids that hold whole texts:
    (start, end) of each, `</s>` at both ends, shared by neighbours.

    The plan is the same in every epoch. A text is never cut, however long it is.
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
    """Plan of batches of start positions of training windows of `context` + 1 ids: inputs and,
    shifted by one, targets.

    An epoch tiles the array from a random phase below `context`, so that windows differ from epoch
    to epoch. No target is seen twice in an epoch; at most `context` - 1 are not seen: those before
    the phase, or at the end where the array is no whole number of windows. The last window may
    reach beyond the array. Which windows share a batch is random too. Pure in (seed, epoch).
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
    """Next window of each of several rows of text that are read in order; its length is the number
    of rows.

    Args:
        starts: start positions of the windows.
        follows: whether each window continues that of the piece before; False where the rows begin.
    """

    starts: np.ndarray
    follows: bool

    def __len__(self) -> int:
        return len(self.starts)


class Contiguous:
    """Plan of batches of windows that are read in order, so that the state of a model can be
    carried from each batch to the next.

    The ids, of which the first equals the last (`</s>`), are taken as a ring. An epoch cuts it,
    from a random position on, into `batch_size` times `world` rows of equal length; each batch has
    the next `context` tokens of each of `batch_size` rows. Of all ranks' micro-batches rank r takes
    number i
    * world + r: these are of the same rows for every i. No target is seen twice in an epoch; fewer
    than one window a row are not seen, others in each epoch. Pure in (seed, epoch).

    Source: Zaremba et al. 2014, "Recurrent Neural Network Regularization", section 4.1, where the
    rows always begin at the same positions.
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
        """Return the batches of an epoch; starts are below `n_token` - 1, and a window that reaches
        the end of the ids continues at their beginning.
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
    """Return the windows of a text in at most `n_row` rows of equal length, every target once; rank
    r of `world` reads each world-th row from r on.

    The last row may reach beyond the end of the text.
    """
    n_piece = max(1, -(-(n_token - 1) // (n_row * context)))
    rows = np.arange(0, n_token - 1, n_piece * context)[rank::world]
    return [Piece(rows + i * context, i > 0) for i in range(n_piece)]
