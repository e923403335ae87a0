"""Languages of the interface: help, messages and reports in English or Chinese.

All texts are written in English where they are made, and that is what records keep: files, MLflow,
JSON, CSV and exceptions never depend on the language. A text is translated where a person reads it:
when a command prints it, or when a report is rendered.
"""

from lslm_lightning.localization.catalogue import COMMANDS, MESSAGES, REPORTS, SETTINGS
from lslm_lightning.localization.language import (
    CHINESE,
    ENGLISH,
    LANGUAGES,
    interface_in,
    interface_language,
    language_code,
)
from lslm_lightning.localization.translation import translated
from lslm_lightning.localization.width import padded, text_width, wrapped
from lslm_lightning.localization.words import Joined, Term, Verbatim, verbatim

__all__ = [
    "CHINESE",
    "COMMANDS",
    "ENGLISH",
    "LANGUAGES",
    "MESSAGES",
    "REPORTS",
    "SETTINGS",
    "Joined",
    "Term",
    "Verbatim",
    "interface_in",
    "interface_language",
    "language_code",
    "padded",
    "text_width",
    "translated",
    "verbatim",
    "wrapped",
]
