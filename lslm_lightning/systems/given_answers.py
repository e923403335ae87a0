"""Given answers to be scored: read from JSON Lines or records, and given to a model in batches."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.data.rows import language_field
from lslm_lightning.data.strict_json import parse
from lslm_lightning.data.text_lines import numbered_lines
from lslm_lightning.data.values import Number, as_text
from lslm_lightning.runs import find_run
from lslm_lightning.runs.loading import read_config
from lslm_lightning.runs.trust import only_trusted, resolve
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.hugging_face import HuggingFace
from lslm_lightning.systems.purpose import purpose_of_run

CHUNK = 256  # records that are scored before the first of them is given back
SHAPE = '{"source": ..., "answer": ...} or {"text": ...}'


class GivenAnswers(NamedTuple):
    """Answers to one source, or a text alone.

    `source` is None for a text alone, which is then the only answer. `place` is the file and the
    line, for messages.
    """

    id: str
    source: str | None
    answers: tuple[str, ...]
    place: str


def read_answers(
    name: str, source: bytes | BinaryIO, columns: Sequence[str] = ()
) -> Iterator[GivenAnswers]:
    """Read answers from JSON Lines; blank lines are skipped.

    Args:
        name: of the file, for messages.
        columns: names that stand for "source" as well; several are joined by line ends.

    Raises:
        ValueError: a line is no such record, with file and line.
    """
    for number, line in numbered_lines(name, source):
        if line and not line.isspace():
            place = f"{name}: line {number}"
            yield answers_in(parse(place, line), number, place, columns)


def answers_in(record: Any, number: int, place: str, columns: Sequence[str] = ()) -> GivenAnswers:
    """Return the answers that a record holds.

    Args:
        number: stands for its `id` where it has none.
        place: for messages.
        columns: see `read_answers`.

    Raises:
        ValueError: the record lacks something, or has a value of the wrong type.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"{place}: expected {SHAPE}, not {json.dumps(record)[:80]}")
    name = as_text(record["id"], place, "id") if "id" in record else str(number)
    if "answer" in record:
        given = record["answer"]
        several = given if isinstance(given, list | tuple) else [given]
        answers = tuple(text_of(each, "answer", place) for each in several)
        return GivenAnswers(name, source_in(record, columns, place), answers, place)
    if "text" in record:
        return GivenAnswers(name, None, (text_of(record["text"], "text", place),), place)
    raise ValueError(f'{place}: it has no "answer" and no "text"; expected {SHAPE}')


def source_in(record: Mapping[str, Any], columns: Sequence[str], where: str) -> str:
    """Return the source of a record: "source", or the columns that stand for it."""
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


def text_of(value: Any, key: str, where: str) -> str:
    """Return the value of a key, which must be text.

    Raises:
        ValueError: it is no text.
    """
    if isinstance(value, Number) or not isinstance(value, str):
        shown = value if isinstance(value, Number) else json.dumps(value, default=str)[:80]
        raise ValueError(f"{where}: {key} must be text, not {shown}; put it in quotes")
    return as_text(value, where, key)


class AnswerScorer:
    """Scores given answers by a trained model.

    Args:
        reference: a run as `Checkpoint` takes it, or a folder with a causal or a
            sequence-to-sequence model of Hugging Face.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU where there is one.
        dtype: "float32", "float64", "bfloat16", ...; "auto" is that of the weights of a run, and
            for a folder that of `systems.hugging_face.HuggingFace`.
        trust: let a run's config name classes outside of this project.
        batch_size: answers that a model of Hugging Face scores together.

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
        if is_hugging_face(self.reference):
            folder = str(Path(self.reference).expanduser())
            self.system = HuggingFace(folder, batch_size=batch_size, device=device, dtype=dtype)
            self._example = lambda name, source: Example(name, source, ())
            _ = self.system.loaded
            return
        self.system = Checkpoint(self.reference, device=device, trust=trust)
        task = self.system.loaded.task
        if dtype != "auto":
            import torch

            task.to(getattr(torch, dtype))
        self._example = task.example
        self.columns = source_columns(self.system.run)
        list(self.system.log_prob([], []))  # raises CannotError where it scores no answers

    def log_prob(self, records: Iterable[Mapping[str, Any]]) -> Iterator[Prediction]:
        """One prediction for each answer of each record, in order, with the answer as `output` and
        minus its log p as `nats`; see `contracts.Scorer`.

        Args:
            records: {"source": ..., "answer": ...}, where an answer may be a list of several, or
                {"text": ...}; "source" may be called as the task calls it, see `columns`.

        Raises:
            ValueError: a record is none, or cannot be scored; the message names it.
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
        """Each of what was given with its predictions, in order.

        Raises:
            ValueError: one cannot be scored, with its place; those before it were yielded.
        """
        for chunk in chunks(given):
            try:
                found = self._score(chunk)
            except ValueError:  # by one of them: those before it are scored alone
                for each in chunk:
                    yield each, self._score_alone(each)
                continue
            yield from zip(chunk, found, strict=True)

    def _score_alone(self, given: GivenAnswers) -> list[Prediction]:
        try:
            return self._score([given])[0]
        except ValueError as error:
            raise ValueError(f"{given.place}: {error}") from None

    def _score(self, chunk: Sequence[GivenAnswers]) -> list[list[Prediction]]:
        """Predictions of each of these, in order."""
        found: list[list[Prediction]] = [[] for _ in chunk]
        texts = [i for i, each in enumerate(chunk) if each.source is None]
        whole = [Example(str(i), "", chunk[i].answers) for i in texts]
        for prediction in self.system.log_prob(whole) if whole else ():
            found[int(prediction.id)].append(prediction)
        pairs = [i for i, each in enumerate(chunk) if each.source is not None]
        examples = [self._example(str(i), chunk[i].source) for i in pairs]
        answers = [chunk[i].answers for i in pairs]
        for prediction in self.system.log_prob(examples, answers) if examples else ():
            found[int(prediction.id)].append(prediction)
        return found


def chunks(given: Iterable[GivenAnswers]) -> Iterator[list[GivenAnswers]]:
    """Lists of at most `CHUNK`; an error on the way comes after those before it."""
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
    """Return whether a folder holds a model as `save_pretrained` writes it, and no run."""
    folder = Path(reference).expanduser()
    return (folder / "config.json").is_file() and not (folder / "config.yaml").is_file()


def source_columns(reference: str) -> tuple[str, ...]:
    """Columns of the data of a run's task that its source is made of; none where they are not
    known.
    """
    data = read_config(find_run(reference).config).get("data") or {}
    try:
        with only_trusted():
            columns = tuple(getattr(resolve(data["class_path"]), "source_fields", ()))
    except (ValueError, KeyError):
        return ()
    languages = purpose_of_run(reference).languages
    given = data.get("init_args") or {}
    if not columns and languages is not None and "source_language" in given:
        columns = (language_field(languages[0]),)
    return columns


def as_record(given: GivenAnswers, prediction: Prediction, answer: str) -> dict[str, Any]:
    """Return what JSON holds of a scored answer; null where its log p is minus infinity."""
    possible = prediction.nats is not None and math.isfinite(prediction.nats)
    return {
        "id": given.id,
        "answer" if given.source is not None else "text": answer,
        "nats": prediction.nats if possible else None,
        "log_p": -prediction.nats if possible else None,
        "n_token": prediction.n_token,
        "unknown": prediction.unknown,
    }
