"""Sheets of a human evaluation as CSV: what an annotator fills in, and what comes back.

A sheet has a random row id and texts. Nothing in it tells the system, the kind of row, or the order
in which it was made.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lslm_lightning.contracts import Example
from lslm_lightning.files import atomic_write
from lslm_lightning.human.design import LEFT, RIGHT, SAME, Method, SheetRow, seen
from lslm_lightning.human.key import EvaluationKey
from lslm_lightning.safety.spreadsheets import escape_csv_formula

ANSWERS: dict[Method, str] = {"direct": "score", "mqm": "errors", "pairwise": "better"}  # columns
SEVERITIES = {"minor": 1.0, "major": 5.0, "critical": 25.0}  # weights, as of MQM at WMT
CATEGORIES = ("accuracy", "omission", "addition", "fluency", "terminology", "style", "other")
NO_ERRORS = "none"
MOST_FAULTS = 20  # that a message lists
MOST_BYTES = 50_000_000  # of a sheet that comes back


@dataclass(frozen=True, slots=True)
class Rating:
    """Answer of an annotator to one row.

    Attributes:
        value: score from 0 to 100 ("direct"), penalty ("mqm", the sum of the weights of errors), or
            1 for left, 0 for right and 0.5 for the same ("pairwise").
        worst: rank of the worst error of "mqm": 0 none, 1 minor, 2 major, 3 critical.
        comment: comment of the annotator.
        errors: severity, category and span of each error of "mqm".
    """

    row: SheetRow
    value: float
    worst: int = 0
    comment: str = ""
    errors: tuple[tuple[str, str, str], ...] = ()


def write_sheet(
    path: Path,
    method: Method,
    rows: Sequence[SheetRow],
    examples: Sequence[Example],
    reference: bool,
) -> None:
    """Write the sheet of an annotator as CSV in UTF-8 with a byte order mark, by which Excel tells
    the encoding; texts that a spreadsheet would compute are escaped.

    Args:
        reference: show the first reference beside the source.
    """
    shown = ["output"] if method != "pairwise" else [LEFT, RIGHT]
    header = ["row", "source", *(["reference"] if reference else []), *shown]
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([*header, ANSWERS[method], "comment"])
    for row in rows:
        example = examples[row.item]
        texts = [example.text, *(example.references[:1] if reference else []), *row.texts]
        writer.writerow([row.id, *map(escape_csv_formula, texts), "", ""])
    atomic_write(path, "\ufeff" + file.getvalue())


def read_sheets(
    paths: Sequence[Path], key: EvaluationKey, incomplete: bool = False
) -> list[Rating]:
    """Return the answers of filled sheets.

    Args:
        incomplete: accept rows without an answer and sheets that are missing.

    Raises:
        ValueError: answers are missing, doubled or out of range; the message names file and line of
            each.
    """
    faults: list[str] = []
    answered: dict[str, str] = {}
    found = []
    known = key.all_rows()
    for path in paths:
        found += _read_sheet(path, key.method, known, answered, faults, incomplete)
    if not incomplete:
        for name, rows in key.rows.items():
            asked = seen(rows)
            if not asked:  # of more annotators than items
                continue
            missing = [row.id for row in asked if row.id not in answered]
            if len(missing) == len(asked):
                faults.append(f"the sheet of {name} is missing")
            elif missing:
                faults.append(
                    f"the sheet of {name} lacks {len(missing):,} rows, such as {missing[0]}"
                )
    if faults:
        more = len(faults) - MOST_FAULTS
        listed = "; ".join(faults[:MOST_FAULTS]) + (f"; and {more:,} more" if more > 0 else "")
        ways = "correct them" if incomplete else "correct them, or accept gaps with --incomplete"
        raise ValueError(f"{len(faults):,} faults in the sheets: {listed}; {ways}")
    if not found:
        raise ValueError("the sheets have no answers; fill them in first")
    return found


def _text(path: Path) -> str:
    """Return the text of a sheet.

    Raises:
        ValueError: it is too large, or not in UTF-8.
        OSError: it cannot be read.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES // 1_000_000} MB are no sheet")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not in UTF-8; save it again as CSV UTF-8") from None


def _read_sheet(
    path: Path,
    method: Method,
    known: Mapping[str, SheetRow],
    answered: dict[str, str],
    faults: list[str],
    incomplete: bool,
) -> list[Rating]:
    """Return the answers of one sheet; add faults to a list, and rows to the answered."""
    try:
        table = _table(_text(path))
    except (OSError, ValueError, csv.Error) as error:
        faults.append(f"{path}: cannot be read: {error}")
        return []
    _, header = next(table, (0, []))
    header = [name.strip().lower() for name in header]
    wanted = ("row", ANSWERS[method])
    if lacking := [name for name in wanted if name not in header]:
        faults.append(f"{path}, line 1: there is no column {lacking[0]!r}")
        return []
    found = []
    empty: list[str] = []
    for line, cells in table:
        where = f"{path}, line {line}"
        values = dict(zip(header, cells, strict=False))
        id_ = values.get("row", "").strip()
        if not any(map(str.strip, cells)):
            continue
        if id_ not in known:
            faults.append(f"{where}: {id_[:40]!r} is no row of these sheets")
            continue
        if id_ in answered:
            faults.append(f"{where}: row {id_} was given in {answered[id_]} already")
            continue
        answered[id_] = where
        answer = values.get(ANSWERS[method], "").strip()
        if not answer:
            empty.append(f"line {line}")
            continue
        try:
            comment = values.get("comment", "").strip()
            found.append(parse_answer(known[id_], method, answer, comment))
        except ValueError as error:
            faults.append(f"{where}: row {id_}: {error}")
    if empty and not incomplete:
        faults.append(f"{path}, {empty[0]}: no {ANSWERS[method]}, as in {len(empty):,} rows")
    return found


def _table(text: str) -> Iterator[tuple[int, list[str]]]:
    """Return the number of the last line and the cells of each row.

    Raises:
        csv.Error: the text is no table.
    """
    before = csv.field_size_limit(MOST_BYTES)  # its default is less than a long document has
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        return iter([(reader.line_num, cells) for cells in reader])
    finally:
        csv.field_size_limit(before)


def _delimiter(text: str) -> str:
    """Return what separates the columns: a comma, or what spreadsheets of other regions write."""
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


def parse_answer(row: SheetRow, method: Method, answer: str, comment: str = "") -> Rating:
    """Return the answer of an annotator.

    Raises:
        ValueError: the answer is out of range, or not in the form of the method.
    """
    if method == "direct":
        try:
            value = float(answer.replace(",", "."))
        except ValueError:
            value = math.nan
        if not 0 <= value <= 100:
            raise ValueError(f"score {answer[:40]!r} must be a number from 0 to 100")
        return Rating(row, value, comment=comment)
    if method == "pairwise":
        sides = {LEFT.lower(): 1.0, RIGHT.lower(): 0.0, SAME: 0.5}
        if answer.lower() not in sides:
            raise ValueError(f"better {answer[:40]!r} must be {LEFT}, {RIGHT} or {SAME}")
        return Rating(row, sides[answer.lower()], comment=comment)
    errors = parse_errors(answer)
    worst = max((list(SEVERITIES).index(severity) + 1 for severity, _, _ in errors), default=0)
    penalty = sum(SEVERITIES[severity] for severity, _, _ in errors)
    return Rating(row, penalty, worst, comment, errors)


def parse_errors(text: str) -> tuple[tuple[str, str, str], ...]:
    """Return severity, category and span of each error; a line of the text has one.

    Raises:
        ValueError: a line is not `SEVERITY CATEGORY: SPAN`.
    """
    if text.lower() == NO_ERRORS:
        return ()
    errors = []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = re.fullmatch(r"(\w+)\s+(\w+)\s*(?:[:：]\s*(.*))?", line)
        if match is None or match[1].lower() not in SEVERITIES:
            raise ValueError(
                f"error {line[:60]!r} must be 'SEVERITY CATEGORY: span' with "
                f"{', '.join(SEVERITIES)}, or {NO_ERRORS}"
            )
        if match[2].lower() not in CATEGORIES:
            raise ValueError(f"category {match[2]!r} must be one of {', '.join(CATEGORIES)}")
        errors.append((match[1].lower(), match[2].lower(), match[3] or ""))
    return tuple(errors)
