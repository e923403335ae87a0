"""Prediction files: JSON Lines with one prediction per line."""

import json
import logging
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Literal, Self, TextIO

from lslm_lightning.contracts import Alternative, Example, OutputsError, Prediction, Token
from lslm_lightning.files import atomic_write
from lslm_lightning.text.json_texts import parse_json
from lslm_lightning.text.surrogates import lone_surrogate

logger = logging.getLogger(__name__)
PARTIAL = ".partial"  # end of the name of an unfinished file
_NUMBER = (int, float)
_NONE = type(None)
_TYPES: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "output": (str, _NONE),
    "nats": (*_NUMBER, _NONE),
    "n_token": (int,),
    "seconds": _NUMBER,
    "unknown": (int,),
    "tokens": (list,),
    "spelling": (*_NUMBER, _NONE),
    "alternatives": (list,),
    "finish_reason": (str, _NONE),
}
_WANTED = {
    (str,): "a string",
    (str, _NONE): "a string or null",
    (int,): "an integer",
    _NUMBER: "a number",
    (*_NUMBER, _NONE): "a number or null",
    (list,): "a list",
}
_DEFAULTS = {field.name: field.default for field in fields(Prediction)}


class PredictionFile:
    """File of predictions that is written line by line and that a later process can continue.

    Lines go to `<path>.partial`, which is renamed to `path` when the `with` block ends without an
    error. `done` holds the predictions of earlier attempts by id; a prediction whose id is in
    `done` is not written again.

    >>> with PredictionFile(path) as file:
    ...     left = [example for example in examples if example.id not in file.done]
    ...     for prediction in system.generate(left):
    ...         file.write(prediction)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.partial = partial_path(self.path)
        self.done: dict[str, Prediction] = {}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and not self.partial.exists():
            os.replace(self.path, self.partial)
        if self.partial.exists():
            content = self.partial.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                _warn_torn(self.partial)
                os.truncate(self.partial, whole)
            self.done = {
                prediction.id: prediction for prediction in _parse(content[:whole], self.partial)
            }
        self._file = _open(self.partial, "a")
        return self

    def write(self, prediction: Prediction) -> None:
        """Write one prediction and flush the file, so that no prediction is lost if this process is
        killed.
        """
        if prediction.id not in self.done:
            self._file.write(_line(prediction))
            self._file.flush()
            self.done[prediction.id] = prediction

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            os.fsync(self._file.fileno())
        if kind is None:
            os.replace(self.partial, self.path)


def write_predictions(path: str | os.PathLike[str], predictions: Iterable[Prediction]) -> None:
    """Replace the contents of the file `path` with these predictions, atomically.

    If an id is repeated, only its first prediction is written.
    """
    first: dict[str, Prediction] = {}
    for prediction in predictions:
        first.setdefault(prediction.id, prediction)
    lines = [_line(prediction) for prediction in first.values()]
    atomic_write(Path(path), "".join(lines))


def read_predictions(path: str | os.PathLike[str]) -> list[Prediction]:
    """Return all predictions of a file in order; if an id is repeated, only its first prediction.

    An incomplete last line, left by a writer that was killed, is dropped with a warning.

    Raises:
        OutputsError: a line is not a prediction; the message names the line and the reason.
    """
    return _parse(Path(path).read_bytes(), path)


def in_order(predictions: Iterable[Prediction], examples: Sequence[Example]) -> list[Prediction]:
    """Return predictions in the order of their examples; those without an example come last."""
    position = {example.id: i for i, example in enumerate(examples)}
    return sorted(predictions, key=lambda p: position.get(p.id, len(position)))


def partial_path(path: Path) -> Path:
    """Return the path of the file that holds the predictions for `path` until all are made."""
    return path.with_name(f"{path.name}{PARTIAL}")


def _open(path: Path, mode: Literal["a", "w"]) -> TextIO:
    return open(path, mode, encoding="utf-8", newline="\n")


def _line(prediction: Prediction) -> str:
    if prediction.output is None and prediction.nats is None:
        raise ValueError(
            f"the system gave prediction {prediction.id!r} with neither output nor nats: "
            "generate() must set output, log_prob() must set nats"
        )
    if prediction.nats is not None and math.isnan(prediction.nats):
        raise ValueError(
            f"prediction {prediction.id!r} has nats=nan: the system failed on this example"
        )
    _check_text(f"prediction {prediction.id!r}", prediction)
    given = {
        name: value
        for name, default in _DEFAULTS.items()
        if (value := getattr(prediction, name)) != default
    }
    return json.dumps(given, ensure_ascii=False) + "\n"


def _check_text(where: str, prediction: Prediction) -> None:
    """Raise ValueError if a text of the prediction has an unpaired surrogate.

    Such a text cannot be encoded and would fail in metrics and reports.

    Args:
        where: start of the error message, such as "prediction 'a1'".
    """
    for text in (
        prediction.id,
        prediction.output or "",
        *(each.output for each in prediction.alternatives),
    ):
        if (i := lone_surrogate(text)) is not None:
            half = f"\\u{ord(text[i]):04x}"
            raise ValueError(
                f"{where} has half a surrogate pair, {half}, at character {i + 1}: no text can "
                "hold it"
            )


def _parse(content: bytes, path: str | os.PathLike[str]) -> list[Prediction]:
    found: dict[str, Prediction] = {}
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            prediction = _prediction(line)
        except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
            if number == len(lines):  # no line end: the writer was killed here
                _warn_torn(path)
                continue
            raise OutputsError(f"{path}, line {number}: {error}") from None
        found.setdefault(prediction.id, prediction)
    return list(found.values())


def _warn_torn(path: str | os.PathLike[str]) -> None:
    logger.warning("%s: the last line is incomplete (interrupted writing) and is dropped", path)


def _prediction(line: bytes) -> Prediction:
    record = parse_json(line.decode("utf-8"))
    if not isinstance(record, dict) or "id" not in record:
        raise ValueError('expected a JSON object with "id" and "output" or "nats"')
    if unknown := record.keys() - _TYPES.keys():
        raise ValueError(f"{sorted(unknown)} is not known; a prediction has {list(_TYPES)}")
    for name, value in record.items():
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            raise ValueError(f"{name}={value!r} must be {_WANTED[_TYPES[name]]}")
    if tokens := record.get("tokens"):
        if not all(
            isinstance(token, list)
            and [type(part) for part in token] in ([int, float, int], [int, int, int])
            for token in tokens
        ):
            raise ValueError(
                f"tokens must be a list of [start, nats, context], but is {json.dumps(tokens)[:80]}"
            )
        record["tokens"] = tuple(Token(*token) for token in tokens)
    if alternatives := record.get("alternatives"):
        if not all(
            isinstance(each, list) and [type(part) for part in each] in ([str, float], [str, int])
            for each in alternatives
        ):
            raise ValueError(
                "alternatives must be a list of pairs [output, minus its log probability in nats], "
                f"but is {json.dumps(alternatives, ensure_ascii=False)[:80]}"
            )
        record["alternatives"] = tuple(Alternative(*each) for each in alternatives)
    prediction = Prediction(**record)
    if prediction.output is None and prediction.nats is None:
        raise ValueError(f"prediction {prediction.id!r} has neither output nor nats; add one")
    if prediction.nats is not None and math.isnan(prediction.nats):
        raise ValueError("nats=NaN is no number")
    _check_text("it", prediction)
    return prediction
