"""Proposals for error messages: columns of a file from which fields could be read.

The proposals are shown to the user; they are never applied.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from lslm_lightning.corpora.archives import bare_name
from lslm_lightning.corpora.chat import content_key, is_chat
from lslm_lightning.corpora.rows import where_of
from lslm_lightning.corpora.values import Values
from lslm_lightning.text.language_names import is_language
from lslm_lightning.text.languages import base_language
from lslm_lightning.text.yaml_files import dump_yaml
from lslm_lightning.types import Json, JsonObject, Settings

USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "text": (
        "content",
        "body",
        "sentence",
        "transcript",
        "transcription",
        "document",
        "article",
        "story",
        "prompt",
    ),
    "document": (
        "article",
        "dialogue",
        "body",
        "content",
        "source",
        "text",
        "input",
        "passage",
        "story",
        "maintext",
        "src",
    ),
    "summary": (
        "highlights",
        "headline",
        "title",
        "abstract",
        "target",
        "output",
        "subject",
        "tldr",
        "description",
        "tgt",
    ),
    "context": ("passage", "paragraph", "document", "text", "story", "article"),
    "question": ("query", "prompt", "input"),
    "answers": ("answer", "answers.text", "label", "output", "response", "target"),
    "audio": ("path", "file", "filename", "audio_filepath", "wav", "audio_path", "file_name"),
}
"""Columns of well-known corpora that hold what a field is read from; only proposed, never read
unasked.
"""
SOURCE_NAMES = ("source", "src", "input", "source_text")
TARGET_NAMES = ("target", "tgt", "output", "reference", "ref", "target_text", "translation")


def propose_columns(first: Values, fields: Sequence[str], by_order: bool = True) -> JsonObject:
    """Return field -> proposed column, for as many of `fields` as possible.

    Args:
        first: the first record of the file.
        by_order: whether fields without a column of a usual name get the remaining text columns:
            those of a text or a document the longest first, others in the order of the file.
    """
    columns: JsonObject = {}
    chosen: set[str] = set()
    texts = _text_columns(first)
    chat = chat_column(first)
    for position, field in enumerate(fields):
        usual = USUAL_NAMES.get(field) or (SOURCE_NAMES, TARGET_NAMES)[min(position, 1)]
        by_name = {folded_name(path): path for path in texts}
        numbered = [
            path
            for name, path in by_name.items()
            if re.fullmatch(rf"{re.escape(folded_name(field))}[-_. ]?\d+", name)
        ]
        if (
            len(numbered) > 1
            and folded_name(field) not in by_name
            and not chosen.intersection(numbered)
        ):
            columns[field] = numbered
            chosen.update(numbered)
            continue
        names = [
            by_name[name]
            for name in (folded_name(field), *usual)
            if name in by_name and by_name[name] not in chosen
        ]
        near = difflib.get_close_matches(
            folded_name(field), [name for name in by_name if by_name[name] not in chosen], 1, 0.75
        )
        found = next(iter([*names, *(by_name[name] for name in near)]), None)
        if found is None and chat is not None:
            found = _turn_path(first[chat], chat, position, len(fields))
        if found is not None:
            columns[field] = found
            chosen.add(found)
    left = [path for path in texts if path not in chosen]
    if fields[:1] in (("text",), ("document",)):
        left.sort(key=lambda path: len(texts[path]), reverse=True)
    for field in fields:
        if by_order and field not in columns and left:
            columns[field] = left.pop(0)
    return {field: columns[field] for field in fields if field in columns}


def columns_as_yaml(columns: Settings) -> str:
    """Return columns as one line of YAML: "columns: {en: english, de: german}"."""
    return f"columns: {dump_yaml(dict(columns), flow=True).strip()}"


def missing_columns_message(
    name: str, first: Values, lacking: Sequence[str], fields: Sequence[str]
) -> str:
    """Return the error message for fields without a column, with a setting of `columns` to try.

    Args:
        name: name of the corpus.
        first: the first record of the file.
        lacking: the fields without a column.
        fields: all fields that the task reads.
    """
    guess = propose_columns(first, fields)
    fields_lacking = " and ".join(map(repr, lacking))
    problem = f"corpus {name}: no column for {fields_lacking}; {_present_columns(first)}"
    if set(fields) <= set(guess):
        return (
            f"{problem}; set data.columns, for example "
            f"{columns_as_yaml(guess)}{_positions_example(first, fields)}"
        )
    return f"{problem}; set data.columns to those that hold {' and '.join(fields)}"


def unknown_columns_message(name: str, first: Values) -> str:
    """Return the error message for a file whose columns imply no task, with settings of `columns`
    to try.
    """
    texts = _text_columns(first)
    examples = [columns_as_yaml(propose_columns(first, ("text",)))] if texts else []
    if has_own_id(first) and (language := next((key for key in texts if is_short_code(key)), None)):
        examples.append(
            columns_as_yaml({language: language, "id": "id"}) + " where id is Indonesian"
        )
    if len(texts) > 1:
        pair = propose_columns(first, ("document", "summary"))
        examples += [columns_as_yaml(pair), columns_as_yaml(dict(zip(("en", "zh"), texts)))]
    way_out = (
        f"say what they are, for example {' or '.join(examples)}; for a task of your own, "
        "lslm data check takes --data CLASS"
        if examples
        else "no column holds text"
    )
    return (
        f"corpus {name}: no column is called text, document and summary, context and question, "
        "audio and text, or as two languages;"
        f" {_present_columns(first)}: {way_out}"
    )


def folded_name(name: Json) -> str:
    """Return a column name in lower case, without surrounding white space and byte order mark."""
    return str(name).strip().strip("\ufeff").casefold()


def has_own_id(first: Values) -> bool:
    """Return whether the file has a column `id`, so that the id of the record `first` was not
    generated.
    """
    return "id" in first and first["id"] != where_of(first)


def is_short_code(name: str) -> bool:
    """Return whether a column name is unmistakably a language code: two letters, or a code with
    script or region.
    """
    return is_language(name) and (
        len(name) == 2 or "-" in name or "_" in name or len(base_language(name)) == 2
    )


def chat_column(first: Values) -> str | None:
    """Return the name of the first column that holds a list of chat turns, or None."""
    return next(
        (key for key, value in first.items() if isinstance(key, str) and is_chat(value)), None
    )


def _turn_path(turns: Sequence[Settings], column: str, position: int, n_field: int) -> str:
    """Return the path of the chat turn from which a field is probably to be read.

    This is the last turn for the last of several fields, otherwise the first turn that is not a
    system message.

    Args:
        column: name of the column that holds the turns.
        position: index of the field among `n_field` fields.
    """
    key = content_key(turns)
    if position == n_field - 1 and n_field > 1:
        return f"{column}.-1.{key}"
    start = int(len(turns) > 1 and "system" in (turns[0].get("role"), turns[0].get("from")))
    return f"{column}.{start}.{key}"


def _text_columns(first: Values) -> dict[str, str]:
    """Return the text in each column, and dotted path of an inner column, that holds a text or a
    list of texts.
    """
    found: dict[str, str] = {}
    for key, value in first.items():
        if key == "id" and not has_own_id(first):
            continue
        if paths := language_paths(key, value):
            found |= dict.fromkeys(paths.values(), "")
            continue
        inner = (
            value[0]
            if isinstance(value, list) and value and isinstance(value[0], Mapping)
            else value
        )
        if isinstance(inner, Mapping):
            if not is_chat(value):
                found |= {
                    f"{key}.{name}": "".join(part) for name, part in inner.items() if _is_text(part)
                }
        elif _is_text(value) and key != "id":
            found[key] = "".join(value)
    return found


def language_paths(key: str, value: Json) -> dict[str, str]:
    """Return language -> path of its text, for a list of objects that each state a language of
    their own and have one text, such as [{lang: en, text: ...}, {lang: de, text: ...}]; {} for any
    other value.

    Args:
        key: name of the column that has the value.
    """
    if not isinstance(value, list) or not all(isinstance(part, Mapping) for part in value):
        return {}
    stated = [
        name
        for name in (value[0] if len(value) > 1 else ())
        if all(isinstance(part.get(name), str) and is_language(part[name]) for part in value)
    ]
    if len(stated) != 1 or len({part[stated[0]] for part in value}) < len(value):
        return {}
    texts = [name for name, text in value[0].items() if name not in stated and _is_text(text)]
    if len(texts) != 1:
        return {}
    return {
        part[stated[0]]: f"{key}.{stated[0]}={part[stated[0]]}.{texts[0]}"
        for part in value
        if _is_text(part.get(texts[0]))
    }


def _is_text(value: Json) -> TypeGuard[str | list[str]]:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)
    )


def _positions_example(first: Values, fields: Sequence[str]) -> str:
    """Return the end of an error message that shows how to select columns by position, for a CSV or
    TSV file that may have no header line; "" for other files.

    Args:
        first: first row of the file.
        fields: names of the fields that the columns are for.
    """
    file = bare_name(where_of(first).rpartition(":")[0].lower())
    if not file.endswith((".tsv", ".csv")):
        return ""
    return (
        f", or {columns_as_yaml({field: position for position, field in enumerate(fields)})} "
        "where the first line is no header"
    )


def _present_columns(first: Values) -> str:
    names = [str(key) for key in first if key != "id" or has_own_id(first)]
    return f"it has {', '.join(names)}"
