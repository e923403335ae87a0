"""Find which column of a file each field of a row is read from, or propose the words that say
so.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lslm_lightning.data.archives import bare_name
from lslm_lightning.data.chat import content_key, is_chat
from lslm_lightning.data.rows import NAMED, OPTIONAL, ROW_ID, language_field, task_of, where_of
from lslm_lightning.text.language_names import is_language, language_named, match_language
from lslm_lightning.text.yaml_files import dump_yaml

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


@dataclass(frozen=True)
class Meaning:
    """Task and languages that a file is for, the column of each field, and what was assumed, in
    words.
    """

    task: str
    languages: tuple[str, ...]
    columns: Mapping[str, Any]
    assumed: tuple[str, ...] = ()


def find_meaning(
    name: str,
    first: Mapping[Any, Any],
    columns: Mapping[str, Any],
    fields: Sequence[str] = (),
    languages: Sequence[str] = (),
) -> Meaning:
    """What a file holds, by its first record.

    Columns are found that are called as fields, whatever their case, or by code or name of a
    language; objects of languages (`translation: {en, de}`) and SQuAD's answers are opened, and a
    list of chat turns becomes `text`.

    Args:
        name: the file, for messages.
        columns: what the user chose; the rest is found only where that does not say the task.
        fields: those that the task at hand reads; () where nobody knows.
        languages: those that the task at hand reads; () where it says none.

    Raises:
        ValueError: a field has no column; the message has the words that could be added.
    """
    assumed: list[str] = []
    merged = dict(columns)
    wanted = [field for field in fields if field not in map(language_field, languages)]
    lacking = [field for field in (*wanted, *languages) if field not in merged]
    if lacking or not _says_task(merged, name):
        merged = {**_find(first, wanted, languages, assumed), **columns}
    lacking = [field for field in (*wanted, *languages) if field not in merged]
    if lacking:
        raise ValueError(_lacking_words(name, first, lacking, [*wanted, *languages]))
    try:
        task, own = task_of({field: merged[field] for field in wanted} if wanted else merged, name)
    except ValueError:
        if not wanted:
            raise ValueError(_unknown_words(name, first)) from None
        # of a task that is not known here
        task = ""
        own = ()
    if languages:
        found = [
            field
            for field in merged
            if field in languages or (field != "id" and field != ROW_ID and is_language(field))
        ]
        task = "translation"
        own = tuple(found)
    return Meaning(task, own, merged, tuple(assumed))


def proposed(
    first: Mapping[Any, Any], fields: Sequence[str], by_order: bool = True
) -> dict[str, Any]:
    """A column for as many of these fields as possible, by usual names, then `by_order` of what
    holds text.
    """
    columns = {}
    chosen = set()
    texts = _text_columns(first)
    chat = _chat_column(first)
    for position, field in enumerate(fields):
        usual = USUAL_NAMES.get(field) or (SOURCE_NAMES, TARGET_NAMES)[min(position, 1)]
        by_name = {_plain(path): path for path in texts}
        numbered = [
            path
            for name, path in by_name.items()
            if re.fullmatch(rf"{re.escape(_plain(field))}[-_. ]?\d+", name)
        ]
        if len(numbered) > 1 and _plain(field) not in by_name and not chosen.intersection(numbered):
            columns[field] = numbered
            chosen.update(numbered)
            continue
        names = [
            by_name[name]
            for name in (_plain(field), *usual)
            if name in by_name and by_name[name] not in chosen
        ]
        near = difflib.get_close_matches(
            _plain(field), [name for name in by_name if by_name[name] not in chosen], 1, 0.75
        )
        found = next(iter([*names, *(by_name[name] for name in near)]), None)
        if found is None and chat is not None:
            found = _turn(first[chat], chat, position, len(fields))
        if found is not None:
            columns[field] = found
            chosen.add(found)
    left = [path for path in texts if path not in chosen]
    for field in fields:
        if by_order and field not in columns and left:
            columns[field] = left.pop(0)
    return {field: columns[field] for field in fields if field in columns}


def columns_words(columns: Mapping[str, Any]) -> str:
    """As in YAML: columns: {en: english, de: german}."""
    return f"columns: {dump_yaml(dict(columns), flow=True).strip()}"


def _says_task(columns: Mapping[str, Any], name: str) -> bool:
    try:
        task_of(columns, name)
    except ValueError:
        return False
    return True


def _plain(name: Any) -> str:
    return str(name).strip().strip("\ufeff").casefold()


def _has_own_id(first: Mapping[Any, Any]) -> bool:
    return "id" in first and first["id"] != where_of(first)


def _find(
    first: Mapping[Any, Any], wanted: Sequence[str], languages: Sequence[str], assumed: list[str]
) -> dict[str, Any]:
    """Columns of the fields that can be found; what was not said by the file's own names is added
    to `assumed`.
    """
    paths = {key: key for key in first if isinstance(key, str) and key != "id"}
    found = {}
    for key in paths:
        field = key if key in NAMED or key in wanted else _plain(key)
        if (field in NAMED or field in wanted) and (key == field or field not in paths):
            found[field] = key
    names: dict[str, str] = {}
    for key in paths:
        names.setdefault(key.strip(), key)
        names |= _languages_within(key, first[key])
    found |= _answers(first)
    if languages:
        found |= _stated_languages(first, names, languages, assumed)
    found |= _languages(names, found, assumed)
    chat = _chat_column(first)
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


def _languages_within(key: str, value: Any) -> dict[str, str]:
    """Codes of languages in an object of nothing else, as in `translation: {en, de}`."""
    if (
        isinstance(value, Mapping)
        and len(value) > 1
        and all(isinstance(inner, str) and is_language(inner) for inner in value)
    ):
        return {inner: f"{key}.{inner}" for inner in value}
    return {}


def _stated_languages(
    first: Mapping[Any, Any], paths: Mapping[str, str], languages: Sequence[str], assumed: list[str]
) -> dict[str, Any]:
    """Columns of the languages that the task reads; `id` is Indonesian where that is asked for and
    nothing else holds it.
    """
    found: dict[str, Any] = {}
    left = list(paths)
    for language in languages:
        match = match_language(language, left)
        if match is None and _has_own_id(first) and match_language(language, ["id"]):
            found[language] = "id"
            continue
        if match is None:
            continue
        left.remove(match)
        found[language] = paths[match]
        if language == "id" and _has_own_id(first):
            found[ROW_ID] = "id"
        if not is_language(match):
            assumed.append(f"column {paths[match]!r} is read as {language}")
    return found


def _languages(
    paths: Mapping[str, str], found: Mapping[str, Any], assumed: list[str]
) -> dict[str, Any]:
    """Columns that are called by the code of a language, or where there are not two of those, by
    its name.
    """
    taken = set(found.values())
    codes = {
        name: path
        for name, path in paths.items()
        if path not in taken and name not in NAMED and _is_short_code(name)
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


def _is_short_code(name: str) -> bool:
    """Whether a column is certainly called by a language's code: two letters, or more with script
    or region.
    """
    return is_language(name) and (
        len(name) == 2 or "-" in name or "_" in name or len(_base(name)) == 2
    )


def _base(name: str) -> str:
    from lslm_lightning.text.languages import base_language

    return base_language(name)


def _answers(first: Mapping[Any, Any]) -> dict[str, str]:
    """Texts and starts within `answers`, as the hub has SQuAD."""
    value = first.get("answers")
    inner = value[0] if isinstance(value, list) and value else value
    if not isinstance(inner, Mapping) or "text" not in inner:
        return {}
    return {"answers": "answers.text"} | (
        {"starts": "answers.answer_start"} if "answer_start" in inner else {}
    )


def _chat_column(first: Mapping[Any, Any]) -> str | None:
    return next(
        (key for key, value in first.items() if isinstance(key, str) and is_chat(value)), None
    )


def _turn(turns: Sequence[Mapping[str, Any]], column: str, position: int, n_field: int) -> str:
    """Path to the turn that a field is likely to be: the last for the last field, the first after
    the system's for others.
    """
    key = content_key(turns)
    if position == n_field - 1 and n_field > 1:
        return f"{column}.-1.{key}"
    begin = int(len(turns) > 1 and "system" in (turns[0].get("role"), turns[0].get("from")))
    return f"{column}.{begin}.{key}"


def _text_columns(first: Mapping[Any, Any]) -> list[str]:
    """Columns and inner columns that hold text or lists of text."""
    found = []
    for key, value in first.items():
        if key == "id" and not _has_own_id(first):
            continue
        if places := _texts_of_languages(key, value):
            found += places
            continue
        inner = (
            value[0]
            if isinstance(value, list) and value and isinstance(value[0], Mapping)
            else value
        )
        if isinstance(inner, Mapping):
            found += (
                [f"{key}.{name}" for name, part in inner.items() if _is_text(part)]
                if not is_chat(value)
                else []
            )
        elif _is_text(value) and key != "id":
            found.append(key)
    return found


def _texts_of_languages(key: str, value: Any) -> list[str]:
    """Paths to the texts in a list of objects that each say their language: [{lang: en, text: ...},
    {lang: de, text: ...}].
    """
    if (
        not isinstance(value, list)
        or len(value) < 2
        or not all(isinstance(part, Mapping) for part in value)
    ):
        return []
    codes = [
        name
        for name in value[0]
        if all(isinstance(part.get(name), str) and is_language(part[name]) for part in value)
    ]
    if len(codes) != 1:
        return []
    texts = [name for name, text in value[0].items() if name not in codes and _is_text(text)]
    return [f"{key}.{position}.{name}" for position in range(len(value)) for name in texts]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)
    )


def _lacking_words(
    name: str, first: Mapping[Any, Any], lacking: Sequence[str], fields: Sequence[str]
) -> str:
    guess = proposed(first, fields)
    lines = f"corpus {name}: no column for {' and '.join(map(repr, lacking))}; {_there(first)}"
    if set(fields) <= set(guess):
        return (
            f"{lines}; set data.columns, for example "
            f"{columns_words(guess)}{_positions_words(first, fields)}"
        )
    return f"{lines}; set data.columns to those that hold {' and '.join(fields)}"


def _positions_words(first: Mapping[Any, Any], fields: Sequence[str]) -> str:
    """How to name columns of a table that may have no header."""
    file = bare_name(where_of(first).rpartition(":")[0].lower())
    if not file.endswith((".tsv", ".csv")):
        return ""
    return (
        f", or {columns_words({field: position for position, field in enumerate(fields)})} "
        "where the first line is no header"
    )


def _unknown_words(name: str, first: Mapping[Any, Any]) -> str:
    texts = _text_columns(first)
    examples = [columns_words({"text": texts[0]})] if texts else []
    if _has_own_id(first) and (
        language := next((key for key in texts if _is_short_code(key)), None)
    ):
        examples.append(columns_words({language: language, "id": "id"}) + " where id is Indonesian")
    if len(texts) > 1:
        pair = proposed(first, ("document", "summary"))
        examples += [columns_words(pair), columns_words({"en": texts[0], "zh": texts[1]})]
    way_out = (
        f"say what they are, for example {' or '.join(examples)}"
        if examples
        else "no column holds text"
    )
    return (
        f"corpus {name}: no column is called text, document and summary, context and question, "
        "audio and text, or as two languages;"
        f" {_there(first)}: {way_out}"
    )


def _there(first: Mapping[Any, Any]) -> str:
    names = [str(key) for key in first if key != "id" or _has_own_id(first)]
    return f"it has {', '.join(names)}"
