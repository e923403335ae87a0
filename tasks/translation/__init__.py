"""Translation of sentences into another language."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.translation.data import TranslationData
    from tasks.translation.task import TranslationTask

__all__ = ["TranslationData", "TranslationTask"]
MODULES = {  # of this package, by exported name
    "TranslationData": "data",
    "TranslationTask": "task",
}


def __getattr__(name: str) -> object:
    """Import an exported class on first use, so that the package alone loads nothing large."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
