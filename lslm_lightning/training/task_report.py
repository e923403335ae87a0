"""Baselines and sections that a task adds to the report of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from lslm_lightning.contracts import Prediction, System

if TYPE_CHECKING:
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task

Section: TypeAlias = Any  # `reports.blocks.Section`, which only reports may import


class TaskReport:
    """Baselines and sections that only this task adds to reports. There are none by default; a
    subclass adds them.

    Args:
        task: the trained task that the report is about.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def baselines(self, data: TaskData) -> list[System]:
        """Return untrained systems, such as a rule, that a test scores beside the model."""
        return []

    def sections(self, data: TaskData, predictions: Sequence[Prediction]) -> list[Section]:
        """Return the sections that only this task adds to the report of a run.

        Args:
            predictions: the model's answers to `data.examples("test")`, in the same order.
        """
        return []

    @classmethod
    def comparison(
        cls, data: TaskData, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Section]:
        """Return the sections that only this task adds to a report that compares several systems.

        Args:
            outputs: answers of each system by its name: first the answers to
                `data.examples(split)`, in the same order, then those to `data.prompts(split)`, if
                the system was given the prompts.
        """
        return []
