"""Checkpoint files of a run: the best, the last, and the ones to average."""

import json
from collections.abc import Iterable
from pathlib import Path

from lslm_lightning.files import atomic_write
from lslm_lightning.run_files import BEST, LAST
from lslm_lightning.runs.directory import earlier
from lslm_lightning.runs.states import link, remove
from lslm_lightning.training.distributed.checkpoint_io import keep_earlier
from lslm_lightning.types import JsonObject

FINAL = "settled"  # file that says which checkpoint was chosen as the best one after training


class KeptCheckpoints:
    """Paths of the checkpoints in a run's folder, with operations that link, keep and delete them.

    Args:
        directory: folder of the checkpoints.

    Attributes:
        best: path of the best checkpoint by the task's metric.
        last: path of the last checkpoint.
        average: path of the mean of several checkpoints, which exists while it is validated.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.best = directory / BEST
        self.last = directory / LAST
        self.average = directory / "average.ckpt"

    def numbered(self, step: int) -> Path:
        """Return the path under which the checkpoint of a step is kept until checkpoints are
        averaged.
        """
        return self.directory / f"step-{step:08d}.ckpt"

    def steps(self) -> list[Path]:
        """Return the paths of the checkpoints to average, oldest first."""
        return sorted(self.directory.glob("step-*.ckpt"))

    def outdated(self) -> list[Path]:
        """Return the paths of former best checkpoints that were chosen under earlier validation
        settings. They still have to be validated under the current settings.
        """
        return sorted(self.directory.glob("outdated-best*.ckpt"))

    def keep_outdated_best(self) -> None:
        """Keep the best checkpoint, which was chosen under other validation settings, as
        `outdated-best.ckpt` before it is replaced.
        """
        if self.best.exists():
            path = self.directory / "outdated-best.ckpt"
            link(self.best, earlier(path, len(self.outdated())) if path.exists() else path)

    def make_last_best(self, n_kept: int) -> None:
        """Make the last checkpoint the best one.

        Args:
            n_kept: number of best checkpoints to keep, including the new one.
        """
        keep_earlier(self.best, n_kept)
        link(self.last, self.best)

    def adopt_best(self, best: Path) -> None:
        """Take over the best checkpoint `best` of another run, unless this run has a best
        checkpoint.
        """
        if not self.best.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            link(best, self.best)

    def keep_numbered(self, kept: Iterable[Path], step: int, source: Path) -> None:
        """Keep the checkpoint of a step for averaging if its numbered path is in `kept`, and delete
        all numbered checkpoints that are not in `kept`.

        Args:
            kept: numbered paths of the checkpoints to average.
            step: step of the checkpoint at `source`.
            source: path of the checkpoint to link to its numbered path.
        """
        names = set(kept)
        if (path := self.numbered(step)) in names:
            link(source, path)
        for path in set(self.steps()) - names:
            remove(path)

    def write_final(self, record: JsonObject, to_delete: Iterable[Path]) -> None:
        """Write the record of the final choice, and delete the checkpoints that took part in it.

        Args:
            record: step, best score, and the conditions under which the score was measured.
            to_delete: paths of the checkpoints to delete.
        """
        if not self.best.exists():
            link(self.last, self.best)
        atomic_write(self.directory / FINAL, json.dumps(record) + "\n")
        for path in to_delete:
            remove(path)


def final_record(folder: Path) -> JsonObject:
    """Return the record of the final choice in a checkpoint folder: step, best score, and the
    conditions under which the score was measured.

    The record is empty if there is none or the file is damaged; the choice is then made again.
    """
    try:
        record = json.loads((folder / FINAL).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    is_whole = (
        isinstance(record, dict) and "best_score" in record and isinstance(record.get("step"), int)
    )
    return record if is_whole else {}
