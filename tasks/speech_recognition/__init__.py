"""Speech recognition: transcribing a recording."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.speech_recognition.data import SpeechData
    from tasks.speech_recognition.task import SpeechRecognitionTask

__all__ = ["SpeechData", "SpeechRecognitionTask"]
MODULES = {  # of this package, by exported name
    "SpeechData": "data",
    "SpeechRecognitionTask": "task",
}


def __getattr__(name: str) -> object:
    """Import an exported class on first use, so that the package alone loads nothing large."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
