"""Readers of JSON, JSON Lines and SQuAD files, which yield a record for each object or question."""

import json
from collections.abc import Iterator

from lslm_lightning.corpora.strict_json import JsonText, parse
from lslm_lightning.corpora.text_lines import (
    EmptyFileError,
    Source,
    decode,
    numbered_lines,
    require_text,
    text_chunks,
)
from lslm_lightning.corpora.values import Record
from lslm_lightning.safety.limits import max_line
from lslm_lightning.types import Json


def read_jsonl(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield a record for each line, which must be a JSON object; blank lines are skipped.

    Args:
        header: ignored.
    """
    for number, line in require_text(name, numbered_lines(name, source)):
        if line and not line.isspace():
            yield _record_of(f"{name}:{number}", parse(f"{name}: line {number}", line))


def read_json(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield a record for each object of a JSON file.

    The file is one list of objects, a sequence of objects, or nested as SQuAD is.

    Args:
        header: ignored.
    """
    limit = None if isinstance(source, bytes) else max_line()
    text = JsonText(name, text_chunks(name, source), limit)
    if not text.peek():
        raise EmptyFileError(f"{name}: is empty; it needs at least one line of text")
    if text.skip("["):
        yield from _list_records(text)
        return
    line = text.line
    first = text.value()
    if text.peek():
        yield from _sequence_records(text, line, first)
    elif isinstance(first, dict) and _is_nested(first.get("data")):
        yield from _question_records(name, first["data"])
    elif isinstance(first, dict) and (
        lists := [key for key, value in first.items() if _is_list_of_objects(value)]
    ):
        into = " and so on, in a folder" if len(lists) > 1 else ""
        raise ValueError(
            f"{name}: is one object with lists of rows under {', '.join(map(repr, lists))}; a "
            "file must be such a list itself:"
            f" jq '.[{json.dumps(lists[0], ensure_ascii=False)}]' FILE > {lists[0]}.json{into}"
        )
    else:
        raise ValueError(
            f"{name}: must be a list of objects, not one {_type_name(first)}; for an object a line "
            "use format: jsonl"
        )


def read_squad(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield a record for each question of a file in the format of SQuAD 1.1 or 2.0.

    Each record has `title`, `context`, `question`, `answers` and `starts`, the character offset in
    the context at which each answer begins. A question marked `is_impossible` has no answers; its
    `plausible_answers` become `plausible` and `plausible_starts`.

    Args:
        header: ignored.
    """
    text = JsonText(name, iter([decode(name, source)]))
    objects = text.value()
    if text.peek():
        text.refuse("not JSON (something follows its end)")
    if not isinstance(objects, dict) or not isinstance(objects.get("data"), list):
        raise ValueError(
            f'{name}: must be an object with a list "data" of articles, as SQuAD has it; for a '
            "list of objects use format: json"
        )
    yield from _question_records(name, objects["data"])


def _list_records(text: JsonText) -> Iterator[Record]:
    """Yield a record for each object of a list whose opening "[" has been read."""
    number = 0
    while not text.skip("]"):
        if number and not text.skip(","):
            text.refuse("not JSON (the list has no ',' or ']' after an object)")
        number += 1
        text.peek()
        line = text.line
        yield _record_of(
            f"{text.name}:{number}", text.value(), f"{text.name}: line {line}, object {number}"
        )
    if text.peek():
        text.refuse("not JSON (something follows the end of the list)")


def _sequence_records(text: JsonText, line: int, value: Json) -> Iterator[Record]:
    """Yield a record for each of several consecutive objects.

    Args:
        text: the reader, which has read the first object.
        line: line number of the first object.
        value: the first object.
    """
    number = 1
    while True:
        where = f"{text.name}: line {line}, object {number}"
        yield _record_of(f"{text.name}:{number}", value, where)
        if not text.peek():
            return
        number += 1
        line = text.line
        value = text.value()


def _is_list_of_objects(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def _is_nested(articles: Json) -> bool:
    """Return whether a value is a list of SQuAD articles, which have `paragraphs`."""
    return isinstance(articles, list) and any(
        isinstance(article, dict) and "paragraphs" in article for article in articles
    )


def _question_records(name: str, articles: list[Json]) -> Iterator[Record]:
    """Yield a record for each question of a list of SQuAD articles.

    Raises:
        ValueError: an article does not have SQuAD's structure; the message states its number, from
            1.
    """
    for i, article in enumerate(articles, 1):
        try:
            for j, paragraph in enumerate(article["paragraphs"], 1):
                for k, question in enumerate(paragraph["qas"], 1):
                    is_impossible = question.get("is_impossible")
                    answers = [] if is_impossible else question["answers"]
                    plausible = (question.get("plausible_answers") or []) if is_impossible else []
                    values = {
                        "title": article.get("title", ""),
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": [answer["text"] for answer in answers],
                        "starts": [int(answer["answer_start"]) for answer in answers],
                        "plausible": [answer["text"] for answer in plausible],
                        "plausible_starts": [int(answer["answer_start"]) for answer in plausible],
                    }
                    values |= {"id": question["id"]} if "id" in question else {}
                    yield Record(
                        f"{name}:{i}.{j}.{k}",
                        values,
                        f"{name}: article {i}, paragraph {j}, question {k}",
                    )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{name}: article {i} is not as in SQuAD ({type(error).__name__}: {error})"
            ) from None


def _record_of(where: str, value: Json, shown_as: str = "") -> Record:
    """Return a JSON object as a record.

    Args:
        where: id of the record.
        shown_as: file and line for messages, if they differ from `where`.

    Raises:
        ValueError: the value is not an object.
    """
    if not isinstance(value, dict):
        way_out = (
            "; call a file that is one list of objects .json"
            if isinstance(value, list) and not shown_as
            else ""
        )
        raise ValueError(
            f"{shown_as or where}: must be an object with named columns, not "
            f"{_type_name(value)}{way_out}"
        )
    return Record(where, value, shown_as)


def _type_name(value: Json) -> str:
    return type(value).__name__.lower()
