"""Files of a run in MLflow's store: sent, and looked at there."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEPT = ("config.yaml", "tokenizer.json", "environment.txt", "metrics.json", "checkpoints/best.ckpt")
FOLDERS = ("report", "samples", "predictions", "checkpoints/best.ckpt")
N_TRY = 3  # for a store that takes files and has others afterwards


class UploadError(ConnectionError):
    """What the store has is not what was sent; to send it again may help."""


def local_files(directory: Path) -> list[str]:
    """Of a run's directory, those that MLflow is to have, by their names inside: all but the states and the answers of validations."""
    found = [name for name in KEPT if (directory / name).is_file()]
    for folder in FOLDERS:
        found += [path.relative_to(directory).as_posix() for path in sorted((directory / folder).rglob("*")) if path.is_file()]
    return [name for name in found if not name.rpartition("/")[2].startswith("val-step-")]


def sizes(client: "MlflowClient", run_id: str, folder: str | None = None) -> dict[str, int]:
    """Bytes of every artifact of a run, or of those in a folder of it."""
    found: dict[str, int] = {}
    for entry in client.list_artifacts(run_id, folder):
        found |= sizes(client, run_id, entry.path) if entry.is_dir else {entry.path: entry.file_size}
    return found


def upload(client: "MlflowClient", run_id: str, path: Path, folder: str) -> Callable[[], None]:
    """What sends a file, or a folder with all in it, into `folder` of a run's artifacts and looks whether all of it is there.

    Raises, when it is called:
        UploadError: it is not, at the first tries.
        RuntimeError: it is not, at the last.
    """
    tries, target = 0, f"{folder}/{path.name}".removeprefix("/")

    def send() -> None:
        nonlocal tries
        tries += 1
        files = (
            {f"{target}/{p.relative_to(path).as_posix()}": p for p in path.rglob("*") if p.is_file()} if path.is_dir() else {target: path}
        )
        before = {name: file.stat().st_size for name, file in files.items()}
        if path.is_dir():
            client.log_artifacts(run_id, path, target)
        else:
            client.log_artifact(run_id, path, folder or None)
        there = sizes(client, run_id, target if path.is_dir() else folder or None)
        for name, size in before.items():
            if there.get(name) != size and files[name].stat().st_size == size:  # else it has changed here meanwhile
                words = f"of {name} it has {there.get(name, 0):,} of {size:,} bytes"
                raise UploadError(words) if tries < N_TRY else RuntimeError(f"{words}, after {tries} tries")

    return send
