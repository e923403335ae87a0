"""Determine the column of a file from which each field of a row is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lslm_lightning.corpora.column_proposals import (
    chat_column,
    folded_name,
    has_own_id,
    is_short_code,
    language_paths,
    missing_columns_message,
    unknown_columns_message,
)
from lslm_lightning.corpora.rows import NAMED, OPTIONAL, ROW_ID, language_field, task_of
from lslm_lightning.corpora.values import Values
from lslm_lightning.text.language_names import is_language, language_named, match_language
from lslm_lightning.types import Json, JsonObject, Settings


@dataclass(frozen=True)
class FoundColumns:
    """Columns found in a file, with the task and languages that they imply.

    Args:
        task: "" if the fields belong to no task known to this module.
        languages: languages of a parallel corpus; () for other tasks.
        columns: field -> column.
        assumed: guesses that were made, as sentences without capital and full stop.
    """

    task: str
    languages: tuple[str, ...]
    columns: Settings
    assumed: tuple[str, ...] = ()


def find_columns(
    name: str,
    first: Values,
    columns: Settings,
    fields: Sequence[str] = (),
    languages: Sequence[str] = (),
) -> FoundColumns:
    """Return the column of each field, found from the first record of a file.

    A column is recognized by the name of a field, in any case, or by the code or name of a
    language. Objects whose keys are languages (`translation: {en, de}`), lists of objects that
    state their language, and SQuAD's `answers` are searched too. A list of chat turns becomes
    `text`.

    Args:
        name: name of the file, for messages.
        first: the first record of the file.
        columns: field -> column as the user set them; others are searched for only if these do not
            determine the task.
        fields: fields that the current task reads; () if unknown.
        languages: languages that the current task reads; () if the task states none.

    Raises:
        ValueError: a field has no column; the message suggests columns to set.
    """
    assumed: list[str] = []
    merged = dict(columns)
    wanted = [field for field in fields if field not in map(language_field, languages)]
    lacking = [field for field in (*wanted, *languages) if field not in merged]
    if lacking or not _says_task(merged, name):
        merged = {**_find_by_name(first, wanted, languages, assumed), **columns}
    lacking = [field for field in (*wanted, *languages) if field not in merged]
    if lacking:
        raise ValueError(missing_columns_message(name, first, lacking, [*wanted, *languages]))
    try:
        stated = {field: merged[field] for field in wanted} if wanted else merged
        task, of_task = task_of(stated, name)
    except ValueError:
        if not wanted:
            raise ValueError(unknown_columns_message(name, first)) from None
        # of a task that is not known here
        task = ""
        of_task = ()
    if languages:
        task = "translation"
        of_task = tuple(
            field
            for field in merged
            if field in languages or (field != "id" and field != ROW_ID and is_language(field))
        )
    return FoundColumns(task, of_task, merged, tuple(assumed))


def _says_task(columns: Settings, name: str) -> bool:
    """Return whether the fields in `columns` determine a task."""
    try:
        task_of(columns, name)
    except ValueError:
        return False
    return True


def _find_by_name(
    first: Values, wanted: Sequence[str], languages: Sequence[str], assumed: list[str]
) -> JsonObject:
    """Return field -> column for the fields that the column names in the first record identify.

    Args:
        first: the first record of the file.
        wanted: fields that the current task reads, without languages.
        languages: languages that the current task reads.
        assumed: list to which descriptions of guesses are appended.
    """
    paths = {key: key for key in first if isinstance(key, str) and key != "id"}
    found = {}
    for key in paths:
        field = key if key in NAMED or key in wanted else folded_name(key)
        if (field in NAMED or field in wanted) and (key == field or field not in paths):
            found[field] = key
    names: dict[str, str] = {}
    for key in paths:
        names.setdefault(key.strip(), key)
        names |= _nested_language_columns(key, first[key])
    found |= _answer_columns(first)
    if languages:
        found |= _stated_language_columns(first, names, languages, assumed)
    found |= _language_columns(names, found, assumed)
    chat = chat_column(first)
    if (
        chat is not None
        and "text" not in found
        and not (languages or set(wanted) - {"text"})
        and not _says_task(found, "")
    ):
        found["text"] = chat
        assumed.append(f"the turns in {chat} are read as text, each as role: content")
    if "question" in found:
        # other records may have those
        found |= {field: field for field in sorted(OPTIONAL) if field not in found}
    return found


def _nested_language_columns(key: str, value: Json) -> dict[str, str]:
    """Return language -> path for an object whose keys are all languages, as in `translation: {en,
    de}`, or for a list of objects that each state their language; {} for any other value.
    """
    if (
        isinstance(value, Mapping)
        and len(value) > 1
        and all(isinstance(inner, str) and is_language(inner) for inner in value)
    ):
        return {inner: f"{key}.{inner}" for inner in value}
    return language_paths(key, value)


def _stated_language_columns(
    first: Values, paths: Mapping[str, str], languages: Sequence[str], assumed: list[str]
) -> JsonObject:
    """Return language -> column for the languages that the task reads.

    `id` is read as Indonesian if Indonesian is requested and no other column holds it.

    Args:
        paths: column name -> path of the column.
        assumed: list to which descriptions of guesses are appended.
    """
    found: JsonObject = {}
    left = list(paths)
    for language in languages:
        match = match_language(language, left)
        if match is None and has_own_id(first) and match_language(language, ["id"]):
            found[language] = "id"
            continue
        if match is None:
            continue
        left.remove(match)
        found[language] = paths[match]
        if language == "id" and has_own_id(first):
            found[ROW_ID] = "id"
        if not is_language(match):
            assumed.append(f"column {paths[match]!r} is read as {language}")
    return found


def _language_columns(paths: Mapping[str, str], found: Settings, assumed: list[str]) -> JsonObject:
    """Return language -> column for columns named by language codes or, if there are fewer than two
    of them, by the names of languages.

    Args:
        paths: column name -> path of the column.
        found: columns already assigned to fields.
        assumed: list to which descriptions of guesses are appended.
    """
    taken = set(found.values())
    codes = {
        name: path
        for name, path in paths.items()
        if path not in taken and name not in NAMED and is_short_code(name)
    }
    if len(codes) + sum(is_language(field) for field in found) >= 2 or found:
        return {name: path for name, path in codes.items() if name not in found}
    named = {
        code: path
        for name, path in paths.items()
        if path not in taken and (code := language_named(name))
    }
    if len(named) + len(codes) < 2:
        return codes
    assumed += [f"column {path!r} is read as {code}" for code, path in named.items()]
    return {**codes, **{code: path for code, path in named.items() if code not in codes}}


def _answer_columns(first: Values) -> dict[str, str]:
    """Return the paths of `answers` and `starts` inside an object `answers`, the layout of SQuAD on
    the Hugging Face hub; {} if there is no such object.
    """
    value = first.get("answers")
    inner = value[0] if isinstance(value, list) and value else value
    if not isinstance(inner, Mapping) or "text" not in inner:
        return {}
    return {"answers": "answers.text"} | (
        {"starts": "answers.answer_start"} if "answer_start" in inner else {}
    )
