"""Agreement between a task and its data module, made and checked before any long work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lslm_lightning.training.checks import longest_answer
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task


class DataRequirements:
    """Demands of a task on its data module; a subclass adds those of its task.

    Args:
        task: the task that is to read the data.

    Attributes:
        decided: settings of the task that were left open and are decided now, for config.yaml.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.decided: JsonObject = {}

    def bind(self, data: TaskData) -> None:
        """Give the data module what only the model knows, before it makes batches: the length of a
        source to the encoder, for example.
        """

    def check(self, data: TaskData) -> None:
        """Refuse data that do not fit the task, before any long work.

        Raises:
            ValueError: two settings that must agree do not, or a text is longer than the model can
                read.
        """

    def longest_target(self, data: TaskData) -> int | None:
        """Return the number of tokens of the longest training target, the end included; None if
        the task writes no such targets.
        """
        return None

    def choose_max_length(self, data: TaskData) -> None:
        """Set `max_length` of the task by the longest training target, if it was left open."""
        if self.task.has_open_length and (longest := self.longest_target(data)) is not None:
            limit = longest_answer(longest, self.task.min_length or 0)
            self.restore_max_length({"max_length": limit})

    def restore_max_length(self, settings: Settings) -> None:
        """Set `max_length` of the task to the value that a trained run has, if it was left open.

        Args:
            settings: arguments of the task in the config of that run.
        """
        if self.task.has_open_length and settings.get("max_length"):
            self.task.max_length = settings["max_length"]
            self.decided = {"max_length": self.task.max_length}
