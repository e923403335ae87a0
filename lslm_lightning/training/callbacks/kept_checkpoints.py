"""The checkpoint files of a run, by the role that each has."""

import json
from collections.abc import Iterable
from pathlib import Path

from lslm_lightning.files import atomic_write
from lslm_lightning.runs.directory import earlier
from lslm_lightning.runs.states import link, remove
from lslm_lightning.training.distributed.checkpoint_io import keep_earlier
from lslm_lightning.types import JsonObject

FINAL = "settled"  # file that says which checkpoint was chosen as the best one after training


class KeptCheckpoints:
    """Paths of the checkpoints in a run's folder, with operations that link, keep and delete them.

    Attributes:
        best: path of the best checkpoint by the task's metric.
        last: path of the last checkpoint.
        average: path of the mean of several ones, while it is validated.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.best = directory / "best.ckpt"
        self.last = directory / "last.ckpt"
        self.average = directory / "average.ckpt"

    def numbered(self, step: int) -> Path:
        """Return the path of the checkpoint of a step that is to be averaged."""
        return self.directory / f"step-{step:08d}.ckpt"

    def steps(self) -> list[Path]:
        """Return the checkpoints to be averaged, oldest first."""
        return sorted(self.directory.glob("step-*.ckpt"))

    def outdated(self) -> list[Path]:
        """Return the best checkpoints by earlier validation settings, which are still to be
        validated by the current ones.
        """
        return sorted(self.directory.glob("outdated-best*.ckpt"))

    def keep_outdated_best(self) -> None:
        """Keep a best checkpoint chosen by other validation settings under another name, before it
        is replaced.
        """
        if self.best.exists():
            path = self.directory / "outdated-best.ckpt"
            link(self.best, earlier(path, len(self.outdated())) if path.exists() else path)

    def make_last_best(self, n_kept: int) -> None:
        """Make the last checkpoint the best one, and keep n_kept - 1 of the best before it."""
        keep_earlier(self.best, n_kept)
        link(self.last, self.best)

    def adopt_best(self, best: Path) -> None:
        """Start with the best checkpoint of another run, unless there is one."""
        if not self.best.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            link(best, self.best)

    def keep_numbered(self, kept: Iterable[Path], step: int, source: Path) -> None:
        """Keep `source` under the number of its step, if that is one of `kept`, and delete numbered
        checkpoints that are not.
        """
        names = set(kept)
        if (path := self.numbered(step)) in names:
            link(source, path)
        for path in set(self.steps()) - names:
            remove(path)

    def write_final(self, record: JsonObject, to_delete: Iterable[Path]) -> None:
        """Record the final choice, and delete the checkpoints that it was made from."""
        if not self.best.exists():
            link(self.last, self.best)
        atomic_write(self.directory / FINAL, json.dumps(record) + "\n")
        for path in to_delete:
            remove(path)


def final_record(folder: Path) -> JsonObject:
    """Return the record of the final choice in a checkpoint folder: its step, the best score, and
    what that was measured on.

    Empty if there is none or the file is damaged; the choice is then made again.
    """
    try:
        record = json.loads((folder / FINAL).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and "best_score" in record else {}
