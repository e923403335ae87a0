"""Demands of extractive question answering on its data."""

from typing import TYPE_CHECKING

from lslm_lightning.training.checks import check_has_validation_score, check_kind
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.data_requirements import DataRequirements
from lslm_lightning.training.shared_settings import share_settings
from tasks.question_answering.extractive.data import SpanData

if TYPE_CHECKING:
    from tasks.question_answering.extractive.task import SpanTask


class SpanRequirements(DataRequirements):
    """Requirements of a `SpanTask` on its data: the same windows as the task, within the positions
    of its encoders.
    """

    task: "SpanTask"

    def bind(self, data: TaskData) -> None:
        if isinstance(data, SpanData):
            reader = self.task.reader
            words = {"overlap_features": reader.overlap_features, "whole_words": reader.whole_words}
            share_settings(data, {**vars(self.task.sizes), **words})

    def check(self, data: TaskData) -> None:
        task = self.task
        data = check_kind(task, data, SpanData)
        check_has_validation_score(task, data)
        networks = {
            "backbone": task.backbone,
            "flow.modelling": getattr(task.flow, "modelling", None),
        }
        most = task.sizes.max_length
        for name, network in networks.items():
            if (
                network is not None
                and network.max_positions is not None
                and network.max_positions < most
            ):
                raise ValueError(
                    f"max_length={network.max_positions} of the positions of {name} must be at "
                    f"least max_length={most}, the maximal number of tokens of a window; raise it, "
                    "or lower that of the windows"
                )
