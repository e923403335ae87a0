"""Results of an audit: figures with intervals, a summary, limits and redacted examples."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from lslm_lightning.types import JsonObject

Severity = Literal["ok", "look", "unknown"]


@dataclass(frozen=True, slots=True)
class AuditFigure:
    """Measured number with its unit and, if there is one, its 95 % interval.

    Attributes:
        key: name in MLflow and in files for other programs, such as "longest_copy"; in MLflow it
            stands behind "audit/" and the name of the part.
        name: name for people, such as "longest copy".
        value: the number, in `unit`.
        unit: unit of value and bounds, such as "characters"; "" for none.
        low: lower bound of the 95 % interval; None without an interval.
        high: upper bound of the 95 % interval; None without an interval.
    """

    key: str
    name: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class AuditExample:
    """Redacted text that shows a finding, and a note on it.

    Attributes:
        text: text in which `masking.masked` has hidden what must not be repeated.
        note: words about the text, such as "in 1 training text".
        language: BCP 47 code of the text.
    """

    text: str
    note: str = ""
    language: str = "en"


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Result of one part of an audit.

    Attributes:
        part: name of the part, such as "memorization".
        title: heading for people, such as "Memorization".
        severity: "ok" if nothing was found, "look" if a person should look at it, "unknown" if it
            could not be measured.
        summary: sentences in plain language that say what was found, or why nothing was measured.
        limits: sentences that say what these figures cannot tell.
        figures: measured numbers.
        examples: redacted texts that show the finding.
        tables: rows of text and numbers by title of the table; the first row has the headings.
    """

    part: str
    title: str
    severity: Severity
    summary: tuple[str, ...]
    limits: tuple[str, ...] = ()
    figures: tuple[AuditFigure, ...] = ()
    examples: tuple[AuditExample, ...] = ()
    tables: tuple["AuditTable", ...] = ()

    def to_json(self) -> JsonObject:
        """Return the finding as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: JsonObject) -> "AuditFinding":
        """Return the finding that `to_json` has written.

        Raises:
            ValueError: the object is no finding of this release.
        """
        try:
            if found["severity"] not in get_args(Severity):
                raise ValueError(f"severity is {found['severity']!r}")
            return cls(
                part=str(found["part"]),
                title=str(found["title"]),
                severity=found["severity"],
                summary=tuple(found["summary"]),
                limits=tuple(found["limits"]),
                figures=tuple(AuditFigure(**figure) for figure in found["figures"]),
                examples=tuple(AuditExample(**example) for example in found["examples"]),
                tables=tuple(
                    AuditTable(
                        table["caption"], tuple(table["columns"]), tuple(map(tuple, table["rows"]))
                    )
                    for table in found["tables"]
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no finding of this release ({error})") from None


@dataclass(frozen=True, slots=True)
class AuditTable:
    """Table of a finding: texts and numbers in rows below the names of the columns."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]


def not_measured(part: str, title: str, reason: str) -> AuditFinding:
    """Return the finding of a part that could not be measured.

    Args:
        part: name of the part.
        title: heading for people.
        reason: sentence that says why.
    """
    return AuditFinding(part, title, "unknown", (reason,))
