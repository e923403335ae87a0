"""Settings that a task and its data module must agree on, set and checked before long work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lslm_lightning.training.checks import longest_answer
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task


class DataRequirements:
    """Requirements of a task on its data module; a subclass adds the ones of its own task.

    Args:
        task: the task that is to read the data.

    Attributes:
        decided: settings of the task that the config left open, with the values chosen for them, to
            be written into config.yaml.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.decided: JsonObject = {}

    def bind(self, data: TaskData) -> None:
        """Pass settings that only the model knows to the data module before it makes batches, such
        as the length of windows. Does nothing by default.
        """

    def check(self, data: TaskData) -> None:
        """Check that the data, to which `bind` has passed the settings, fit the task, before any
        long work.

        Raises:
            ValueError: two settings that must agree do not, or a text is longer than the model can
                read.
        """

    def longest_target(self, data: TaskData) -> int | None:
        """Return the number of tokens of the longest training target, including the end token; None
        if the task writes no such targets.
        """
        return None

    def choose_max_length(self, data: TaskData) -> None:
        """Set the task's `max_length` from the longest training target, if the config
        left it open.
        """
        if self.task.has_open_length and (longest := self.longest_target(data)) is not None:
            limit = longest_answer(longest, self.task.min_length or 0)
            self.restore_max_length({"max_length": limit})

    def restore_max_length(self, settings: Settings) -> None:
        """Set the task's `max_length` to the value of a trained run, if the config left it open.

        Args:
            settings: arguments of the task in the config of that run.
        """
        if self.task.has_open_length and settings.get("max_length"):
            self.task.max_length = settings["max_length"]
            self.decided = {"max_length": self.task.max_length}
