"""Files with the predictions of several systems, in one folder."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lslm_lightning.evaluation.predictions import partial_path
from lslm_lightning.experiments.endings import WorkError
from lslm_lightning.files import atomic_write
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.types import JsonObject

LOCK = ".lock"
LOCK_SECONDS = 3.0  # longest wait for the lock; shares of a killed process end sooner


class PredictionFiles:
    """Files with the predictions of several systems, in one folder.

    Each system has `<key>.jsonl` for predictions, `<key>.continuations.jsonl` for continuations of
    prompts, and `<key>.json` for its record: fingerprint, signature, facts.

    Args:
        folder: folder of all files.
        keys: for each system, by name, the stem of its file names, which depends on its settings.
    """

    def __init__(self, folder: Path, keys: Mapping[str, str]) -> None:
        self.folder = folder
        self.keys = keys
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Return the path of a system's predictions."""
        return self.folder / f"{self.keys[name]}.jsonl"

    def continuations(self, name: str) -> Path:
        """Return the path of a system's continuations of prompts."""
        return self.folder / f"{self.keys[name]}.continuations.jsonl"

    def share(self, name: str, index: int, n: int) -> Path:
        """Return the path of the predictions that process number `index` of `n` makes with a
        system.
        """
        return self.folder / f"{self.keys[name]}.{index}-of-{n}.jsonl"

    def record_path(self, name: str) -> Path:
        """Return the path of a system's record: fingerprint, signature, facts."""
        return self.folder / f"{self.keys[name]}.json"

    def record(self, name: str) -> JsonObject:
        """Read the record of a system (fingerprint, signature, facts); empty if there is none."""
        try:
            found = json.loads(self.record_path(name).read_text("utf-8"))
        except (OSError, ValueError):  # none, or torn by a kill
            return {}
        return found if isinstance(found, dict) else {}

    def write_record(self, name: str, record: JsonObject) -> None:
        """Write the record of a system, atomically."""
        text = json.dumps(redacted_settings(record), ensure_ascii=False)
        atomic_write(self.record_path(name), text + "\n")

    def existing(self, name: str) -> list[Path]:
        """Return the paths of all files of a system that exist: predictions, continuations and
        record.
        """
        paths = []
        for path in (self.path(name), self.continuations(name)):
            paths += [path, partial_path(path)]
        return [path for path in [*paths, self.record_path(name)] if path.exists()]

    def set_aside(self, name: str) -> None:
        """Rename all files of a system to *.old."""
        for path in self.existing(name):
            rename_to_old(path)

    @contextmanager
    def exclusive(self, fresh: bool = False) -> Iterator[None]:
        """Lock the folder inside the body of the `with` statement, so that no other process writes
        predictions there.

        Args:
            fresh: first rename all existing files to *.old.

        Raises:
            WorkError: another process holds the lock.
        """
        lock = FileLock(self.folder / LOCK, timeout=LOCK_SECONDS)
        try:
            lock.acquire()
        except Timeout:
            raise WorkError(
                f"another process evaluates in {self.folder.parent}: wait for its end, or stop "
                "it; predictions on disk are not made again"
            ) from None
        try:
            if fresh:
                for path in list(self.folder.iterdir()):
                    if path.suffix != ".old" and path.name != LOCK:
                        rename_to_old(path)
            yield
        finally:
            lock.release()


def rename_to_old(path: Path) -> None:
    """Rename a file to `<name>.<time>.old`."""
    path.rename(path.with_name(f"{path.name}.{time.time_ns()}.old"))
