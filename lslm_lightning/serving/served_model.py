"""Models of a server: what they can do, and how they answer requests."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from lslm_lightning.audio.front_end import Frames
from lslm_lightning.contracts import CannotError, Example
from lslm_lightning.experiments.generation import SearchSettings, apply_settings
from lslm_lightning.runs.loading import LoadedRun
from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.serving.prompt_tokens import SOURCE_TOKENS, check_source
from lslm_lightning.serving.protocol import (
    EngineRequest,
    Event,
    Refusal,
    ScoredAnswer,
    ScoredAnswers,
    ScoreRequest,
    ServedModelInfo,
    ServingError,
)
from lslm_lightning.serving.writing import Limits
from lslm_lightning.systems.purpose import languages_of_answers, purpose_of
from lslm_lightning.text.prompts import Prompt
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask

if TYPE_CHECKING:
    from lslm_lightning.systems.trained_task import ScoringTask
    from lslm_lightning.training.task import Task

SCORED_TOKENS = 16_384  # of one text that is scored
OPTION = re.compile("--([a-z]+(?:-[a-z]+)*)")  # of the command line


class ServedModel(ABC):
    """Trained model that answers requests.

    Args:
        name: name by which requests call it.
        run: reference of the run, as the user gave it.
        loaded: run with its weights on the device.

    Attributes:
        info: description for clients.
    """

    def __init__(self, name: str, run: str, loaded: LoadedRun) -> None:
        self.name = name
        self.task = cast("Task", loaded.task)
        self.tokenizer = loaded.tokenizer
        self.languages = languages_of_answers(loaded.directory, loaded.config)
        self.info = self._info(run, loaded)

    def _info(self, run: str, loaded: LoadedRun) -> ServedModelInfo:
        task = self.task
        abilities = set(self.abilities())
        if hasattr(task, "log_prob"):
            abilities.add("log_prob")
        prompt = getattr(task, "prompt", None)
        if isinstance(prompt, Prompt) and prompt.chat_template:
            abilities.add("chat")
        if task.finds_n_best:
            abilities.add("n_best")
        source, target = self.languages or (None, None)
        front_end = getattr(task, "front_end", None)
        modality = "frames" if isinstance(front_end, Frames) else "audio"
        if task.modality == "text":
            modality = "text"
        return ServedModelInfo(
            self.name,
            run,
            purpose_of(loaded.directory, loaded.config).task,
            frozenset(abilities),
            source,
            target,
            modality,
            task.max_length,
            self.max_context,
            self.tokenizer.vocab_size,
            task.model_info.n_parameter,
            int(loaded.checkpoint.stat().st_mtime),
            str(loaded.directory.path.absolute()),
        )

    @abstractmethod
    def abilities(self) -> Iterator[str]:
        """Yield the abilities of `ServedModelInfo` that depend on how it answers."""

    @property
    def max_context(self) -> int | None:
        """Most tokens of a prompt or source that it reads; None for no limit."""
        for name in ("max_context", "max_source_length"):
            if (found := getattr(self.task, name, None)) is not None:
                return int(found)
        return None

    @property
    @abstractmethod
    def n_waiting(self) -> int:
        """Number of requests that wait."""

    @property
    @abstractmethod
    def n_running(self) -> int:
        """Number of requests that are being answered."""

    @property
    def n_row(self) -> int:
        """Number of rows of its batches."""
        return 0

    @property
    def is_busy(self) -> bool:
        """True while it has something to do."""
        return self.n_waiting + self.n_running > 0

    @abstractmethod
    def take(self, request: EngineRequest) -> None:
        """Begin a request.

        Raises:
            ServingError: the request cannot be answered.
        """

    @abstractmethod
    def cancel(self, id: int) -> None:
        """Drop a request; do nothing if it is not known."""

    @abstractmethod
    def work(self) -> list[Event]:
        """Do a part of what there is to do: a token of each running answer, or a whole request.
        Return the events for clients.
        """

    @abstractmethod
    def fail(self, message: str) -> list[Event]:
        """Refuse all requests, after an error that is nobody's in particular."""

    def example(self, text: str) -> Example:
        """Return the example of a text, in the languages of the run's own test."""
        try:
            found = self.task.answering.example("request", text)
        except OSError as error:
            raise ServingError(str(error), parameter="file") from None
        if self.languages is None:
            return found
        source, target = self.languages
        return replace(found, source_language=source, language=target)

    @contextmanager
    def set_up(self, settings: SearchSettings, n: int) -> Iterator[Limits]:
        """Give the task the search of a request; the one of the run returns at the end.

        Args:
            n: number of answers.

        Raises:
            ServingError: a setting is out of range, or does not apply to the task or its search.
        """
        task = self.task
        before = (task.search, task.max_length, getattr(task, "min_length", None))
        try:
            try:
                if settings.fusion is not None:
                    raise ValueError("fusion is no setting of a request; leave it out")
                check_magnitudes(vars(settings))
                apply_settings(task, settings, n)
            except ValueError as error:
                raise ServingError(as_field(str(error))) from None
            yield Limits(task.search, task.max_length or 0, getattr(task, "min_length", 0) or 0)
        finally:
            task.search, task.max_length = before[:2]
            if before[2] is not None:
                task.min_length = before[2]

    def score(self, request: ScoreRequest) -> ScoredAnswers:
        """Return the log probabilities of given answers.

        Raises:
            ServingError: the model gives none, or a text is too long.
        """
        if "log_prob" not in self.info.abilities:
            raise ServingError(
                f"model={self.name!r} gives no log probabilities; ask for answers", "unsupported"
            )
        task = cast("ScoringTask", self.task)
        if request.source is not None:
            self._check_scored(request.source, SCORED_TOKENS)
            if isinstance(self.task, SequenceToSequenceTask):
                [ids] = self.task.read([self.example(request.source)])
                check_source(len(ids), self.task.backbone.max_positions)
        is_decoded = isinstance(self.task, SequenceToSequenceTask)
        for text in request.answers:
            self._check_scored(text, SOURCE_TOKENS if is_decoded else SCORED_TOKENS)
        try:
            if request.source is None:
                examples = [
                    replace(self.example(""), id=str(i), references=(text,))
                    for i, text in enumerate(request.answers)
                ]
                found = list(task.log_prob(examples))
            else:
                example = self.example(request.source)
                found = list(task.log_prob([example], [list(request.answers)]))
        except CannotError as error:
            raise ServingError(f"{error}; give a source", "unsupported", "source") from None
        except ValueError as error:
            kind = "too_long" if "tokens" in str(error) else "invalid"
            raise ServingError(str(error), kind) from None
        scores = [ScoredAnswer(-(p.nats or 0.0), p.n_token) for p in found]
        return ScoredAnswers(request.id, tuple(scores))

    def _check_scored(self, text: str, most: int) -> None:
        """Check the length of a text to score.

        Raises:
            ServingError: it has more than `most` tokens.
        """
        if (n := len(self.tokenizer.encode(text))) > most:
            message = f"a text has {n:,} tokens, and at most {most:,} are scored at once"
            raise ServingError(f"{message}; score it in parts", "too_long")


def refusal(request: EngineRequest, error: ServingError) -> Refusal:
    """Return the event that refuses a request."""
    return Refusal(request.id, str(error), error.kind, error.parameter)


def one_line(error: Exception) -> str:
    """Return the message of an error as one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def as_field(message: str) -> str:
    """Return a message with the names of requests' fields in place of command-line options."""
    return OPTION.sub(lambda option: option[1].replace("-", "_"), message)
