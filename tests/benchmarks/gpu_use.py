"""What training takes of a GPU."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from lslm_lightning.training.task import Task


class GpuUse(Callback):
    """The most that tensors take at once, and the speed, both after the steps that settle.

    Args:
        output: JSON is written here at the end: {"bytes", "tokens_per_second"}.
    """

    def __init__(self, output: str, n_settling: int) -> None:
        self.output = Path(output)
        self.n_settling = n_settling
        self._n_token = 0
        self._began = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._n_token += batch.n_token
        if batch_idx + 1 == self.n_settling:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._n_token = 0
            self._began = time.perf_counter()

    def on_train_end(self, trainer: Trainer, task: Task) -> None:
        torch.cuda.synchronize()
        speed = self._n_token / (time.perf_counter() - self._began)
        self.output.write_text(
            json.dumps({"bytes": torch.cuda.max_memory_allocated(), "tokens_per_second": speed})
        )
