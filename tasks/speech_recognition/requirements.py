"""Requirements of speech recognition on its data module."""

import math
from typing import TYPE_CHECKING

from lslm_lightning.training.checks import check_has_validation_score, check_kind
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.data_requirements import DataRequirements
from tasks.speech_recognition.data import SpeechData

if TYPE_CHECKING:
    from tasks.speech_recognition.task import SpeechRecognitionTask


class SpeechRequirements(DataRequirements):
    """Requirements of a `SpeechRecognitionTask` on its data: features from its front end, and
    recordings within the positions of its backbone.
    """

    task: "SpeechRecognitionTask"

    def bind(self, data: TaskData) -> None:
        """Give the data module the front end of the model and, if the model uses CTC, the function
        from frames to encoder vectors.
        """
        task = self.task
        if isinstance(data, SpeechData):
            data.bind_model(
                task.front_end, task.subsampling.out_length if task.ctc_weight else None
            )

    def longest_target(self, data: TaskData) -> int | None:
        if not isinstance(data, SpeechData):
            return None
        return int(data.encoded("train").target.lengths.max(initial=0)) - 1  # without <s>

    def check(self, data: TaskData) -> None:
        data = check_kind(self.task, data, SpeechData)
        check_has_validation_score(self.task, data)
        n_frame = max(
            data.measure(split) for split in ("val", "test") if split in data.corpus.splits
        )
        if self.task.backbone.max_positions is not None:
            self.check_positions(data, n_frame)

    def check_positions(self, data: SpeechData, n_frame: int) -> None:
        """Check that the backbone has enough positions for the longest recording and transcript.

        Args:
            n_frame: frames of the longest recording in validation and test.

        Raises:
            ValueError: a recording or a transcript is longer than the positions of the backbone.
        """
        task = self.task
        slowest = math.ceil(int(data.encoded("train").lengths.max()) / (1 - task.tempo))
        longest = int(task.subsampling.out_length(max(n_frame, slowest)))
        if task.backbone.n_decoder_layer:
            longest = max(
                longest,
                task.max_length + 1,
                *(int(data.encoded(split).target.lengths.max()) - 1 for split in ("train", "val")),
            )
        limit = task.backbone.max_positions
        if limit is not None and limit < longest:
            raise ValueError(
                f"max_length={limit} of the backbone's positions must be at least {longest}, for "
                "the longest recording at the slowest tempo and the longest transcript; raise it, "
                "or the stride of model.subsampling, or lower model.max_length"
            )
