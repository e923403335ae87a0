"""Records of a file -> rows of a task: chosen columns, one type a field, empty fields found."""

import difflib
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lslm_lightning.data.chat import is_chat, is_content, render, text_of_parts
from lslm_lightning.data.values import Record, as_text, place_of
from lslm_lightning.text.language_names import LANGUAGE

Row = dict[str, str | list[str]]
OPTIONAL = frozenset({"plausible", "plausible_starts"})
"""Lists that a record need not have, and whose row then has none."""
ANSWERS = frozenset({"answers", "starts", *OPTIONAL})
"""Of a question."""
LISTS = frozenset({"summary", *ANSWERS})
"""Fields that always hold a list of texts."""
OTHERS = (("context", "question"), ("audio", "text"))
"""Fields that tell of other tasks where they stand together."""
NAMED = frozenset(
    {"text", "document", "summary", "name", "context", "question", "audio", "speaker", *ANSWERS}
)
"""Fields that are found in a file by their names."""
FILES = frozenset({"audio"})
"""Fields that name a file of the corpus."""
MAY_BE_EMPTY = ANSWERS
"""Lists in which nothing says something: there is no answer."""
SPLIT_NAMES = {"training": "train", "validation": "val", "valid": "val", "dev": "val"}
"""Other people's names of our splits."""
ROW_ID = "row_id"
"""Key of `columns` that names the column of row ids where `id` is a language."""
JOINED = ("column", "join")
"""Keys of a column whose parts are joined to one text."""
log = logging.getLogger(__name__)


def language_field(code: str) -> str:
    """Field of a row that holds the text in this language: the code, but "ind" for Indonesian's
    `id`, the key of row ids.
    """
    return "ind" if code == "id" else code


def required_fields(task: str, languages: Sequence[str]) -> tuple[str, ...]:
    """What a row of the task must have; nothing is known of tasks whose corpora say themselves
    which fields they have.
    """
    if task == "translation":
        return tuple(map(language_field, languages))
    return {"language_modeling": ("text",), "summarization": ("document", "summary")}.get(task, ())


def named_fields(columns: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields that every row has of those that `columns` names; where row ids stand is none."""
    return tuple(field for field in columns if field not in ("id", ROW_ID, *OPTIONAL))


def answer_fields(task: str, required: Sequence[str]) -> frozenset[str]:
    """Fields that may become references, so that several texts of a record stay apart; those in
    `LISTS` are lists anyway.

    They are the translations in all languages, and the transcript of a recording.
    """
    if task == "translation":
        return frozenset(required)
    return frozenset({"text"} if "audio" in required else ())


def references_of(value: str | list[str]) -> tuple[str, ...]:
    """The texts of a field, one or several; no text is one empty one."""
    return (value,) if isinstance(value, str) else tuple(value) or ("",)


def text_of(value: str | list[str], join: str) -> str:
    """The text of a field that is read: several are joined."""
    return value if isinstance(value, str) else join.join(value)


def task_of(columns: Mapping[str, Any], name: str) -> tuple[str, tuple[str, ...]]:
    """Task and languages that the fields in `columns` stand for; "" of fields that belong to no
    task that is known here.

    `id` is the language Indonesian where there is one other language alone, and the column of row
    ids else.

    Raises:
        ValueError: there is too little to tell.
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
    columns: Mapping[str, Any],
    required: Sequence[str],
    join: str = " ",
    answers: Collection[str] = frozenset(),
) -> Row:
    """One row: `id`, every required field and every field that `columns` names.

    Fields in `LISTS` are lists. Any other field is one text, the parts of a list joined by `join`;
    but of `answers`, which may become references, a list (or several columns) stays a list. A
    column given as {column: ..., join: ...} is one text in any field: its parts are joined, and of
    a list of lists the parts of each.

    Raises:
        ValueError: a column is missing, or holds neither text, a number nor a list of those.
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


def columns_nobody_has(
    records: Iterable[Mapping[Any, Any]], columns: Mapping[str, Any]
) -> list[Any]:
    """Columns in the lists of `columns` that no record has: without them the others would be taken
    for all references.
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


def where_of(record: Mapping[Any, Any]) -> str:
    """Place of a record: file and line where it was read from one, and else its id."""
    return getattr(record, "where", record["id"])


def without_empty(
    name: str, rows: Iterable[Row], required: Sequence[str], policy: str, places: Sequence[str] = ()
) -> list[Row]:
    """The rows, those with an empty required field treated by `policy`: "refuse", "keep" or "drop".

    Of several texts in a field, "drop" leaves out the empty ones, and the row where nothing else is
    left. What is kept or dropped is counted in the log.

    Args:
        places: file and line of each row, for messages; by default their ids.

    Raises:
        ValueError: a row is empty and the policy is to refuse, or no row is left.
    """
    rows = list(rows)
    filled = [field for field in required if field not in MAY_BE_EMPTY]
    if policy == "drop":
        rows = _without_empty_references(name, rows, filled)
    answers = [field for field in required if field in MAY_BE_EMPTY]
    found = {
        position: [field for field in filled if is_empty(row[field])]
        + [field for field in answers if _has_blank(row[field])]
        for position, row in enumerate(rows)
    }
    empty = {position: fields for position, fields in found.items() if fields}
    if empty and policy == "refuse":
        position, fields = next(iter(empty.items()))
        which = " and ".join(_which_is_empty(rows[position], field) for field in fields)
        raise ValueError(
            f"{name}: {places[position] if places else rows[position]['id']}: {which} empty "
            f"({len(empty)} of {len(rows)} rows are so); "
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
    """Whether a text, or one of a list of texts, has nothing but blanks; or the list nothing at
    all.
    """
    return (
        not value.strip()
        if isinstance(value, str)
        else not value or not all(text.strip() for text in value)
    )


def _has_blank(value: str | list[str]) -> bool:
    """Whether one of several texts is blank: as an answer beside others it would make an empty
    output right.
    """
    return not isinstance(value, str) and len(value) > 1 and is_empty(value)


def _which_is_empty(row: Row, field: str) -> str:
    """Words for an empty field: of several texts the number of the first empty one."""
    value = row[field]
    if isinstance(value, str) or len(value) < 2:
        return field
    number = next(number for number, text in enumerate(value, 1) if not text.strip())
    return f"text {number} of the {len(value)} in {field} is"


def _without_empty_references(name: str, rows: Sequence[Row], fields: Sequence[str]) -> list[Row]:
    """The rows with the empty ones of several texts left out, unless all are empty."""
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


def _column_of(record: Record, field: str, columns: Mapping[str, Any]) -> Any:
    """Column of a field that `columns` does not name: the one of its name, and for Indonesian `id`,
    however that is mapped.
    """
    if field == language_field("id") and ("id" in columns or field not in record):
        return columns.get("id", "id")
    return field


def _names(field: str, column: Any) -> tuple[list[Any], str | None]:
    """Columns that a field is read from, and what joins them where that is asked for.

    Raises:
        ValueError: a mapping that is not {column: ..., join: ...}.
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


def _is_plural(record: Record, column: Any, texts: Sequence[str]) -> bool:
    """Whether a record gives several texts, or a list of them, that nobody wants joined."""
    if isinstance(column, Mapping):
        return len(texts) > 1
    return isinstance(column, list) or any(
        isinstance(value, list | tuple) for value in _values(record, column)
    )


def _texts(record: Record, field: str, column: Any, skip_blank: bool = False) -> list[str]:
    """Texts of a field; of several columns with `skip_blank` those that are not blank, or the
    first.

    A table has an empty cell where a row has fewer references than others.
    """
    names, join = _names(field, column)
    found = [value for name in names for value in _values(record, name)]
    found = [text_of_parts(value) if is_content(value) else value for value in found]
    if field not in LISTS:
        found = [render(value, place_of(record)) if is_chat(value) else value for value in found]
    if not found:
        there = ", ".join(
            str(key) for key in record if key != "id" or record["id"] != where_of(record)
        )
        near = difflib.get_close_matches(
            str(names[0]), [str(key) for key in record if key != "id"], 1
        )
        example = f", for example columns: {{{field}: {near[0]}}}" if near else ""
        raise ValueError(
            f"{place_of(record)}: no column {_shown(names)} for {field}; it has {there}: set "
            f"columns{example}"
        )
    if join is not None:
        return _joined(record, field, found, join)
    parts = [
        part for value in found for part in (value if isinstance(value, list | tuple) else [value])
    ]
    texts = [as_text(part, place_of(record), field) for part in parts]
    if skip_blank and len(names) > 1:
        return [text for text in texts if text.strip()] or texts[: int(field not in MAY_BE_EMPTY)]
    return texts


def _shown(names: Sequence[Any]) -> str:
    return repr(names[0]) if len(names) == 1 else repr(list(names))


def _joined(record: Record, field: str, found: Sequence[Any], join: str) -> list[str]:
    """One text, or of a list of lists one of each."""
    nested = [
        part
        for value in found
        if isinstance(value, list | tuple)
        for part in value
        if isinstance(part, list | tuple)
    ]
    groups = nested or [
        [
            part
            for value in found
            for part in (value if isinstance(value, list | tuple) else [value])
        ]
    ]
    return [join.join(as_text(part, place_of(record), field) for part in group) for group in groups]


def _values(record: Mapping[Any, Any], column: Any) -> list[Any]:
    """The column's value in a list, or nothing.

    "a.b" is b of the object in column a, or of each object in a list there; "a.0.b" is b of the
    first of these, "a.-1.b" of the last.
    """
    if column in record:
        return [record[column]]
    outer, _, inner = str(column).partition(".")
    return _inner_values(record[outer], inner) if inner and outer in record else []


def _inner_values(value: Any, path: str) -> list[Any]:
    if isinstance(value, Mapping):
        return _values(value, path)
    if not isinstance(value, list | tuple):
        return []
    number, _, rest = path.partition(".")
    if re.fullmatch(r"-?[0-9]+", number):
        index = int(number)
        chosen = [value[index]] if -len(value) <= index < len(value) else []
        return [
            found for part in chosen for found in (_inner_values(part, rest) if rest else [part])
        ]
    inner = [_inner_values(part, path) for part in value]
    return [[found for part in inner for found in part]] if all(inner) else []
