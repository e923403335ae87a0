"""Log probabilities of given answers, read from JSON Lines or records and scored in batches."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lslm_lightning.contracts import Example, Prediction, Scorer
from lslm_lightning.corpora.rows import language_field
from lslm_lightning.corpora.strict_json import parse
from lslm_lightning.corpora.text_lines import numbered_lines
from lslm_lightning.corpora.values import Number, as_text
from lslm_lightning.runs import FoundRun, RunDirectory
from lslm_lightning.runs.trust import only_trusted, resolve
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.hugging_face import HuggingFaceSystem
from lslm_lightning.types import Json, JsonObject

CHUNK = 256  # records that are scored together
SHAPE = '{"source": ..., "answer": ...} or {"text": ...}'


class GivenAnswers(NamedTuple):
    """Answers to one source, or a text without a source.

    `source` is None for a text without a source; `answers` then contains only this text. `location`
    is the file and line, for messages.
    """

    id: str
    source: str | None
    answers: tuple[str, ...]
    location: str


def read_answers(
    name: str, source: bytes | BinaryIO, columns: Sequence[str]
) -> Iterator[GivenAnswers]:
    """Yield the answers in each line of a JSON Lines file; blank lines are skipped.

    Args:
        name: name of the file, for messages.
        source: contents of the file.
        columns: fields that together replace a missing field "source"; they are joined by line
            ends.

    Raises:
        ValueError: a line is not a valid record; the message names the file and the line.
    """
    for number, line in numbered_lines(name, source):
        if line and not line.isspace():
            location = f"{name}: line {number}"
            yield answers_in(parse(location, line), number, location, columns)


def answers_in(record: Json, number: int, location: str, columns: Sequence[str]) -> GivenAnswers:
    """Return the answers in a record.

    Args:
        number: id for a record that has none.
        location: location of the record, for messages.
        columns: fields that together replace a missing field "source"; they are joined by line
            ends.

    Raises:
        ValueError: the record lacks a field, or has a value of the wrong type.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"{location}: expected {SHAPE}, not {json.dumps(record)[:80]}")
    name = as_text(record["id"], location, "id") if "id" in record else str(number)
    if "answer" in record:
        given = record["answer"]
        several = given if isinstance(given, list | tuple) else [given]
        answers = tuple(text_of(each, "answer", location) for each in several)
        return GivenAnswers(name, source_in(record, columns, location), answers, location)
    if "text" in record:
        return GivenAnswers(name, None, (text_of(record["text"], "text", location),), location)
    raise ValueError(f'{location}: it has no "answer" and no "text"; expected {SHAPE}')


def source_in(record: Mapping[str, Json], columns: Sequence[str], where: str) -> str:
    """Return the source of a record: the field "source", or the joined fields in `columns`.

    Args:
        where: location of the record, for messages.

    Raises:
        ValueError: the record has neither.
    """
    if "source" in record:
        return text_of(record["source"], "source", where)
    if not columns or any(column not in record for column in columns):
        also = f" or {' and '.join(map(repr, columns))}" if columns else ""
        raise ValueError(
            f"{where}: it has an answer and no 'source'{also}; an empty source scores the answer "
            "as a text"
        )
    *titles, text = (text_of(record[column], column, where) for column in columns)
    return "\n".join([*(" ".join(title.split()) for title in titles), text])


def text_of(value: Json, key: str, where: str) -> str:
    """Return the value of a field, which must be text.

    Args:
        key: name of the field, for messages.
        where: location of the record, for messages.

    Raises:
        ValueError: the value is not text.
    """
    if isinstance(value, Number) or not isinstance(value, str):
        shown = value if isinstance(value, Number) else json.dumps(value, default=str)[:80]
        raise ValueError(f"{where}: {key} must be text, not {shown}; put it in quotes")
    return as_text(value, where, key)


class AnswerScorer:
    """Scorer of given answers that uses a trained model.

    Args:
        reference: a run as in `Checkpoint`, or a folder with a causal or sequence-to-sequence model
            of Hugging Face.
        device: "cpu", "cuda", "cuda:1"; "auto" uses a GPU if there is one.
        dtype: "float32", "float64", "bfloat16", ...; "auto" keeps the type of a run's weights, and
            follows `systems.hugging_face.HuggingFaceSystem` for a folder.
        trust: allow a run's config to name classes outside of this project.
        batch_size: number of answers that a model of Hugging Face scores together.

    >>> scorer = AnswerScorer("runs/translation/cldr_demo-1a2b3c4d")
    >>> [found] = scorer.log_prob([{"source": "Monday", "answer": "lundi"}])
    >>> -found.nats, found.n_token
    """

    def __init__(
        self,
        reference: str | Path,
        device: str = "auto",
        dtype: str = "auto",
        trust: bool = False,
        batch_size: int = 16,
    ) -> None:
        self.reference = str(reference)
        self.columns: tuple[str, ...] = ()
        self.system: Scorer
        self._example: Callable[[str, str], Example]
        if is_hugging_face(self.reference):
            folder = str(Path(self.reference).expanduser())
            model = HuggingFaceSystem(folder, batch_size=batch_size, device=device, dtype=dtype)
            self._example = lambda name, source: Example(name, source, ())
            _ = model.loaded
            self.system = model
            return
        run = Checkpoint(self.reference, device=device, trust=trust)
        if dtype != "auto":
            import torch

            run.loaded.task.to(getattr(torch, dtype))
        self._example = run.task.answering.example
        self.columns = source_columns(run.run, run.purposes()[0].languages)
        list(run.log_prob([], []))  # raises CannotError where it scores no answers
        self.system = run

    def log_prob(self, records: Iterable[Mapping[str, Json]]) -> Iterator[Prediction]:
        """Yield one prediction for each answer of each record, in order.

        A prediction has the answer as `output` and the negative log probability as `nats`; see
        `contracts.Scorer`.

        Args:
            records: {"source": ..., "answer": ...}, where "answer" may be a list, or {"text": ...}.
                Instead of "source", a record may have the data columns of the run's task, listed in
                `columns`.

        Raises:
            ValueError: a record is malformed, or cannot be scored; the message names it.
        """
        given = (
            answers_in(record, number, f"record {number}", self.columns)
            for number, record in enumerate(records, 1)
        )
        for _, predictions in self.scored(given):
            yield from predictions

    def scored(
        self, given: Iterable[GivenAnswers]
    ) -> Iterator[tuple[GivenAnswers, list[Prediction]]]:
        """Yield each element of `given` with its predictions, in order.

        Raises:
            ValueError: an element cannot be scored; the message names it. All elements before it
                have been yielded.
        """
        for chunk in chunks(given):
            try:
                found = self._score(chunk)
            except ValueError:  # of one of them: those before it are scored one by one
                for each in chunk:
                    yield each, self._score_alone(each)
                continue
            yield from zip(chunk, found, strict=True)

    def _score_alone(self, given: GivenAnswers) -> list[Prediction]:
        try:
            return self._score([given])[0]
        except ValueError as error:
            raise ValueError(f"{given.location}: {error}") from None

    def _score(self, chunk: Sequence[GivenAnswers]) -> list[list[Prediction]]:
        """Return the predictions of each element of `chunk`, in order."""
        scored: list[list[Prediction]] = [[] for _ in chunk]
        texts: list[Example] = []
        examples: list[Example] = []
        answers: list[tuple[str, ...]] = []
        for i, given in enumerate(chunk):
            if given.source is None:
                texts.append(Example(str(i), "", given.answers))
            else:
                examples.append(self._example(str(i), given.source))
                answers.append(given.answers)
        for prediction in self.system.log_prob(texts) if texts else ():
            scored[int(prediction.id)].append(prediction)
        for prediction in self.system.log_prob(examples, answers) if examples else ():
            scored[int(prediction.id)].append(prediction)
        return scored


def chunks(given: Iterable[GivenAnswers]) -> Iterator[list[GivenAnswers]]:
    """Yield lists of at most `CHUNK` elements.

    If iterating over `given` raises ValueError, the elements before it are yielded first.
    """
    chunk: list[GivenAnswers] = []
    failure = None
    try:
        for each in given:
            chunk.append(each)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
    except ValueError as error:
        failure = error
    if chunk:
        yield chunk
    if failure is not None:
        raise failure


def is_hugging_face(reference: str) -> bool:
    """Return whether a folder holds a model written by `save_pretrained`, and is not a run
    directory.
    """
    folder = Path(reference).expanduser()
    return (folder / "config.json").is_file() and not RunDirectory(folder).config.is_file()


def source_columns(run: FoundRun, languages: tuple[str, str] | None) -> tuple[str, ...]:
    """Return the names of the data columns from which a run's task builds the source.

    The result is empty if they are unknown.

    Args:
        languages: source and target language of the run; None if unknown.
    """
    data = run.config.get("data") or {}
    try:
        with only_trusted():
            columns = tuple(getattr(resolve(data["class_path"]), "source_fields", ()))
    except (ValueError, KeyError):
        return ()
    given = data.get("init_args") or {}
    if not columns and languages is not None and "source_language" in given:
        columns = (language_field(languages[0]),)
    return columns


def as_record(given: GivenAnswers, prediction: Prediction, answer: str) -> JsonObject:
    """Return a scored answer as a JSON object; an infinite value becomes null."""
    nats = prediction.nats
    if nats is not None and not math.isfinite(nats):
        nats = None
    return {
        "id": given.id,
        "answer" if given.source is not None else "text": answer,
        "nats": nats,
        "log_p": None if nats is None else -nats,
        "n_token": prediction.n_token,
        "unknown": prediction.unknown,
    }
