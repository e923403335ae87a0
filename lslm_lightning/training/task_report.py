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
    """Parts of a report that only the task knows; a subclass adds baselines and sections.

    Args:
        task: the trained task that the report is about.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def baselines(self, data: TaskData) -> list[System]:
        """Return systems without training, such as a rule, to score beside the model in a test."""
        return []

    def sections(self, data: TaskData, predictions: Sequence[Prediction]) -> list[Section]:
        """Return the task's own sections of a run's report.

        Args:
            predictions: the model's answers to the test split.
        """
        return []

    @classmethod
    def comparison(
        cls, data: TaskData, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Section]:
        """Return the task's own sections of a report that compares several systems.

        Args:
            outputs: by name of the system, its answers to `data.examples(split)` in that order;
                behind them those to `data.prompts(split)`, where the system was asked.
        """
        return []
