"""Findings of the sanity checks, and helpers to write their messages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lslm_lightning.contracts import Example
from lslm_lightning.localization import Term

ENOUGH = 20  # texts; shares of fewer are due to chance


@dataclass(frozen=True, slots=True)
class Finding:
    """Problem that a sanity check found.

    Attributes:
        check: name of the check.
        system: name of the system, or "" for the evaluation set.
        words: message with the evidence and with advice.
    """

    check: str
    system: str
    words: str

    @property
    def where(self) -> str:
        """Name of the system, or "evaluation set"."""
        return self.system or Term("evaluation set")


class Check(Protocol):
    """Sanity check of the outputs of one system."""

    def __call__(
        self, system: str, texts: Sequence[str], examples: Sequence[Example]
    ) -> Finding | None:
        """Return the problem of these outputs, or None if no problem is certain.

        Args:
            system: name of the system, for the finding.
            texts: one output for each example.
            examples: the examples, in the order of `texts`.
        """
        ...


def in_systems_order(findings: Iterable[Finding], systems: Iterable[str]) -> list[Finding]:
    """Return findings on the evaluation set first, then findings on each system in the order of
    `systems`.
    """
    order = {name: number for number, name in enumerate(["", *systems])}
    return sorted(findings, key=lambda finding: order[finding.system])


def share(n: int, total: int) -> str:
    """Return a count with its percentage, such as "12 of 40 (30 %)"."""
    return f"{n:,} of {total:,} ({100 * n / total:.0f} %)"


def shorten(text: str, n: int = 60) -> str:
    """Return the text in quotes, cut to at most `n` characters."""
    return repr(text if len(text) <= n else text[: n - 1] + "…")
