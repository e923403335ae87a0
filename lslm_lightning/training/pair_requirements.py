"""Requirements of tasks that read one text and write another on their data."""

from typing import TYPE_CHECKING

from lslm_lightning.training.checks import check_has_validation_score, check_kind
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.data_requirements import DataRequirements
from lslm_lightning.training.pair_data import PairData
from lslm_lightning.training.shared_settings import share_settings

if TYPE_CHECKING:
    from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask


class SequenceToSequenceRequirements(DataRequirements):
    """Requirements of a `SequenceToSequenceTask`: texts fit into the positions of its backbone."""

    task: "SequenceToSequenceTask"

    def bind(self, data: TaskData) -> None:
        if not isinstance(data, PairData):
            return
        share_settings(data, {"prompt": self.task.prompt})
        if not data.truncate:
            return
        longest = self.task.max_source_length
        if longest is None:
            raise ValueError(
                "model.max_source_length=None does not fit data.truncate=true, which cuts sources "
                f"where the model stops reading: set max_source_length={data.max_source_length} of "
                "the model"
            )
        share_settings(data, {"max_source_length": longest})

    def longest_target(self, data: TaskData) -> int | None:
        if not isinstance(data, PairData):
            return None
        return int(data.encoded("train").target.lengths.max(initial=0)) - 1  # without <s>

    def check(self, data: TaskData) -> None:
        task = self.task
        data = check_kind(task, data, PairData)  # type: ignore[type-abstract]  # never built
        if task.monitor != "val/loss":
            check_has_validation_score(task, data)
        limit = task.backbone.max_positions
        splits = [s for s in ("val", "test") if s in data.corpus.splits and limit]
        lengths = [len(ids) for split in splits for ids in task.read(data.examples(split))]
        longest = max(
            [*lengths, task.max_length + 1, data.max_source_length, data.max_target_length + 1]
        )
        if limit and longest > limit:
            raise ValueError(
                f"max_length={limit} of the backbone's positions is below the {longest} tokens of "
                "the longest text; raise it, or lower model.max_source_length, model.max_length "
                "and those of data"
            )
