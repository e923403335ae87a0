"""Our Trainer and plain loops in one process, by turns over the same batches."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from lslm_lightning.training.task import Task
from tests.benchmarks.loop import Loop


class Alternation(Callback):
    """After every `window` steps of the Trainer each loop takes the same batches; all are timed.

    The Trainer's time is all that passes between two turns of the loops: data, callbacks, logger
    and progress bar are in it. The loops are given their batches ready made.

    Args:
        loops: by name.
        output: JSON is written here at the end: {"tokens", "ours"} and the names of the loops, each
            a list of a number a window, times in seconds. Tokens are real ones, of source and
            target.
        n_settling: windows that warm up and are left out.
    """

    def __init__(
        self, loops: dict[str, Loop], output: str, window: int = 50, n_settling: int = 1
    ) -> None:
        self.loops = loops
        self.output = Path(output)
        self.window = window
        self.n_settling = n_settling
        self._batches: list[Any] = []
        self._rows: list[dict[str, float]] = []
        self._since = 0.0

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        for loop in self.loops.values():
            loop.precision = str(trainer.precision)
            loop.begin(task)
        self._since = now()

    def on_train_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches.append(batch)
        if len(self._batches) == self.window:
            times = {"ours": now() - self._since}
            for name, loop in self.loops.items():
                turn = now()
                for each in self._batches:
                    loop.step(each)
                times[name] = now() - turn
            n_token = sum(each.n_token + each.n_source_token for each in self._batches)
            self._rows.append({"tokens": n_token, **times})
            self._batches = []
            self._since = now()

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        rows = self._rows[self.n_settling :]
        self.output.write_text(json.dumps({name: [row[name] for row in rows] for name in rows[0]}))


def now() -> float:
    """Seconds, when all that was asked of a GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
