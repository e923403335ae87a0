"""Evaluation of speech recognition: recordings named by the user, baselines, and report
sections.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.contracts import Example, Prediction, System
from lslm_lightning.systems.baselines import most_frequent
from lslm_lightning.training.answering import Answering
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.task_report import Section, TaskReport
from tasks.speech_recognition.data import SpeechData, Utterance

if TYPE_CHECKING:
    from tasks.speech_recognition.task import SpeechRecognitionTask


class SpeechAnswering(Answering):
    """Answers of a `SpeechRecognitionTask`: transcripts of recordings."""

    task: "SpeechRecognitionTask"

    @classmethod
    def example(cls, id: str, text: str) -> Example:
        """Return the recording in the file named `text`.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        if not Path(text).is_file():
            raise FileNotFoundError(
                f"{text!r} is no file: give the name of a sound file, or of a file of features"
            )
        return Utterance(id, text, (), read=Path(text).read_bytes)

    def benchmark_step(self, examples: Sequence[Example]) -> None:
        task = self.task
        targets = task.tokenizer.encode_targets([e.references[0] for e in examples])
        longest = max(map(len, targets)) + 1
        task.decode(
            task.encode_examples(examples), task.validation_search, min(longest, task.max_length)
        )


class SpeechReport(TaskReport):
    """Baselines and report sections of speech recognition."""

    task: "SpeechRecognitionTask"

    def baselines(self, data: TaskData) -> list[System]:
        assert isinstance(data, SpeechData)
        if "train" not in data.corpus.splits:
            return []
        return [most_frequent(list(data.transcripts("train")))]

    def sections(self, data: TaskData, predictions: Sequence[Prediction]) -> list[Section]:
        from tasks.speech_recognition.report import sections

        assert isinstance(data, SpeechData)
        return sections(self.task, data, predictions)

    @classmethod
    def comparison(
        cls, data: TaskData, split: str, outputs: Mapping[str, Sequence[Prediction]]
    ) -> list[Section]:
        from tasks.speech_recognition.report import compared

        assert isinstance(data, SpeechData)
        return compared(data.examples(split), outputs)
