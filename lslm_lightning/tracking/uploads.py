"""Upload of a run's files to MLflow, with a check that all of them arrived."""

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.run_files import (
    AUDIT,
    AUDIT_PAGE,
    BEST,
    CHECKPOINTS,
    CONFIG,
    DATA_SHEET,
    ENERGY,
    ENVIRONMENT,
    METRICS,
    MODEL_CARD,
    PREDICTIONS,
    REPORT,
    SAMPLES,
    TOKENIZER,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

BEST_CHECKPOINT = f"{CHECKPOINTS}/{BEST}"  # a file or a folder
KEPT = (
    CONFIG,
    TOKENIZER,
    ENVIRONMENT,
    METRICS,
    ENERGY,
    AUDIT_PAGE,
    MODEL_CARD,
    DATA_SHEET,
    BEST_CHECKPOINT,
)
FOLDERS = (REPORT, AUDIT, SAMPLES, PREDICTIONS, BEST_CHECKPOINT)
N_TRY = 3  # attempts, for a store that accepts a file but loses part of it


def local_files(directory: Path) -> list[str]:
    """Return the names, relative to the run directory, of the files that belong in MLflow.

    Checkpoints for resuming and predictions of validations are left out.
    """
    found = [name for name in KEPT if (directory / name).is_file()]
    for folder in FOLDERS:
        found += [
            path.relative_to(directory).as_posix()
            for path in sorted((directory / folder).rglob("*"))
            if path.is_file() and not path.name.startswith(".")  # as drafts of files do
        ]
    found = [name for name in found if not links_of(directory / name, directory)]
    return [name for name in found if not re.match(r"predictions/val[.-]", name)]


def links_of(path: Path, root: Path) -> list[Path]:
    """Return the first symbolic link on the path from the folder `root` (excluded) to `path`; if
    there is none, all symbolic links inside the folder `path`.
    """
    folders = [each for each in (path, *path.parents) if each.is_relative_to(root) and each != root]
    if links := [each for each in reversed(folders) if each.is_symlink()]:
        return links[:1]
    return [each for each in sorted(path.rglob("*")) if each.is_symlink()] if path.is_dir() else []


def sizes(client: "MlflowClient", run_id: str, folder: str | None = None) -> dict[str, int | None]:
    """Return the size in bytes of every artifact of a run, by artifact path; None if the store does
    not know a size.

    Args:
        folder: folder of artifacts to list; by default all.
    """
    found: dict[str, int | None] = {}
    for entry in client.list_artifacts(run_id, folder):
        found |= (
            sizes(client, run_id, entry.path) if entry.is_dir else {entry.path: entry.file_size}
        )
    return found


def missing_files(
    client: "MlflowClient", run_id: str, directory: Path, sent: Mapping[str, int]
) -> list[str]:
    """Return the names of those `local_files` that are missing or incomplete in MLflow, or have
    changed since they were sent.

    Args:
        sent: CRC-32 checksum of each file when it was sent, by name.
    """
    there = sizes(client, run_id)

    def is_there(name: str) -> bool:
        path = directory / name
        return (there.get(name) or 0) == path.stat().st_size and (
            name not in sent or sent[name] == checksum(path)
        )

    return [name for name in local_files(directory) if not is_there(name)]


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    running = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            running = zlib.crc32(block, running)
    return running


def upload(client: "MlflowClient", run_id: str, path: Path, folder: str) -> dict[str, int]:
    """Upload a file or folder into `folder` of a run's artifacts, and check that all of it arrived.

    Symbolic links inside a folder are left out.

    Returns:
        CRC-32 checksums by artifact path.

    Raises:
        RuntimeError: the store accepts the files but lacks some of them after `N_TRY` attempts.
    """
    target = f"{folder}/{path.name}".removeprefix("/")
    for _ in range(N_TRY):
        links = links_of(path, path)
        inside = (
            [p for p in path.rglob("*") if p.is_file() and not p.is_symlink()]
            if path.is_dir()
            else []
        )
        files = (
            {f"{target}/{p.relative_to(path).as_posix()}": p for p in inside}
            if path.is_dir()
            else {target: path}
        )
        before = {name: file.stat().st_size for name, file in files.items()}
        sums = {name: checksum(file) for name, file in files.items()}
        if links:
            for name, file in files.items():
                client.log_artifact(run_id, file, name.rpartition("/")[0])
            there = sizes(client, run_id, target)
        elif path.is_dir():
            client.log_artifacts(run_id, str(path), target)
            there = sizes(client, run_id, target)
        else:
            client.log_artifact(run_id, path, folder or None)
            there = {
                entry.path: entry.file_size
                for entry in client.list_artifacts(run_id, folder or None)
            }
        # a file that changed meanwhile is left to the next upload
        short = [
            name
            for name, size in before.items()
            if (there.get(name) or 0) != size and files[name].stat().st_size == size
        ]
        if not short:
            return sums
    name = short[0]
    raise RuntimeError(
        f"the store has {there.get(name) or 0:,} of {before[name]:,} bytes of {name} after "
        f"{N_TRY} attempts"
    )
