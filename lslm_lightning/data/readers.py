"""Bytes of one file -> records: dictionaries from the file's own columns to values, each with an
`id` that names file and line.

A reader takes the name to show in ids and errors, the bytes or a file that is open for reading
them, and whether the first row holds column names. It gives records as it reads, and holds no more
of an open file than a record needs; but `text`, `squad`, `tagged` and `subject` read a file as a
whole.

Raises (all readers):
    ValueError: naming file and line: not UTF-8, a NUL, not the format, a column twice, or nothing
    in it (`EmptyFileError`).
"""

import codecs
import csv
import io
import json
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from lslm_lightning.data.archives import LFS_POINTER, refuse_pointer
from lslm_lightning.data.column_stores import (
    SizeLimit,
    bounded_slices,
    check_messages,
    check_offsets,
    check_types,
    rows_at_once,
)
from lslm_lightning.data.encodings import not_utf8
from lslm_lightning.data.strict_json import JsonText, parse
from lslm_lightning.data.values import Record
from lslm_lightning.safety.limits import max_line, too_large

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CHUNK = 1 << 20  # bytes of JSON that are read at once
SEPARATORS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}
INNER_RETURN = "\udc0d"  # stands for a carriage return that ends no line; no text in UTF-8 has it
Source = bytes | BinaryIO
Reader = Callable[[str, Source, bool], Iterable[Record]]


class EmptyFileError(ValueError):
    """A file without any text."""


def decode(name: str, source: Source) -> str:
    """Return the UTF-8 text without a byte order mark; line ends as they are.

    Raises:
        ValueError: where and which byte is not UTF-8, or the file is empty.
    """
    return _required(name, "".join(_text_lines(name, source)))


def lines_of(name: str, source: Source) -> list[str]:
    """Return all lines without their line ends; only "\\n" and "\\r\\n" end a line, as `wc -l`
    counts.
    """
    return [line for _, line in _filled(name, numbered_lines(name, source))]


def numbered_lines(name: str, source: Source) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line, without its line end, read as they are needed; a file
    may be empty.
    """
    for number, line in enumerate(_text_lines(name, source), 1):
        yield number, line.removesuffix("\n").removesuffix("\r")


def read_text(name: str, source: Source, header: bool) -> Iterator[Record]:
    """The whole file is one document."""
    yield Record(name, {"text": decode(name, source)})


def read_lines(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Each line is a document."""
    for number, line in _filled(name, numbered_lines(name, source)):
        yield Record(f"{name}:{number}", {"text": line})


def read_tsv(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Columns between tabs; quotes mean nothing."""
    rows = (
        (number, line.split("\t")) for number, line in _filled(name, numbered_lines(name, source))
    )
    return _table(name, rows, header, "\t")


def read_csv(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Columns between commas; quoted values may hold commas and line ends."""
    return _table(name, _csv_rows(name, source), header, ",")


def read_jsonl(name: str, source: Source, header: bool) -> Iterator[Record]:
    """An object a line; blank lines are skipped."""
    for number, line in _filled(name, numbered_lines(name, source)):
        if line and not line.isspace():
            yield _object(f"{name}:{number}", parse(f"{name}: line {number}", line))


def read_json(name: str, source: Source, header: bool) -> Iterator[Record]:
    """One list of objects; or objects one after the other; or questions nested as in SQuAD."""
    limit = None if isinstance(source, bytes) else max_line()
    text = JsonText(name, _chunks(name, source), limit)
    if not text.peek():
        raise EmptyFileError(f"{name}: is empty; it needs at least one line of text")
    if text.skip("["):
        yield from _listed(text)
        return
    line = text.line
    first = text.value()
    if text.peek():
        yield from _following(text, line, first)
    elif isinstance(first, dict) and _is_nested(first.get("data")):
        yield from _questions(name, first["data"])
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
            f"{name}: must be a list of objects, not one {_kind(first)}; for an object a line "
            "use format: jsonl"
        )


def read_squad(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Questions of SQuAD 1.1 and 2.0, and of all that is nested so: articles ("data"), their
    paragraphs, and the "qas" on each.

    A record has title, context, question, answers and starts, the character of the context at which
    each answer begins. Of a question marked `is_impossible` there are none; its plausible_answers
    become `plausible` and `plausible_starts`.
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
    yield from _questions(name, objects["data"])


def read_tagged(name: str, source: Source, header: bool) -> Iterator[Record]:
    """One document of `word/tag` tokens; the word is everything before the last slash. A non-empty
    line is a sentence.
    """
    sentences = (line.split() for line in lines_of(name, source))
    text = "\n".join(
        " ".join(token.rpartition("/")[0] for token in tokens) for tokens in sentences if tokens
    )
    yield Record(name, {"id": _stem(name), "text": text})


def read_subject(name: str, source: Source, header: bool) -> Iterator[Record]:
    """An email: the body, then lines `@subject`, `@ann0`... each followed by a subject line (the
    AESLC corpus).
    """
    body, *parts = re.split(r"^@(subject|ann\d)\r?\n", decode(name, source), flags=re.MULTILINE)
    if not parts or parts[0] != "subject":
        raise ValueError(f"{name}: has no line @subject after the body")
    named = {key: value.strip() for key, value in zip(parts[::2], parts[1::2], strict=True)}
    yield Record(name, {"id": _stem(name), "body": body.strip()} | named)


def read_spoken_digits(name: str, source: Source, header: bool) -> Iterator[Record]:
    """A recording, `DIGIT_SPEAKER_INDEX.wav`, whose text is the digit in English (the Free Spoken
    Digit Dataset).
    """
    match = re.fullmatch(r"(\d)_([^_]+)_(\d+)", _stem(name))
    if not match:
        raise ValueError(f"{name}: the name of a recording must be DIGIT_SPEAKER_INDEX.wav")
    digit, speaker, index = match.groups()
    named = {"audio": name, "text": DIGITS[int(digit)], "speaker": speaker, "index": index}
    yield Record(name, {"id": _stem(name)} | named)


def read_parquet(
    name: str, source: Source, header: bool, column: str | None = None
) -> Iterator[Record]:
    """A record for every row, of one column where only that is wanted and there."""
    from pyarrow import parquet  # slow to import

    def batches() -> Iterator[Any]:
        found, budget = _random_access(name, source)
        file = parquet.ParquetFile(found)
        names = file.schema_arrow.names
        _distinct(f"{name}: the schema", names)
        check_types(name, file.schema_arrow)
        n_row = rows_at_once(found, budget)
        for batch in file.iter_batches(n_row, columns=[column] if column in names else None):
            yield from bounded_slices(batch, budget)

    return _rows(name, "Parquet", batches())


def read_arrow(
    name: str, source: Source, header: bool, column: str | None = None
) -> Iterator[Record]:
    """A record for every row of a file or stream in Arrow's IPC format, as `datasets` saves
    them.
    """
    import pyarrow
    from pyarrow import ipc

    def batches() -> Iterator[Any]:
        file, budget = _random_access(name, source)
        check_messages(file, budget)
        try:
            opened = ipc.open_file(file)
            found = (opened.get_batch(number) for number in range(opened.num_record_batches))
        except pyarrow.ArrowInvalid:
            file.seek(0)
            found = opened = ipc.open_stream(file)
        names = opened.schema.names
        _distinct(f"{name}: the schema", names)
        check_types(name, opened.schema)
        for batch in found:
            batch = batch.select([column]) if column in names else batch
            check_offsets(batch)
            yield from bounded_slices(batch, budget)

    return _rows(name, "Arrow", batches())


def read_parallel(files: Mapping[str, tuple[str, Source]]) -> Iterator[Record]:
    """Line i of every language's file; `files` maps a language to name and bytes.

    Raises:
        ValueError: the files differ in their number of lines.
    """
    lines = {language: lines_of(name, source) for language, (name, source) in files.items()}
    if len({len(side) for side in lines.values()}) > 1:
        counts = ", ".join(
            f"{name} has {len(lines[language])}" for language, (name, _) in files.items()
        )
        raise ValueError(
            f"parallel files must have equal numbers of lines: {counts}; line i of each must be "
            "a translation of the others"
        )
    first = next(iter(files.values()))[0]
    for number, sentences in enumerate(zip(*lines.values(), strict=True), 1):
        identity = f"{first.split('.')[0]}:{number}"
        yield Record(identity, dict(zip(lines, sentences, strict=True)))


def read_sphinx(files: Mapping[str, Source]) -> Iterator[Record]:
    """Utterances of CMU Sphinx: line i of `*.fileids` says where its cepstra lie, in the folder
    among `files`, and line i of `*.transcription` its words, then its name in parentheses. The
    speaker is the folder it lies in.

    Raises:
        ValueError: a file is lacking, or lines do not belong together.
    """
    names = [
        next((name for name in files if PurePosixPath(name).suffix == kind), None)
        for kind in (".fileids", ".transcription", "")
    ]
    if None in names:
        raise ValueError(
            "format sphinx needs a file *.fileids, one *.transcription and a folder of "
            f"features, not {', '.join(files)}"
        )
    places, words, folder = names
    of_places = lines_of(places, files[places])
    of_words = lines_of(words, files[words])
    if len(of_places) != len(of_words):
        raise ValueError(
            f"{places} has {len(of_places)} lines and {words} {len(of_words)}; line i of both "
            "must be of one utterance"
        )
    for number, (place, line) in enumerate(zip(of_places, of_words, strict=True), 1):
        path = PurePosixPath(place.strip())
        text, _, name = line.rpartition("(")
        if name.strip() != f"{path.name})":
            raise ValueError(
                f"{words}: line {number}: must end in ({path.name}), as line {number} of "
                f"{places} says, not in {line[-40:]!r}"
            )
        values = {
            "id": path.name,
            "audio": f"{folder}/{path}.mfc",
            "text": text.strip(),
            "speaker": path.parent.name,
        }
        yield Record(f"{words}:{number}", values)


READERS: Mapping[str, Reader] = {
    "text": read_text,
    "lines": read_lines,
    "tsv": read_tsv,
    "csv": read_csv,
    "jsonl": read_jsonl,
    "json": read_json,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "squad": read_squad,
    "tagged": read_tagged,
    "subject": read_subject,
    "spoken_digits": read_spoken_digits,
}


def _text_lines(name: str, source: Source) -> Iterator[str]:
    """Lines with their line ends, as they are needed, without a byte order mark.

    Raises:
        ValueError: bytes of a line are not UTF-8, or NUL; where, and what else they may be.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    limit = len(source) if isinstance(source, bytes) else max_line()
    offset = 0
    known = ""
    for number, raw in enumerate(iter(partial(file.readline, limit + 1), b""), 1):
        if len(raw) > limit:
            raise too_large(f"{name}: line {number}", limit, verb="has")
        if number == 1:
            refuse_pointer(name, raw)
            offset = len(codecs.BOM_UTF8) * raw.startswith(codecs.BOM_UTF8)
            raw = raw[offset:]
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                not_utf8(
                    f"{name}: line {number}", raw + file.read(CHUNK), error.start, offset, known
                )
            ) from None
        if "\0" in line or "\x1b$" in line:
            at = raw.find(b"\0") if "\0" in line else raw.find(b"\x1b$")
            raise ValueError(
                not_utf8(f"{name}: line {number}", raw + file.read(CHUNK), at, offset, known)
            )
        if not line.isascii():
            known = line
        offset += len(raw)
        yield line


def _chunks(name: str, source: Source) -> Iterator[str]:
    """The same text in pieces of about `CHUNK`, for files whose lines may be as long as they are
    themselves.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    decoder = codecs.getincrementaldecoder("utf-8")()
    number = 1
    offset = 0
    known = ""
    while True:
        raw = file.read(CHUNK)
        if not offset:
            refuse_pointer(name, raw)
            offset = len(codecs.BOM_UTF8) * raw.startswith(codecs.BOM_UTF8)
            raw = raw[offset:]
        waiting = decoder.getstate()[0]
        try:
            text = decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            content = waiting + raw
            at = error.start
            line = number + content.count(b"\n", 0, error.start)
            raise ValueError(
                not_utf8(f"{name}: line {line}", content, at, offset - len(waiting), known)
            ) from None
        if "\0" in text:
            content = waiting + raw
            at = content.find(b"\0")
            line = number + content.count(b"\n", 0, at)
            raise ValueError(
                not_utf8(f"{name}: line {line}", content, at, offset - len(waiting), known)
            )
        known = known if text.isascii() else text
        number += text.count("\n")
        offset += len(raw)
        if text:
            yield text
        if not raw:
            return


def _required(name: str, text: str) -> str:
    if not text or text.isspace():
        raise EmptyFileError(f"{name}: is empty; it needs at least one line of text")
    return text


def _filled(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The lines as they are.

    Raises:
        EmptyFileError: at the end, where none of them has any text.
    """
    filled = False
    for number, line in lines:
        filled = filled or bool(line and not line.isspace())
        yield number, line
    _required(name, "text" if filled else "")


def _csv_rows(name: str, source: Source) -> Iterator[tuple[int, list[str]]]:
    """Number of the last line and values of each row that is not blank."""
    limit = sys.maxsize if isinstance(source, bytes) else max_line()
    # of this process; its default, 131,072 characters, is less than a long document has
    csv.field_size_limit(limit)
    table = csv.reader(_csv_lines(name, source), strict=True)
    begins = 1
    filled = False
    try:
        for row in table:
            if row:
                filled = filled or any(value and not value.isspace() for value in row)
                yield table.line_num, [value.replace(INNER_RETURN, "\r") for value in row]
            begins = table.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{name}: line {begins}: not CSV ({error}, in line {table.line_num}); a quote in a "
            "quoted value must be doubled"
        ) from None
    _required(name, "text" if filled else "")


def _csv_lines(name: str, source: Source) -> Iterator[str]:
    """Lines for the parser, which would take a carriage return for the end of a row where it ends
    no line.
    """
    for line in _text_lines(name, source):
        end = "\r\n" if line.endswith("\r\n") else ""
        inner = line.removesuffix(end)
        yield inner.replace("\r", INNER_RETURN) + end if "\r" in inner else line


def _table(
    name: str, rows: Iterable[tuple[int, list[str]]], header: bool, separator: str
) -> Iterator[Record]:
    names: list[Any] | None = None
    title = ""  # the only column's, while another separator may be meant
    for number, row in rows:
        if names is None:
            names = row if header else list(range(len(row)))
            if header:
                _check_header(f"{name}: line {number}", row)
                title = row[0] if len(row) == 1 else ""
                continue
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
    if any("\r" in name for name in names):
        raise ValueError(
            f"{where}: the names of columns have a carriage return; only LF and CRLF end a line: "
            "where it should, convert the file,"
            f" tr '\\r' '\\n' < FILE > NEW_FILE"
        )
    _distinct(where, names)


def _check_separator(name: str, title: str, first: str, separator: str) -> None:
    """Refuse a table whose only column, in the header and the first row, has the same number of
    parts by another separator.
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


def _distinct(where: str, names: Sequence[str]) -> None:
    """Refuse a column that stands twice; columns without a name cannot be chosen, and may."""
    if twice := [name for i, name in enumerate(names) if name and name in names[:i]]:
        raise ValueError(
            f"{where}: has the column {twice[0]!r} twice; rename or remove one of them"
        )


def _random_access(name: str, source: Source) -> tuple[Any, SizeLimit]:
    """A file for Arrow, which reads its end first, and what it may unpack to.

    One that can only be read from its begin is taken into memory.
    """
    import pyarrow

    if isinstance(source, bytes) or not source.seekable():
        data = source if isinstance(source, bytes) else source.read()
        refuse_pointer(name, data)
        return pyarrow.BufferReader(data), SizeLimit(name, len(data), True)
    refuse_pointer(name, source.read(len(LFS_POINTER)))
    n_byte = source.seek(0, io.SEEK_END)
    source.seek(0)
    return pyarrow.PythonFile(source, "r"), SizeLimit(name, n_byte, False)


def _rows(name: str, kind: str, batches: Iterator[Any]) -> Iterator[Record]:
    """A record for every row of Arrow's batches."""
    import pyarrow

    number = 0
    try:
        for batch in batches:
            for values in _values(name, number, batch):
                number += 1
                yield Record(f"{name}:{number}", values)
    except (pyarrow.ArrowException, OSError, MemoryError, struct.error) as error:
        raise ValueError(
            f"{name}: not a readable {kind} file ({' '.join(str(error).split())[:160]})"
        ) from None


def _values(name: str, n_before: int, batch: Any) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()
    except UnicodeDecodeError as error:
        if len(batch) > 1:
            return [
                value
                for i in range(len(batch))
                for value in _values(name, n_before + i, batch.slice(i, 1))
            ]
        raise ValueError(
            f"{name}: row {n_before + 1}: a text is not UTF-8 ({error.reason}, "
            f"{error.object[:20]!r})"
        ) from None
    except ValueError as error:  # two fields of a struct have one name
        raise ValueError(f"{name}: rows from {n_before + 1} on: {error}") from None


def _listed(text: JsonText) -> Iterator[Record]:
    """The objects of a list whose begin has been read."""
    number = 0
    while not text.skip("]"):
        if number and not text.skip(","):
            text.refuse("not JSON (the list has no ',' or ']' after an object)")
        number += 1
        text.peek()
        line = text.line
        yield _object(
            f"{text.name}:{number}", text.value(), f"{text.name}: line {line}, object {number}"
        )
    if text.peek():
        text.refuse("not JSON (something follows the end of the list)")


def _following(text: JsonText, line: int, value: Any) -> Iterator[Record]:
    """Objects one after the other; the first has been read, in that line."""
    number = 1
    while True:
        yield _object(f"{text.name}:{number}", value, f"{text.name}: line {line}, object {number}")
        if not text.peek():
            return
        number += 1
        line = text.line
        value = text.value()


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def _is_nested(articles: Any) -> bool:
    """Whether this is a list of articles as in SQuAD, and not of rows."""
    return isinstance(articles, list) and any(
        isinstance(article, dict) and "paragraphs" in article for article in articles
    )


def _questions(name: str, articles: Any) -> Iterator[Record]:
    """Questions of SQuAD's articles; one that is not as it must be is named by numbers from 1."""
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


def _object(where: str, value: Any, place: str = "") -> Record:
    if not isinstance(value, dict):
        way_out = (
            "; call a file that is one list of objects .json"
            if isinstance(value, list) and not place
            else ""
        )
        raise ValueError(
            f"{place or where}: must be an object with named columns, not {_kind(value)}{way_out}"
        )
    return Record(where, value, place)


def _kind(value: Any) -> str:
    return type(value).__name__.lower()


def _stem(name: str) -> str:
    return name.rpartition("/")[2].split(".")[0]
