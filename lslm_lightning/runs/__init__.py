"""Runs: their directories, and the way back from one to its model."""

from lslm_lightning.runs.directory import RunDirectory, new_run, reserve
from lslm_lightning.runs.finding import Chosen, choose_run, find_run
from lslm_lightning.runs.loading import Run, load_run

__all__ = [
    "Chosen",
    "Run",
    "RunDirectory",
    "choose_run",
    "find_run",
    "load_run",
    "new_run",
    "reserve",
]
