"""Training with and without tracking by turns, in one process."""

import json
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from lslm_lightning.tracking import Tracker
from lslm_lightning.training.task import Task


class TrackingByTurns(Callback):
    """Blocks of steps without any logger, and between them blocks with a Tracker each.

    The command's own Tracker ends before the first step. A Tracker of a block makes an MLflow run
    of its own, in a folder of the run directory; it starts before the first step of the block and
    ends, all delivered, after the last. The steps that settle a block are logged but not timed:
    when the others begin, points are on their way as in the middle of a long run.

    Args:
        output: JSON is written here at the end: {"plain": ..., "tracked": ...}, each {"mean",
            "median"}, lists of a number a block, in seconds a step, and "directories", of the
            tracked blocks. There is one plain block more.
    """

    def __init__(self, output: str, n_turn: int, n_settling: int, n_timed: int) -> None:
        self.output = Path(output)
        self.n_turn = n_turn
        self.n_settling = n_settling
        self.n_timed = n_timed
        self._blocks: list[list[float]] = []  # seconds of each timed step
        self._ends: list[float] = []  # of the steps of this block
        self._trackers: list[Tracker] = []

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self._command = trainer.loggers[0]
        self._command.end("FINISHED")
        trainer.loggers = []

    def on_train_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._ends.append(time.perf_counter())
        if len(self._ends) == self.n_settling + self.n_timed:
            timed = self._ends[self.n_settling - 1 :]
            self._blocks.append([b - a for a, b in pairwise(timed)])
            self._ends = []
            self._change(trainer)

    def _change(self, trainer: Trainer) -> None:
        """From a plain block to a tracked one, or back; the step that ends now is logged after
        this.
        """
        if trainer.loggers:
            self._trackers[-1].end("FINISHED")
            trainer.loggers = []
        elif len(self._trackers) < self.n_turn:
            own = self._command
            directory = own.directory / f"tracked-{len(self._trackers)}"
            directory.mkdir()
            self._trackers.append(
                Tracker(own.task, f"{own.name}-{directory.name}", directory, own.store.uri)
            )
            self._trackers[-1].start()
            trainer.loggers = [self._trackers[-1]]

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        found: dict[str, Any] = {
            "directories": [str(tracker.directory) for tracker in self._trackers]
        }
        for name, blocks in (("plain", self._blocks[::2]), ("tracked", self._blocks[1::2])):
            found[name] = {
                "mean": [*map(statistics.fmean, blocks)],
                "median": [*map(statistics.median, blocks)],
            }
        self.output.write_text(json.dumps(found))
