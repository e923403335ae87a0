"""Base class of the parts of an audit."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeAlias

from lslm_lightning.auditing.finding import AuditFinding
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.types import JsonObject

Progress: TypeAlias = Callable[[float], None]
"""Function that is told the share of a part that is done, from 0 to 1."""


class AuditPart(ABC):
    """One part of an audit, such as memorization.

    A part is a class without state but its settings. The harness asks `reason_not` first, and
    `measure` only where that returns None. It keeps the finding until an input of the part changes:
    the weights, the data, the recorded predictions, `settings()`, `inputs()` or `version`.

    Attributes:
        name: name of the part on the command line, in files and in MLflow: "memorization".
        title: heading for people: "Memorization".
        version: number to be raised when the same inputs give another finding.
        weight: expected share of the time of an audit, relative to other parts, for the time left.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[int] = 1
    weight: ClassVar[float] = 1.0

    @property
    def outlives_data(self) -> bool:
        """Return whether an earlier finding holds where the data cannot be read any more."""
        return True

    def settings(self) -> JsonObject:
        """Return the settings that affect the finding, as JSON values by name; by default none."""
        return {}

    def inputs(self, subject: AuditSubject) -> JsonObject:
        """Return what affects the finding besides weights, data, predictions and settings, as JSON
        values by name; by default nothing.
        """
        return {}

    def check(self) -> None:  # noqa: B027
        """Look for what the settings name, before anything is measured; by default nothing.

        Raises:
            ValueError, OSError: a file, a folder or a run of the settings is not there, or is not
                what it should be.
        """

    @abstractmethod
    def reason_not(self, subject: AuditSubject) -> str | None:
        """Return a sentence that says why this run cannot be measured; None if it can."""

    @abstractmethod
    def measure(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        """Measure the run and return the finding.

        Args:
            subject: the run.
            progress: to be called now and then with the share of the work that is done.

        Raises:
            ValueError, OSError, RuntimeError: the run cannot be measured; the message becomes the
                finding, and the other parts are measured.
        """


def between(progress: Progress, low: float, high: float) -> Callable[[float], None]:
    """Return a function that is told the share of a step, from 0 to 1, and tells `progress` a share
    from `low` to `high`.
    """
    return lambda share: progress(low + (high - low) * share)
