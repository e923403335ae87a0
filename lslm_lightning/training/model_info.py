"""Name, size and files of the model of a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.optim import n_parameter
from lslm_lightning.training.adapted import trained_parameters
from lslm_lightning.types import StateDict

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task


class ModelInfo:
    """Name, size and files of a neural model; a task with another kind of model has a subclass.

    Args:
        task: the task that has the model.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    @property
    def name(self) -> str:
        """Kind of the model, such as "Transformer"."""
        return type(self.task.backbone).__name__

    @property
    def n_parameter(self) -> int:
        """Number of scalar parameters, those of an adapter's frozen base included."""
        return n_parameter(self.task.parameters())

    @property
    def n_trainable(self) -> int:
        """Number of scalar parameters that are learned from the training split."""
        adapter = self.task.adapter
        return self.n_parameter if adapter is None else n_parameter(trained_parameters(self.task))

    @property
    def n_byte(self) -> int:
        """Size of the parameters in memory, in bytes."""
        return sum(p.numel() * p.element_size() for p in self.task.parameters())

    def files(self, folder: Path) -> list[Path]:
        """Return the files or folders, beside the checkpoints, in which a part of the model is
        stored; by default none.

        Args:
            folder: folder of the checkpoints.
        """
        return []

    def load_files(self, checkpoint: StateDict, folder: Path) -> None:
        """Load the part of the model that is stored in `files(folder)`. Does nothing by default.

        Args:
            checkpoint: content of the checkpoint file.
            folder: folder of the checkpoints.

        Raises:
            ValueError: a file is missing or damaged.
        """
