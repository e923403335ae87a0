"""Run directories, and loading of their trained models."""

from lslm_lightning.runs.directory import RunDirectory, new_run, reserve
from lslm_lightning.runs.finding import Chosen, choose_run, find_run
from lslm_lightning.runs.loading import LoadedRun, load_run

__all__ = [
    "Chosen",
    "LoadedRun",
    "RunDirectory",
    "choose_run",
    "find_run",
    "load_run",
    "new_run",
    "reserve",
]
