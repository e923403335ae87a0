"""Conversion of records to rows of a task: select columns, check types, handle empty fields."""

import difflib
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from lslm_lightning.corpora.chat import is_chat, is_content, render, text_of_parts
from lslm_lightning.corpora.values import Record, Values, as_text, location_of
from lslm_lightning.text.language_names import LANGUAGE
from lslm_lightning.types import Json, Settings

Row = dict[str, str | list[str]]
OPTIONAL = frozenset({"plausible", "plausible_starts"})
"""Fields that hold a list, and that a row lacks where its record does."""
ANSWERS = frozenset({"answers", "starts", *OPTIONAL})
"""Fields of a question that hold a list."""
LISTS = frozenset({"summary", *ANSWERS})
"""Fields that always hold a list of texts."""
OTHERS = (("context", "question"), ("audio", "text"))
"""Pairs of fields that stand together in rows of other tasks."""
NAMED = frozenset(
    {"text", "document", "summary", "name", "context", "question", "audio", "speaker", *ANSWERS}
)
"""Fields whose columns are found by name."""
FILES = frozenset({"audio"})
"""Fields that name a file of the corpus."""
MAY_BE_EMPTY = ANSWERS
"""Fields whose list may be empty: the question has no answer."""
SPLIT_NAMES = {"training": "train", "validation": "val", "valid": "val", "dev": "val"}
"""Names of splits elsewhere -> names here."""
ROW_ID = "row_id"
"""Key of `columns` that names the column of row ids where `id` is a language."""
JOINED = ("column", "join")
"""Keys of a column whose parts are joined to one text."""
log = logging.getLogger(__name__)


def language_field(code: str) -> str:
    """Return the row field for a language: its code, but "ind" for Indonesian, since the field `id`
    holds row ids.
    """
    return "ind" if code == "id" else code


def required_fields(task: str, languages: Sequence[str]) -> tuple[str, ...]:
    """Return the fields that every row of a task has; () if corpora of the task declare their own
    fields.
    """
    if task == "translation":
        return tuple(map(language_field, languages))
    return {"language_modeling": ("text",), "summarization": ("document", "summary")}.get(task, ())


def named_fields(columns: Settings) -> tuple[str, ...]:
    """Return the keys of `columns` that are fields of every row, without row ids and optional
    fields.
    """
    return tuple(field for field in columns if field not in ("id", ROW_ID, *OPTIONAL))


def answer_fields(task: str, required: Sequence[str]) -> frozenset[str]:
    """Return the fields whose several texts are kept separate, since they may serve as references:
    all languages of a translation, and the transcript of a recording.
    """
    if task == "translation":
        return frozenset(required)
    return frozenset({"text"} if "audio" in required else ())


def references_of(value: str | list[str]) -> tuple[str, ...]:
    """Return the texts of a field that holds one text or a list; ("",) for an empty list."""
    return (value,) if isinstance(value, str) else tuple(value) or ("",)


def text_of(value: str | list[str], join: str) -> str:
    """Return the value of a field as one text; a list is joined with the separator `join`."""
    return value if isinstance(value, str) else join.join(value)


def task_of(columns: Settings, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the task and languages implied by the fields in `columns`; the task is "" if it is
    unknown.

    `id` means Indonesian if `columns` names exactly one other language, otherwise the column of row
    ids.

    Raises:
        ValueError: the fields imply no task.
    """
    fields = named_fields(columns)
    if set(fields) <= NAMED and any(set(pair) <= set(fields) for pair in OTHERS):
        return "", ()
    if "text" in fields:
        return "language_modeling", ()
    if {"document", "summary"} <= set(fields):
        return "summarization", ()
    languages = tuple(
        field
        for field in fields
        if re.fullmatch(LANGUAGE, field, re.IGNORECASE) and field not in NAMED
    )
    if len(languages) == 1 and "id" in columns:
        languages = tuple(field for field in columns if field in (*languages, "id"))
    if len(languages) < 2:
        raise ValueError(
            f"corpus {name}: columns={dict(columns)} must name text, or document and summary, or "
            "two languages, as in columns:"
            " {en: english, zh: chinese}, or what another task reads: "
            f"{' or '.join(' and '.join(pair) for pair in OTHERS)}"
        )
    return "translation", languages


def to_row(
    record: Record,
    columns: Settings,
    required: Sequence[str],
    join: str = " ",
    answers: Collection[str] = frozenset(),
) -> Row:
    """Return a record as a row: `id`, all `required` fields and all fields in `columns`.

    A field in `LISTS` is a list. A field in `answers`, which may become references, is a list if it
    has a list as value or several columns. Any other field is one text, its parts joined with
    `join`. A column given as {column: ..., join: ...} is joined to one text in any field; for a
    list of lists, each inner list is joined.

    Raises:
        ValueError: a column is missing, or its value is not text, a number or a list of these.
    """
    is_read = language_field("id") in required or any(
        columns.get(field) == "id" for field in required
    )
    identity = columns.get(ROW_ID, None if is_read else columns.get("id", "id"))
    row: Row = {
        "id": where_of(record) if identity is None else " ".join(_texts(record, "id", identity))
    }
    for field in dict.fromkeys([*required, *columns]):
        if field in ("id", ROW_ID):
            continue
        column = columns.get(field, _column_of(record, field, columns))
        if field in OPTIONAL and _values(record, column) in ([], [None]):
            continue
        several = field in LISTS or field in answers
        are_parallel = field in ANSWERS and "starts" in columns  # one start an answer, by position
        texts = _texts(record, field, column, skip_blank=several and not are_parallel)
        stays = field in LISTS or (field in answers and _is_plural(record, column, texts))
        row[field] = texts if stays else join.join(texts)
    return row


def columns_nobody_has(records: Iterable[Values], columns: Settings) -> list[Json]:
    """Return the columns that no record has, among columns listed together for one field; the
    remaining columns would be taken for all references.
    """
    lists = [
        names for field, column in columns.items() if len(names := _names(field, column)[0]) > 1
    ]
    lacking = [column for names in lists for column in names]
    for record in records:
        lacking = [column for column in lacking if not _values(record, column)]
        if not lacking:
            break
    return lacking


def where_of(record: Values) -> str:
    """Return the file and line of a record; its id if it was not read from a file."""
    return record.where if isinstance(record, Record) else str(record["id"])


def without_empty(
    name: str,
    rows: Iterable[Row],
    required: Sequence[str],
    policy: str,
    locations: Sequence[str] = (),
) -> list[Row]:
    """Return the rows after handling empty required fields by `policy`: "refuse", "keep" or "drop".

    "drop" removes empty texts from lists, and a row whose required field is then empty. The number
    of rows kept or dropped is logged.

    Args:
        locations: file and line of each row, for messages; by default the row ids.

    Raises:
        ValueError: a field is empty and the policy is "refuse", or no row is left.
    """
    rows = list(rows)
    filled = [field for field in required if field not in MAY_BE_EMPTY]
    if policy == "drop":
        rows = _without_empty_references(name, rows, filled)
    answers = [field for field in required if field in MAY_BE_EMPTY]
    empty_fields = {
        position: [field for field in filled if is_empty(row[field])]
        + [field for field in answers if _has_blank(row[field])]
        for position, row in enumerate(rows)
    }
    empty = {position: fields for position, fields in empty_fields.items() if fields}
    if empty and policy == "refuse":
        position, fields = next(iter(empty.items()))
        which = " and ".join(_which_is_empty(rows[position], field) for field in fields)
        raise ValueError(
            f"{name}: {locations[position] if locations else rows[position]['id']}: {which} empty "
            f"({len(empty)} of {len(rows)} rows have an empty field); "
            "correct the file, or set empty: keep or empty: drop for this corpus in "
            "configs/corpora.yaml"
        )
    if empty:
        log.warning(
            "%s: %d of %d rows with an empty field %s",
            name,
            len(empty),
            len(rows),
            "kept" if policy == "keep" else "left out",
        )
    if policy == "drop":
        rows = [row for position, row in enumerate(rows) if position not in empty]
    if not rows:
        raise ValueError(f"{name}: is empty; it needs at least one row")
    return rows


def is_empty(value: str | list[str]) -> bool:
    """Return whether a text is blank, or a list is empty or contains a blank text."""
    return (
        not value.strip()
        if isinstance(value, str)
        else not value or not all(text.strip() for text in value)
    )


def _has_blank(value: str | list[str]) -> bool:
    """Return whether a list of several texts contains a blank one.

    A blank answer beside others would make empty output correct.
    """
    return not isinstance(value, str) and len(value) > 1 and is_empty(value)


def _which_is_empty(row: Row, field: str) -> str:
    """Return a phrase that names an empty field, and the number of the empty text if it is a
    list.
    """
    value = row[field]
    if isinstance(value, str) or len(value) < 2:
        return field
    number = next(number for number, text in enumerate(value, 1) if not text.strip())
    return f"text {number} of the {len(value)} in {field} is"


def _without_empty_references(name: str, rows: Sequence[Row], fields: Sequence[str]) -> list[Row]:
    """Return the rows with empty texts removed from lists, except from lists whose texts are all
    empty.
    """
    kept = []
    n_left_out = 0
    for row in rows:
        for field in fields:
            value = row[field]
            texts = [] if isinstance(value, str) else [text for text in value if text.strip()]
            if texts and len(texts) < len(value):
                n_left_out += len(value) - len(texts)
                row = row | {field: texts}
        kept.append(row)
    if n_left_out:
        log.warning("%s: %d empty texts left out beside others of their field", name, n_left_out)
    return kept


def _column_of(record: Record, field: str, columns: Settings) -> Json:
    """Return the default column of a field: its own name or, for Indonesian, the column of `id`."""
    if field == language_field("id") and ("id" in columns or field not in record):
        return columns.get("id", "id")
    return field


def _names(field: str, column: Json) -> tuple[list[Json], str | None]:
    """Return the columns from which a field is read, and the separator that joins them (None: not
    joined).

    Raises:
        ValueError: a mapping is not of the form {column: ..., join: ...}.
    """
    join = None
    if isinstance(column, Mapping):
        if set(column) != set(JOINED) or not isinstance(column["join"], str):
            raise ValueError(
                f"columns.{field}={dict(column)} must be a column, a list of columns, or "
                '{column: NAME, join: " "}, which makes one'
                f" text of a list"
            )
        column, join = column["column"], column["join"]
    return (column if isinstance(column, list) else [column]), join


def _is_plural(record: Record, column: Json, texts: Sequence[str]) -> bool:
    """Return whether a field has several texts, or a list of texts, that must not be joined."""
    if isinstance(column, Mapping):
        return len(texts) > 1
    return isinstance(column, list) or any(
        isinstance(value, list | tuple) for value in _values(record, column)
    )


def _texts(record: Record, field: str, column: Json, skip_blank: bool = False) -> list[str]:
    """Return the texts of a field.

    Args:
        skip_blank: drop blank texts if the field has several columns, but keep at least one. A
            table has blank cells in rows with fewer references.

    Raises:
        ValueError: the record lacks the column, or a value is not text.
    """
    names, join = _names(field, column)
    values = [value for name in names for value in _values(record, name)]
    values = [text_of_parts(value) if is_content(value) else value for value in values]
    if field not in LISTS:
        where = location_of(record)
        values = [render(value, where) if is_chat(value) else value for value in values]
    if not values:
        there = ", ".join(
            str(key) for key in record if key != "id" or record["id"] != where_of(record)
        )
        near = difflib.get_close_matches(
            str(names[0]), [str(key) for key in record if key != "id"], 1
        )
        example = f", for example columns: {{{field}: {near[0]}}}" if near else ""
        raise ValueError(
            f"{location_of(record)}: no column {_shown(names)} for {field}; it has {there}: set "
            f"columns{example}"
        )
    if join is not None:
        return _joined(record, field, values, join)
    parts = [
        part for value in values for part in (value if isinstance(value, list | tuple) else [value])
    ]
    texts = [as_text(part, location_of(record), field) for part in parts]
    if skip_blank and len(names) > 1:
        return [text for text in texts if text.strip()] or texts[: int(field not in MAY_BE_EMPTY)]
    return texts


def _shown(names: Sequence[Json]) -> str:
    """Return a single column, or a list of columns, as written in YAML."""
    return repr(names[0]) if len(names) == 1 else repr(list(names))


def _joined(record: Record, field: str, values: Sequence[Json], join: str) -> list[str]:
    """Return all values joined to one text, or one text per inner list if there are inner lists."""
    nested = [
        part
        for value in values
        if isinstance(value, list | tuple)
        for part in value
        if isinstance(part, list | tuple)
    ]
    groups = nested or [
        [
            part
            for value in values
            for part in (value if isinstance(value, list | tuple) else [value])
        ]
    ]
    return [
        join.join(as_text(part, location_of(record), field) for part in group) for group in groups
    ]


def _values(record: Values, column: Json) -> list[Json]:
    """Return the value of a column in a list; [] if the record lacks the column.

    "a.b" is key b of the object in column a, or of each object of a list. "a.0.b" is key b of the
    first object of the list, "a.-1.b" of the last, and "a.lang=en.b" of those whose `lang` is "en".
    """
    if column in record:
        return [record[column]]
    outer, _, inner = str(column).partition(".")
    return _inner_values(record[outer], inner) if inner and outer in record else []


def _inner_values(value: Json, path: str) -> list[Json]:
    """Return the values at a dotted path within a value; the path has the syntax of `_values`."""
    if isinstance(value, Mapping):
        return _values(value, path)
    if not isinstance(value, list | tuple):
        return []
    chosen, _, rest = path.partition(".")
    key, is_equal, stated = chosen.partition("=")
    if is_equal:
        parts = [part for part in value if isinstance(part, Mapping) and part.get(key) == stated]
    elif re.fullmatch(r"-?[0-9]+", chosen):
        parts = [value[int(chosen)]] if -len(value) <= int(chosen) < len(value) else []
    else:
        inner = [_inner_values(part, path) for part in value]
        return [[found for part in inner for found in part]] if all(inner) else []
    return [found for part in parts for found in (_inner_values(part, rest) if rest else [part])]
