"""Loader of MLflow models of runs: `mlflow.pyfunc.load_model("models:/NAME@best").predict(...)`.

The file `MLmodel` of such a model names this module, and MLflow calls `_load_pyfunc` with the path
of the run in the model. Nothing is unpickled but plain tensors; see `runs.loading`.
"""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lslm_lightning.experiments.generation import SearchSettings, Writer
from lslm_lightning.experiments.mlflow_model import search_parameters
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("source", "prompt", "text", "inputs")  # of the only column of a table of texts


class ServedRun:
    """Model of a run that answers the rows of a table, as `lslm generate` answers lines.

    Args:
        path: run directory.
        device: cpu, cuda, or auto.
        batch_size: number of texts answered together.
        trust: allow the run's config to name any class, such as those in the model's own code.
    """

    def __init__(self, path: str, device: str, batch_size: int, trust: bool) -> None:
        self.writer = Writer(path, batch_size=batch_size, device=device, trust=trust)
        task = self.writer.task
        self.columns = task.answering.columns
        self.defaults: JsonObject = {name: default for name, _, default in search_parameters(task)}
        self._own = task.search, task.max_length, task.min_length
        self._lock = threading.Lock()  # a server calls from several threads

    def predict(self, data: "pd.DataFrame", params: Settings | None = None) -> list[str]:
        """Return the answer to each row.

        Args:
            data: table with one text a row, or for question answering the columns `question` and
                `context`; for speech recognition a text is the path of a sound file.
            params: settings of the search, and `seed` of a search that draws; those left out are
                the run's own.

        Raises:
            MlflowException: the columns are others, a setting is out of range, or there is no such
                sound file.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self.answers(rows_as_texts(data, self.columns), params or {})
        except (ValueError, OSError) as error:  # a server shows clients no other message
            raise MlflowException.invalid_parameter_value(str(error)) from error

    def answers(self, texts: Sequence[str], params: Settings) -> list[str]:
        """Return the answers to texts; see `predict`."""
        import torch

        given: JsonObject = {**self.defaults, **params}
        seed = given.pop("seed", 0)
        changed: JsonObject = {
            name: plain(value) for name, value in given.items() if self.is_new(name, value)
        }
        task = self.writer.task
        with self._lock:
            try:
                self.writer.search_by(SearchSettings(**changed))
                torch.manual_seed(int(str(seed)))
                return [each.output or "" for each in self.writer.answers(texts)]
            finally:
                task.search, task.max_length, task.min_length = self._own

    def is_new(self, name: str, value: object) -> bool:
        """Return whether a parameter differs from the run's own setting."""
        return value is not None and value != self.defaults.get(name)


def plain(value: object) -> object:
    """Return a number of numpy as one of Python."""
    item = getattr(value, "item", None)
    return value if item is None else item()


def rows_as_texts(data: "pd.DataFrame", columns: tuple[str, ...]) -> list[str]:
    """Return the rows of a table as texts, as a user types them for `lslm generate`.

    Raises:
        ValueError: the table has other columns, or a row lacks a value.
    """
    lacking = data.isna().to_numpy().any(1).nonzero()[0]
    if len(lacking):
        raise ValueError(
            f"row {lacking[0] + 1} of {len(data)} lacks a value; leave the row out, or give an "
            "empty text"
        )
    if len(columns) == 1:
        name = data.columns[0]
        if isinstance(name, str) and name not in NAMES:
            raise ValueError(
                f"the first column is {name!r}, but a table of texts has the column "
                f"{columns[0]!r} alone; give it that name, or pass a list of texts"
            )
        return [str(text) for text in data.iloc[:, 0]]
    *first, last = columns
    return [
        "\n".join([*(" ".join(str(row[name]).split()) for name in first), str(row[last])])
        for row in data.to_dict("records")
    ]


def _load_pyfunc(path: str, model_config: Settings | None = None) -> ServedRun:
    """Return the model of the run at `path`; MLflow calls this function by its name.

    Args:
        model_config: `device`, `batch_size` and `trust` as in `ServedRun`; those given to
            `mlflow.pyfunc.load_model` replace those recorded with the model.
    """
    settings = {"device": "auto", "batch_size": 32, "trust": False, **(model_config or {})}
    return ServedRun(
        path,
        str(settings["device"]),
        int(str(settings["batch_size"])),
        bool(settings["trust"]),
    )
