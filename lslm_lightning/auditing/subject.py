"""The run that an audit measures: its model, training texts, test examples and predictions."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property

from lslm_lightning.auditing.masking import masked
from lslm_lightning.auditing.settings import USUAL, AuditSettings
from lslm_lightning.auditing.suffix_array import SuffixArray
from lslm_lightning.auditing.writing import WrittenText, kept_samples, write_samples
from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.run_files import AUDIT
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.purpose import purpose_of
from lslm_lightning.text.personal_data import PersonalDataFinder, Redaction
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.language_model import LanguageModel
from lslm_lightning.training.task import Task
from lslm_lightning.types import JsonObject

SPLIT = "test"
SAMPLES = ".samples.json"  # hidden, so that it is not uploaded: it may repeat training texts


class AuditSubject:
    """Trained run that an audit measures. Everything is loaded when it is first used.

    Args:
        system: model of the run; `system.task` is the task with its weights.
        data: data module of the run; None if its corpus is not on this machine.
        without_data: sentence that says why there is no data module; "" if there is one.
        settings: settings of the audit.
    """

    def __init__(
        self,
        system: Checkpoint,
        data: TaskData | None,
        without_data: str = "",
        settings: AuditSettings = USUAL,
    ) -> None:
        self.system = system
        self.data = data
        self.without_data = without_data
        self.settings = settings

    @property
    def directory(self) -> RunDirectory:
        """Directory of the run."""
        return self.system.run.directory

    @property
    def config(self) -> JsonObject:
        """Configuration of the run."""
        return self.system.run.config

    @cached_property
    def task_name(self) -> str:
        """Name of the task, such as "translation"; "" for a task outside of this project."""
        return purpose_of(self.directory, self.config).task or ""

    @property
    def mode(self) -> str:
        """Ability that the task's evaluation needs, "generate" or "log_prob"; "" without data."""
        return self.data.mode if self.data is not None else ""

    @cached_property
    def training_texts(self) -> list[str] | None:
        """All texts that the model was trained on, sources and targets; None if they are not on
        this machine.
        """
        return None if self.data is None else self.data.available_training_texts

    @cached_property
    def training_index(self) -> SuffixArray:
        """Suffix array of the training texts, which takes a second for each million characters."""
        return SuffixArray(self.training_texts or [])

    @property
    def task(self) -> Task:
        """Task of the run, with its weights."""
        task = self.system.loaded.task
        assert isinstance(task, Task)
        return task

    @cached_property
    def redaction(self) -> Redaction:
        """Replacement of personal data, among them the names of the settings."""
        return Redaction(PersonalDataFinder(names=self.settings.names))

    def masked(self, text: str) -> str:
        """Return the beginning of a text for a report, without the personal data that the rules
        find, among them the names of the settings; see `masking.masked`.
        """
        return masked(self.redaction(text))

    def samples(self, progress: Callable[[float], None] = lambda share: None) -> list[WrittenText]:
        """Return texts that the model writes without a prompt, which are made once and kept in the
        run directory; see `writing.write_samples`. Only for language models.

        Args:
            progress: told the share that is written.
        """
        task = self.task
        assert isinstance(task, LanguageModel)
        n, seed = self.settings.n_sample, self.settings.seed
        return kept_samples(
            self.directory.path / AUDIT / SAMPLES,
            f"{self.system.fingerprint()} {n} {seed}",
            lambda: write_samples(task, n, seed, progress),
        )

    @cached_property
    def test_examples(self) -> Sequence[Example]:
        """Examples of the test split; empty if they are not on this machine."""
        if self.data is None:
            return []
        try:
            return self.data.examples(SPLIT)
        except (ValueError, OSError):
            return []

    @cached_property
    def predictions(self) -> Sequence[Prediction]:
        """Recorded predictions for the test split, in any order; empty before a test."""
        path = self.directory.predictions / f"{SPLIT}.jsonl"
        return read_predictions(path) if path.exists() else []

    @cached_property
    def language(self) -> str:
        """BCP 47 code of the texts that the model writes; "und" if it is unknown."""
        examples = self.test_examples
        return examples[0].language if examples else "und"

    @cached_property
    def identity(self) -> str:
        """Digest of the weights, the data, the recorded predictions, the seed and the names that
        examples must not show, on which every finding depends.
        """
        digests: dict[str, str | None] = {"weights": self.system.fingerprint()}
        for split in ("train", SPLIT):
            try:
                digests[split] = None if self.data is None else self.data.digest(split)
            except (ValueError, OSError):
                digests[split] = None
        path = self.directory.predictions / f"{SPLIT}.jsonl"
        content = path.read_bytes() if path.exists() else b""
        digests["predictions"] = hashlib.sha256(content).hexdigest()
        names = sorted(set(self.settings.names))
        found = {**digests, "seed": self.settings.seed, "names": names}
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
