"""Language modeling: the probability of running text."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.language_modeling.data import LanguageModelingData
    from tasks.language_modeling.ngram import NgramTask
    from tasks.language_modeling.task import LanguageModelingTask

__all__ = ["LanguageModelingData", "LanguageModelingTask", "NgramTask"]
MODULES = {  # of this package, by exported name
    "LanguageModelingData": "data",
    "LanguageModelingTask": "task",
    "NgramTask": "ngram",
}


def __getattr__(name: str) -> object:
    """Import an exported class on first use, so that the package alone loads nothing large."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
