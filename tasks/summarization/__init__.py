"""Summarization: a summary of a document in a few sentences."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.summarization.data import SummarizationData
    from tasks.summarization.extractive.data import ExtractiveData
    from tasks.summarization.extractive.task import ExtractiveTask
    from tasks.summarization.task import SummarizationTask

__all__ = ["ExtractiveData", "ExtractiveTask", "SummarizationData", "SummarizationTask"]
MODULES = {  # of this package, by exported name
    "ExtractiveData": "extractive.data",
    "ExtractiveTask": "extractive.task",
    "SummarizationData": "data",
    "SummarizationTask": "task",
}


def __getattr__(name: str) -> object:
    """Import an exported class on first use, so that the package alone loads nothing large."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
