"""Run directories, and loading of their trained models."""

from lslm_lightning.runs.directory import RunDirectory, new_run, reserve
from lslm_lightning.runs.finding import FoundRun, find_run, is_pattern
from lslm_lightning.runs.loading import LoadedRun, load_run

__all__ = [
    "FoundRun",
    "LoadedRun",
    "RunDirectory",
    "find_run",
    "is_pattern",
    "load_run",
    "new_run",
    "reserve",
]
