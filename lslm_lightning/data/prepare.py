"""Texts of any size to shards of ids: by several processes, in bounded memory, going on after a
kill with what is done.
"""

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from lslm_lightning.data.prepared import INDEX, JOURNAL, TOKENIZER, Prepared, dtype_of, is_shard
from lslm_lightning.data.stream import Stream
from lslm_lightning.data.workers import shared_out
from lslm_lightning.files import atomic_write, draft_of
from lslm_lightning.safety.redaction import redacted
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.text.tokenizer_files import load_tokenizer

CHUNK = 256  # documents that are encoded at once


@dataclass(frozen=True)
class Progress:
    """Where a preparation stands."""

    n_shard: int
    n_document: int
    n_byte: int  # of UTF-8 text
    n_token: int
    n_byte_new: int  # of this call
    seconds: float  # of this call

    @property
    def megabytes_per_second(self) -> float:
        return self.n_byte_new / 1e6 / max(1e-9, self.seconds)


def prepare(
    stream: Stream,
    tokenizer: Tokenizer,
    folder: Path,
    n_worker: int,
    shard_bytes: int,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Prepared:
    """Encode all documents of a stream, in its order, `</s>` after each.

    Shard i holds the documents that follow shard i - 1 until they have `shard_bytes` of text. It is
    written under a temporary name, synced, renamed and then noted in a journal, so that the same
    call goes on after those that are there.

    Raises:
        ValueError: the folder is of other texts or another tokenizer, or another process prepares
            it; the stream is empty.
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{folder} is being prepared by another process: wait for its end, or stop it first"
        ) from None
    try:
        identity = {
            "source": stream.digest,
            "tokenizer": tokenizer.digest,
            "shard_bytes": shard_bytes,
        }
        done = _begin(folder, identity, tokenizer)
        n_byte = sum(shard["n_byte"] for shard in done)
        began = time.monotonic()
        before = n_byte
        with (folder / JOURNAL).open("a", encoding="utf-8") as journal:
            for shard in _encoded(
                stream, folder, len(done), n_worker, shard_bytes, dtype_of(tokenizer.vocab_size)
            ):
                journal.write(json.dumps(shard) + "\n")
                journal.flush()
                os.fsync(journal.fileno())
                done.append(shard)
                n_byte += shard["n_byte"]
                totals = (
                    len(done),
                    sum(s["n_document"] for s in done),
                    n_byte,
                    sum(s["n_token"] for s in done),
                )
                tell(Progress(*totals, n_byte - before, time.monotonic() - began))
        if not done:
            raise ValueError(f"{stream.path} has no text")
        index = identity | {
            "path": redacted(str(stream.path)),
            "eos_id": tokenizer.eos_id,
            "dtype": str(dtype_of(tokenizer.vocab_size)),
            "shards": done,
        }
        atomic_write(folder / INDEX, json.dumps(index, indent=1, ensure_ascii=False) + "\n")
        return Prepared.open(folder)
    finally:
        lock.release()


def _begin(folder: Path, identity: dict[str, Any], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """The shards that are there already, of the same texts and tokenizer; the first line of the
    journal says which these are.
    """
    journal = folder / JOURNAL
    if not journal.exists():
        tokenizer.save(folder / TOKENIZER)
        _write(journal, [identity])
        return []
    rows = []
    for line in journal.read_text("utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # cut off
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            break  # damaged: what follows is made again
    if not rows or not isinstance(rows[0], dict):
        raise ValueError(
            f"{journal} is damaged: its first line says nothing; delete the folder, or give another"
        )
    if rows[0] != identity:
        other = ", ".join(name for name in identity if rows[0].get(name) != identity[name])
        raise ValueError(
            f"{folder} was begun with another {other}: give that one again, or another folder"
        )
    done = []
    for shard in rows[1:]:
        file = folder / shard["file"] if is_shard(shard) else folder
        if not file.is_file() or zlib.crc32(file.read_bytes()) != shard["crc32"]:
            break  # all from here on is made again
        done.append(shard)
    _write(journal, [identity, *done])
    return done


def _write(journal: Path, rows: Sequence[dict[str, Any]]) -> None:
    """The whole journal anew, or not at all."""
    atomic_write(journal, "".join(json.dumps(row) + "\n" for row in rows))


class _Texts(NamedTuple):
    """Documents in UTF-8, one after the other: a block that is copied and freed as a whole, where
    strings would leave holes in memory.
    """

    content: bytes
    ends: list[int]  # of each document, in bytes

    def chunks(self) -> Iterator[list[str]]:
        """The documents, `CHUNK` at a time."""
        places = list(pairwise([0, *self.ends]))
        for i in range(0, len(places), CHUNK):
            yield [self.content[start:end].decode() for start, end in places[i : i + CHUNK]]


def _shards(stream: Stream, shard_bytes: int) -> Iterator[_Texts]:
    """Documents that are not empty, in groups of at least so many bytes."""
    content = bytearray()
    ends = []
    for part in range(stream.n_shard):
        for text in filter(str.strip, stream.documents(part)):
            content += text.encode()
            ends.append(len(content))
            if len(content) >= shard_bytes:
                yield _Texts(bytes(content), ends)
                content = bytearray()
                ends = []
    if ends:
        yield _Texts(bytes(content), ends)


def _encoded(
    stream: Stream, folder: Path, n_done: int, n_worker: int, shard_bytes: int, dtype: np.dtype
) -> Iterator[dict[str, Any]]:
    """What the journal says of each shard from number `n_done` on, in order."""
    shards = islice(enumerate(_shards(stream, shard_bytes)), n_done, None)
    parts = ((texts, folder / f"shard-{number:05d}.ids", dtype) for number, texts in shards)
    return shared_out(_encode, parts, n_worker, _load, str(folder / TOKENIZER))


_tokenizer: Tokenizer | None = None  # of a worker


def _load(path: str) -> None:
    global _tokenizer
    _tokenizer = load_tokenizer(path)


def _encode(texts: _Texts, path: Path, dtype: np.dtype) -> dict[str, Any]:
    """In a worker: write one shard."""
    n_token = 0
    crc = 0
    with draft_of(path, durable=True) as draft, draft.open("wb") as file:
        for chunk in texts.chunks():
            rows = _tokenizer.encode_batch(chunk)
            ids = np.fromiter((n for row in rows for n in (*row, _tokenizer.eos_id)), dtype)
            content = ids.tobytes()
            file.write(content)
            crc = zlib.crc32(content, crc)
            n_token = n_token + len(ids)
    return {
        "file": path.name,
        "n_document": len(texts.ends),
        "n_byte": len(texts.content),
        "n_token": n_token,
        "crc32": crc,
    }
