"""Records of a file -> rows of a task: chosen columns, one type a field, empty fields found."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lslm_lightning.data.readers import Record
from lslm_lightning.data.values import as_text, place_of

Row = dict[str, str | list[str]]
OPTIONAL = frozenset({"plausible", "plausible_starts"})
"""Lists that a record need not have, and whose row then has none."""
ANSWERS = frozenset({"answers", "starts", *OPTIONAL})
"""Of a question."""
LISTS = frozenset({"summary", *ANSWERS})
"""Fields that hold a list of texts; all others hold one."""
OTHERS = (("context", "question"), ("audio", "text"))
"""Fields that tell of other tasks where they stand together."""
NAMED = frozenset({"text", "document", "summary", "name", "context", "question", "audio", "speaker", *ANSWERS})
"""Fields that are found in a file by their names."""
FILES = frozenset({"audio"})
"""Fields that name a file of the corpus."""
MAY_BE_EMPTY = ANSWERS
"""Lists in which nothing says something: there is no answer."""
SPLIT_NAMES = {"validation": "val", "valid": "val", "dev": "val"}
"""Other people's names of our splits."""
log = logging.getLogger(__name__)


def required_fields(task: str, languages: Sequence[str]) -> tuple[str, ...]:
    """What a row of the task must have; nothing is known of tasks whose corpora say themselves which fields they have."""
    return {"language_modeling": ("text",), "translation": tuple(languages), "summarization": ("document", "summary")}.get(task, ())


def task_of(columns: Mapping[str, Any], name: str) -> tuple[str, tuple[str, ...]]:
    """Task and languages that the fields in `columns` stand for; "" of fields that belong to no task that is known here.

    Raises:
        ValueError: there is too little to tell.
    """
    fields = [field for field in columns if field != "id"]
    if set(fields) <= NAMED and any(set(pair) <= set(fields) for pair in OTHERS):
        return "", ()
    if "text" in fields:
        return "language_modeling", ()
    if {"document", "summary"} <= set(fields):
        return "summarization", ()
    languages = tuple(field for field in fields if re.fullmatch(r"[a-z]{2,3}(-\w+)?", field))
    if len(languages) < 2:
        raise ValueError(
            f"corpus {name}: columns={dict(columns)} must name text, or document and summary, or two languages, as in columns:"
            f" {{en: english, zh: chinese}}, or what another task reads: {' or '.join(' and '.join(pair) for pair in OTHERS)}"
        )
    return "translation", languages


def to_row(record: Record, columns: Mapping[str, Any], required: Sequence[str], join: str = " ") -> Row:
    """One row: `id`, every required field and every field that `columns` names.

    `summary` and the others in `LISTS` are lists; any other field is one text, the parts of a list joined by `join`.

    Raises:
        ValueError: a column is missing, or holds neither text, a number nor a list of those.
    """
    row: Row = {"id": " ".join(_texts(record, "id", columns.get("id", "id")))}
    for field in dict.fromkeys([*required, *columns]):
        column = columns.get(field, field)
        if field == "id" or (field in OPTIONAL and _values(record, column) in ([], [None])):
            continue
        texts = _texts(record, field, column)
        row[field] = texts if field in LISTS else join.join(texts)
    return row


def without_empty(name: str, rows: Iterable[Row], required: Sequence[str], policy: str) -> list[Row]:
    """The rows, those with an empty required field treated by `policy`: "refuse", "keep" or "drop".

    Kept and dropped ones are counted in the log.

    Raises:
        ValueError: a row is empty and the policy is to refuse, or no row is left.
    """
    rows = list(rows)
    filled = [field for field in required if field not in MAY_BE_EMPTY]
    empty = {position: fields for position, row in enumerate(rows) if (fields := [field for field in filled if is_empty(row[field])])}
    if empty and policy == "refuse":
        position, fields = next(iter(empty.items()))
        raise ValueError(
            f"{name}: {rows[position]['id']}: {' and '.join(fields)} empty ({len(empty)} of {len(rows)} rows are so); "
            f"correct the file, or set empty: keep or empty: drop for this corpus in configs/corpora.yaml"
        )
    if empty:
        log.warning("%s: %d of %d rows with an empty field %s", name, len(empty), len(rows), "kept" if policy == "keep" else "left out")
    if policy == "drop":
        rows = [row for position, row in enumerate(rows) if position not in empty]
    if not rows:
        raise ValueError(f"{name}: is empty; it needs at least one row")
    return rows


def is_empty(value: str | list[str]) -> bool:
    """Whether a text, or one of a list of texts, has nothing but blanks; or the list nothing at all."""
    return not value.strip() if isinstance(value, str) else not value or not all(text.strip() for text in value)


def _texts(record: Record, field: str, column: Any) -> list[str]:
    names = column if isinstance(column, list) else [column]
    found = [value for name in names for value in _values(record, name)]
    if not found:
        there = ", ".join(str(key) for key in record)
        raise ValueError(f"{place_of(record)}: no column {column!r} for {field}; it has {there}: set columns")
    texts = [text for value in found for text in (value if isinstance(value, list | tuple) else [value])]
    return [as_text(text, place_of(record), field) for text in texts]


def _values(record: Record, column: Any) -> list[Any]:
    """The column's value in a list, or nothing; "a.b" is column b of the object in column a."""
    if column in record:
        return [record[column]]
    outer, _, inner = str(column).partition(".")
    return _values(record[outer], inner) if inner and isinstance(record.get(outer), Mapping) else []
