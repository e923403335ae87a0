"""Encoding of texts of any size into shards of token ids, by several processes, in bounded memory,
and resumable after an interruption.
"""

import json
import logging
import os
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from lslm_lightning.data.prepared import (
    INDEX,
    JOURNAL,
    TOKENIZER,
    Prepared,
    dtype_of,
    is_shard,
    redactions_of,
)
from lslm_lightning.data.stream import Stream
from lslm_lightning.files import atomic_write, draft_of
from lslm_lightning.safety.redaction import redacted
from lslm_lightning.text.personal_data import PersonalDataFinder, Redaction
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.text.tokenizer_files import load_tokenizer
from lslm_lightning.types import JsonObject
from lslm_lightning.workers import run_parallel

log = logging.getLogger(__name__)
CHUNK = 256  # documents that are encoded at once
TOTALS = ("n_document", "n_byte", "n_token")  # of a shard and of all


@dataclass(frozen=True)
class Progress:
    """Progress of `prepare`: totals over all shards written so far, and the work of this call."""

    n_shard: int
    n_document: int
    n_byte: int  # of UTF-8 text
    n_token: int
    redactions: Counter[str]  # personal data that were replaced, by kind
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
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Prepared:
    """Encode all documents of a stream in order, with `</s>` after each, and return the folder of
    shards.

    Each shard holds consecutive documents with at least `shard_bytes` of text together; the last
    one may hold less. A shard is written under a temporary name, synced, renamed and then noted in
    a journal. A repeated call therefore continues after the shards that are complete.

    Args:
        n_worker: number of processes that encode.
        shard_bytes: minimum size of the text in a shard, in bytes of UTF-8.
        on_progress: called after each shard.

    Raises:
        ValueError: the folder was begun with other texts, another tokenizer, `shard_bytes` or
            redaction, another process is preparing it, or the stream is empty.
        OSError: the folder cannot be written.
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
        identity: JsonObject = {
            "source": stream.source_digest,
            "tokenizer": tokenizer.digest,
            "shard_bytes": shard_bytes,
        }
        if stream.finder is not None:
            identity["redaction"] = stream.finder.description
        shards = _resume(folder, identity, tokenizer)
        dtype = dtype_of(tokenizer.vocab_size)
        made = _encode_shards(stream, folder, len(shards), n_worker, shard_bytes, dtype)
        _record_shards(folder, shards, made, on_progress)
        if not shards:
            raise ValueError(f"{stream.path} has no text")
        index = identity | {
            "path": redacted(str(stream.path)),
            "eos_id": tokenizer.eos_id,
            "dtype": str(dtype),
            "shards": shards,
        }
        atomic_write(folder / INDEX, json.dumps(index, indent=1, ensure_ascii=False) + "\n")
        return Prepared.open(folder)
    finally:
        lock.release()


def _record_shards(
    folder: Path,
    shards: list[JsonObject],
    made: Iterable[JsonObject],
    on_progress: Callable[[Progress], None],
) -> None:
    """Append each new shard to `shards` and to the journal as soon as it is written.

    Args:
        shards: descriptions of the shards that exist; extended in place.
        made: descriptions of the new shards, as they are written.
        on_progress: called after each shard.
    """
    began = time.monotonic()
    total = Counter({name: sum(shard[name] for shard in shards) for name in TOTALS})
    n_before = total["n_byte"]
    redactions = redactions_of(shards)
    with (folder / JOURNAL).open("a", encoding="utf-8") as journal:
        for shard in made:
            journal.write(json.dumps(shard) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
            shards.append(shard)
            total.update({name: shard[name] for name in TOTALS})
            redactions.update(shard.get("redactions", {}))
            on_progress(
                Progress(
                    n_shard=len(shards),
                    n_document=total["n_document"],
                    n_byte=total["n_byte"],
                    n_token=total["n_token"],
                    redactions=redactions.copy(),
                    n_byte_new=total["n_byte"] - n_before,
                    seconds=time.monotonic() - began,
                )
            )


def _resume(folder: Path, identity: JsonObject, tokenizer: Tokenizer) -> list[JsonObject]:
    """Return the descriptions of the shards that are complete.

    A missing journal is created; lines after the first damaged line or shard are removed from it.

    Args:
        identity: digests of texts and tokenizer, and the shard size; the first line of the journal.

    Raises:
        ValueError: the journal is damaged, or its first line differs from `identity`.
    """
    for draft in folder.glob(".shard-*.ids.*.part"):  # of workers that were stopped
        draft.unlink(missing_ok=True)
    journal = folder / JOURNAL
    if not journal.exists():
        tokenizer.save(folder / TOKENIZER)
        _write_journal(journal, [identity])
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
            f"{journal} is damaged: its first line is no object; delete the folder, or give another"
        )
    if rows[0] != identity:
        names = dict.fromkeys([*identity, *rows[0]])
        other = ", ".join(name for name in names if rows[0].get(name) != identity.get(name))
        raise ValueError(
            f"{folder} was begun with another {other}: give that one again, or another folder"
        )
    done = []
    for shard in rows[1:]:
        file = folder / shard["file"] if is_shard(shard) else folder
        if not file.is_file() or zlib.crc32(file.read_bytes()) != shard["crc32"]:
            break  # all from here on is made again
        done.append(shard)
    _write_journal(journal, [identity, *done])
    return done


def _write_journal(journal: Path, rows: Sequence[JsonObject]) -> None:
    """Replace the journal atomically by a file with these rows."""
    atomic_write(journal, "".join(json.dumps(row) + "\n" for row in rows))


class _Texts(NamedTuple):
    """Documents concatenated as UTF-8 in one block of bytes.

    One block can be copied and freed as a whole; many strings would fragment memory.
    """

    content: bytes
    ends: list[int]  # of each document, in bytes

    def chunks(self) -> Iterator[list[str]]:
        """Yield the documents in lists of at most `CHUNK` documents."""
        spans = list(pairwise([0, *self.ends]))
        for i in range(0, len(spans), CHUNK):
            yield [self.content[start:end].decode() for start, end in spans[i : i + CHUNK]]


def _shards(stream: Stream, shard_bytes: int) -> Iterator[_Texts]:
    """Yield the documents that the stream keeps, in groups of at least `shard_bytes` bytes of text;
    the last group may be smaller. The number of those left out is logged.
    """
    n_blank = 0
    content = bytearray()
    ends = []
    for part in range(stream.n_shard):
        for text in stream.documents(part):
            if not stream.keeps(text):
                n_blank += 1
                continue
            content += text.encode()
            ends.append(len(content))
            if len(content) >= shard_bytes:
                yield _Texts(bytes(content), ends)
                content = bytearray()
                ends = []
    if ends:
        yield _Texts(bytes(content), ends)
    if n_blank:
        log.warning("%s: %d blank texts are left out", stream.path, n_blank)


def _encode_shards(
    stream: Stream,
    folder: Path,
    n_done: int,
    n_worker: int,
    shard_bytes: int,
    dtype: np.dtype,
) -> Iterator[JsonObject]:
    """Encode and write the shards from number `n_done` on, and yield the journal entry of each."""
    shards = islice(enumerate(_shards(stream, shard_bytes)), n_done, None)
    parts = ((texts, folder / f"shard-{number:05d}.ids", dtype) for number, texts in shards)
    start = partial(_load, str(folder / TOKENIZER), stream.finder)
    return run_parallel(_encode, parts, n_worker, start)


# of a worker
_tokenizer: Tokenizer | None = None
_finder: PersonalDataFinder | None = None


def _load(path: str, redacts: PersonalDataFinder | None) -> None:
    """Load the tokenizer of this worker process from `path`, and keep what it redacts."""
    global _tokenizer, _finder
    _tokenizer = load_tokenizer(path)
    _finder = redacts


def _encode(texts: _Texts, path: Path, dtype: np.dtype) -> JsonObject:
    """Write one shard and return its journal entry; the worker must have called `_load`."""
    assert _tokenizer is not None
    eos_id = _tokenizer.eos_id
    redaction = None if _finder is None else Redaction(_finder)
    n_byte = 0
    n_token = 0
    crc = 0
    with draft_of(path, durable=True) as draft, draft.open("wb") as file:
        for chunk in texts.chunks():
            if redaction is not None:
                chunk = [redaction(text) for text in chunk]
            n_byte += sum(len(text.encode()) for text in chunk)
            rows = _tokenizer.encode_batch(chunk)
            ids = np.fromiter((n for row in rows for n in (*row, eos_id)), dtype)
            content = ids.tobytes()
            file.write(content)
            crc = zlib.crc32(content, crc)
            n_token = n_token + len(ids)
    counts: JsonObject = {} if redaction is None else {"redactions": dict(redaction.counts)}
    return {
        "file": path.name,
        "n_document": len(texts.ends),
        "n_byte": n_byte,
        "n_token": n_token,
        "crc32": crc,
        **counts,
    }
