"""Our Trainer and a plain loop in one process, by turns over the same batches."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from lslm_lightning.training.task import Task
from tests.benchmarks.loop import Loop


class Alternation(Callback):
    """After every `window` steps of the Trainer the loop takes the same batches; both are timed.

    The Trainer's time is all that passes between two turns of the loop: data, callbacks, logger and
    progress bar are in it. The loop is given its batches ready made.

    Args:
        output: JSON is written here at the end: {"tokens", "ours", "theirs"}, lists of a number a
            window, times in seconds. Tokens are real ones, of source and target.
        n_settling: windows that warm up and are left out.
    """

    def __init__(self, loop: Loop, output: str, window: int = 50, n_settling: int = 1) -> None:
        self.loop = loop
        self.output = Path(output)
        self.window = window
        self.n_settling = n_settling
        self._batches: list[Any] = []
        self._rows: list[tuple[int, float, float]] = []
        self._since = 0.0

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self.loop.precision = str(trainer.precision)
        self.loop.start(task.tokenizer)
        self._since = now()

    def on_train_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches.append(batch)
        if len(self._batches) == self.window:
            turn = now()
            for each in self._batches:
                self.loop.step(each)
            n_token = sum(each.n_token + each.n_source_token for each in self._batches)
            self._rows.append((n_token, turn - self._since, now() - turn))
            self._batches = []
            self._since = now()

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        tokens, ours, theirs = zip(*self._rows[self.n_settling :], strict=True)
        self.output.write_text(json.dumps({"tokens": tokens, "ours": ours, "theirs": theirs}))


def now() -> float:
    """Seconds, when all that was asked of a GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
