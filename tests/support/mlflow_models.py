"""MLflow models of runs, as a run that registers its model writes them."""

from pathlib import Path

import mlflow
from mlflow.pyfunc import PyFuncModel

from lslm_lightning import load_run
from lslm_lightning.experiments.mlflow_model import model_facts, write_model
from lslm_lightning.runs import RunDirectory
from lslm_lightning.types import JsonObject


def write_mlflow_model(run: Path, folder: Path, trust: bool = False) -> JsonObject:
    """Write the MLflow model of a run to `folder`, and return the facts of it."""
    facts = model_facts(load_run(run, trust=trust).task, RunDirectory(run), "letters", None)
    write_model(folder, facts, RunDirectory(run))
    return facts


def pyfunc_of(run: Path, folder: Path) -> PyFuncModel:
    """The MLflow model of a run, written to `folder` and loaded by MLflow."""
    write_mlflow_model(run, folder)
    return mlflow.pyfunc.load_model(str(folder))
