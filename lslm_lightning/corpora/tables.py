"""Readers of CSV and TSV files, which yield a record for each row."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence

from lslm_lightning.corpora.text_lines import (
    Source,
    check_filled,
    numbered_lines,
    require_text,
    text_lines,
)
from lslm_lightning.corpora.values import Record
from lslm_lightning.safety.limits import max_line

SEPARATORS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}
INNER_RETURN = "\udc0d"  # stands for a carriage return that ends no line; no text in UTF-8 has it


def read_tsv(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield the records of a tab-separated table; quotation marks have no special meaning.

    Args:
        header: whether the first row holds the names of the columns.
    """
    lines = require_text(name, numbered_lines(name, source))
    rows = ((number, line.split("\t")) for number, line in lines)
    return _table(name, rows, header, "\t")


def read_csv(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield the records of a comma-separated table; quoted values may contain commas and line ends.

    Args:
        header: whether the first row holds the names of the columns.
    """
    return _table(name, _csv_rows(name, source), header, ",")


def _csv_rows(name: str, source: Source) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its last line, values) for each row that is not blank."""
    limit = sys.maxsize if isinstance(source, bytes) else max_line()
    # of this process; its default, 131,072 characters, is less than a long document has
    csv.field_size_limit(limit)
    lines: list[str] = []  # of the current row
    table = csv.reader(_kept(_csv_lines(name, source), lines), strict=True)
    first_line = 1
    filled = False
    try:
        for row in table:
            _check_quotes(f"{name}: line {first_line}", row, lines)
            lines.clear()
            if row:
                filled = filled or any(value and not value.isspace() for value in row)
                yield table.line_num, [value.replace(INNER_RETURN, "\r") for value in row]
            first_line = table.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{name}: line {first_line}: not CSV ({error}, in line {table.line_num}); a quote in a "
            "quoted value must be doubled"
        ) from None
    check_filled(name, "text" if filled else "")


def _kept(lines: Iterator[str], kept: list[str]) -> Iterator[str]:
    """Yield lines unchanged, and append each to `kept`."""
    for line in lines:
        kept.append(line)
        yield line


def _check_quotes(where: str, row: Sequence[str], lines: Sequence[str]) -> None:
    """Raise ValueError if a value has a space before its opening quote, so that its quotes would
    become a part of the text.

    Args:
        where: file and line, for the message.
        row: values as they are read.
        lines: lines of the row in the file.
    """
    if not any(value[:1] == " " and value.lstrip(" ")[:1] == '"' for value in row):
        return
    if [value.lstrip(" ") for value in row] == [
        value.lstrip(" ") for value in next(csv.reader(lines, skipinitialspace=True))
    ]:
        return
    raise ValueError(
        f"{where}: has a space before a quote, which would make the quotes a part of the text; "
        "remove the spaces after the commas"
    )


def _csv_lines(name: str, source: Source) -> Iterator[str]:
    """Yield lines for the CSV parser, with every carriage return inside a line replaced by
    `INNER_RETURN`.

    The parser would otherwise end the row at that character.
    """
    for line in text_lines(name, source):
        end = "\r\n" if line.endswith("\r\n") else ""
        inner = line.removesuffix(end)
        yield inner.replace("\r", INNER_RETURN) + end if "\r" in inner else line


def _table(
    name: str, rows: Iterable[tuple[int, list[str]]], header: bool, separator: str
) -> Iterator[Record]:
    """Yield a record for each row.

    Args:
        rows: (line number, values) of each row.
        header: whether the first row names the columns; otherwise columns are numbered from 0.
        separator: character between columns, for messages.
    """
    names: Sequence[str | int] | None = None
    title = ""  # the only column's, while another separator may be meant
    for number, row in rows:
        if names is None:
            names = row if header else range(len(row))
            if header:
                _check_header(f"{name}: line {number}", row)
                title = row[0] if len(row) == 1 else ""
                continue
        if header and len(row) > 1 and row == names:
            raise ValueError(
                f"{name}: line {number}: has the names of the columns again, as where files were "
                "joined; remove it"
            )
        if len(row) != len(names):
            blank = "is blank; it " if row == [""] else ""
            raise ValueError(
                f"{name}: line {number}: {blank}has {len(row)} columns where the first line has "
                f"{len(names)}"
            )
        if title:
            _check_separator(name, title, row[0], separator)
            title = ""
        yield Record(f"{name}:{number}", dict(zip(names, row, strict=True)))


def _check_header(where: str, names: Sequence[str]) -> None:
    """Raise ValueError if a column name contains a carriage return or occurs twice."""
    if any("\r" in name for name in names):
        raise ValueError(
            f"{where}: the names of columns have a carriage return; only LF and CRLF end a line: "
            "where it should, convert the file,"
            f" tr '\\r' '\\n' < FILE > NEW_FILE"
        )
    check_distinct(where, names)


def _check_separator(name: str, title: str, first: str, separator: str) -> None:
    """Raise ValueError if a table with one column seems to use another separator.

    Args:
        title: name of the only column.
        first: value of the column in the first row.
        separator: the separator by which the table was read.
    """
    for other, called in SEPARATORS.items():
        if (
            other != separator
            and 0 < title.count(other) == first.count(other)
            and all(title.split(other))
        ):
            raise ValueError(
                (
                    f"{name}: line 1: has one column, {title!r}: columns seem to be separated by "
                    f"{called}, not by {SEPARATORS[separator]}; "
                )
                + (
                    "name the file .tsv"
                    if other == "\t"
                    else "name the file .csv"
                    if other == ","
                    else "convert it to CSV or TSV"
                )
            )


def check_distinct(where: str, names: Sequence[str]) -> None:
    """Raise ValueError if two columns have the same name; the message states the name.

    Several columns without a name are accepted, since no setting can select them.

    Args:
        where: file and line, for the message.
    """
    if twice := [name for i, name in enumerate(names) if name and name in names[:i]]:
        raise ValueError(
            f"{where}: has the column {twice[0]!r} twice; rename or remove one of them"
        )
