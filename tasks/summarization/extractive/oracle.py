"""Best extract of each document, the training target of extractive summarizers. The extracts of a
corpus are computed once, by several processes, and cached.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock

from lslm_lightning.files import draft_of
from lslm_lightning.metrics.extraction import best_sentences
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.training.cores import available_cores
from lslm_lightning.workers import run_parallel

VERSION = 1  # of the algorithm, part of the names of cached files
CHUNK = 500  # documents of one job
FEW = 10_000  # documents below which several processes are not faster
LINE_EVERY_SECONDS = 10.0


def chosen_once(
    documents: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    language: str,
    k: int,
    cache: Path,
    n_worker: int | None = None,
) -> list[list[int]]:
    """Return the indices of the best sentences (`best_sentences`) of every document, from the cache
    if possible. Processes that start together compute them once.

    The file name in the cache is a digest of all texts and settings. Any change of the corpus, its
    columns, the rules of sentence splitting or the data module therefore leads to a new file.

    Args:
        documents: sentences of each document.
        references: reference summaries of each document.
        k: largest number of sentences of an extract.
        cache: folder that holds only such files.
        n_worker: number of processes; by default one per core if there are many documents.
    """
    path = cache / f"{digest_of(documents, references, language, k)}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if (kept := read_chosen(path, documents)) is not None:
            return kept
        with draft_of(path) as draft, draft.open("w", encoding="utf-8") as file:
            for indices in chosen(documents, references, language, k, n_worker):
                file.write(f"{json.dumps(indices)}\n")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def read_chosen(path: Path, documents: Sequence[Sequence[str]]) -> list[list[int]] | None:
    """Read the indices of the best sentences of each document from a file; None if the file is
    missing, damaged or does not fit the documents.
    """
    try:
        found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError, RecursionError):
        return None
    if len(found) != len(documents) or not all(isinstance(indices, list) for indices in found):
        return None
    for indices, sentences in zip(found, documents, strict=True):
        if not all(type(index) is int and 0 <= index < len(sentences) for index in indices):
            return None
    return found


def digest_of(
    documents: Sequence[Sequence[str]], references: Sequence[Sequence[str]], language: str, k: int
) -> str:
    """Return 32 hexadecimal digits that identify texts and settings."""
    found = hashlib.sha256(f"{VERSION} {language} {k} {Rouge('1', language).signature}".encode())
    for texts in zip(documents, references, strict=True):
        found.update(json.dumps(texts).encode())
    return found.hexdigest()[:32]


def chosen(
    documents: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    language: str,
    k: int,
    n_worker: int | None = None,
) -> Iterator[list[int]]:
    """Yield the indices of the best sentences of every document, in order, and print a progress
    line from time to time.
    """
    n = len(documents)
    n_worker = n_worker or (1 if n < FEW else available_cores())
    parts = (
        (documents[i : i + CHUNK], references[i : i + CHUNK], language, k)
        for i in range(0, n, CHUNK)
    )
    said = time.monotonic()
    n_done = 0
    for found in (
        run_parallel(best_of_each, parts, n_worker)
        if n_worker > 1
        else (best_of_each(*part) for part in parts)
    ):
        yield from found
        n_done += len(found)
        if time.monotonic() - said > LINE_EVERY_SECONDS:
            said = time.monotonic()
            print(f"found the best sentences of {n_done:,} of {n:,} documents", flush=True)


def best_of_each(
    documents: Sequence[Sequence[str]], references: Sequence[Sequence[str]], language: str, k: int
) -> list[list[int]]:
    """Return the indices of the best sentences of every document, computed in this process."""
    return [
        best_sentences(sentences, own, language, k)
        for sentences, own in zip(documents, references, strict=True)
    ]
