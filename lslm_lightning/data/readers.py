"""Bytes of one file -> records: dictionaries from the file's own columns to values, each with an `id` that names file and line.

A reader takes the name to show in ids and errors, the bytes, and whether the first row holds column names.

Raises (all readers):
    ValueError: naming file and line: not UTF-8, not the format, or nothing in it.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
Record = dict[Any, Any]
Reader = Callable[[str, bytes, bool], Iterable[Record]]


def decode(name: str, data: bytes) -> str:
    """UTF-8 text without a byte order mark; line ends as they are.

    Raises:
        ValueError: where and which byte is not UTF-8, or the file is empty.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8"
        raise ValueError(f"{name}: line {line}: {byte}; convert the file, for example with iconv -f latin1 -t utf-8") from None
    if not text.strip():
        raise ValueError(f"{name}: is empty; it needs at least one line of text")
    return text


def lines_of(name: str, data: bytes) -> list[str]:
    """Lines without their line ends; only "\\n" and "\\r\\n" end a line, as `wc -l` counts."""
    lines = decode(name, data).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_text(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """The whole file is one document."""
    yield {"id": name, "text": decode(name, data)}


def read_lines(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """Each line is a document."""
    for number, line in enumerate(lines_of(name, data), 1):
        yield {"id": f"{name}:{number}", "text": line}


def read_tsv(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """Columns between tabs; quotes mean nothing."""
    rows = ((number, line.split("\t")) for number, line in enumerate(lines_of(name, data), 1))
    return _table(name, rows, header)


def read_csv(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """Columns between commas; quoted values may hold commas and line ends."""
    csv.field_size_limit(sys.maxsize)  # of this process; its default, 131,072 characters, is less than a long document has
    table = csv.reader(io.StringIO(decode(name, data), newline=""), strict=True)
    try:
        yield from _table(name, ((table.line_num, row) for row in table if row), header)
    except csv.Error as error:
        raise ValueError(f"{name}: line {table.line_num}: not CSV ({error})") from None


def read_jsonl(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """An object a line; blank lines are skipped."""
    for number, line in enumerate(lines_of(name, data), 1):
        if line.strip():
            yield _object(f"{name}:{number}", _json(f"{name}: line {number}", line))


def read_json(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """One list of objects; or questions nested as in SQuAD."""
    objects = _json(name, decode(name, data))
    if isinstance(objects, dict) and isinstance(objects.get("data"), list):
        yield from _questions(name, objects["data"])
        return
    if not isinstance(objects, list):
        raise ValueError(f"{name}: must be a list of objects, not one {type(objects).__name__}; for an object a line use format: jsonl")
    for number, value in enumerate(objects, 1):
        yield _object(f"{name}:{number}", value)


def read_squad(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """Questions of SQuAD 1.1 and 2.0, and of all that is nested so: articles ("data"), their paragraphs, and the "qas" on each.

    A record has title, context, question, answers and starts, the character of the context at which each answer begins. Of a question
    marked `is_impossible` there are none; its plausible_answers become `plausible` and `plausible_starts`.
    """
    objects = _json(name, decode(name, data))
    if not isinstance(objects, dict) or not isinstance(objects.get("data"), list):
        raise ValueError(
            f'{name}: must be an object with a list "data" of articles, as SQuAD has it; for a list of objects use format: json'
        )
    yield from _questions(name, objects["data"])


def read_tagged(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """One document of `word/tag` tokens; the word is everything before the last slash. A non-empty line is a sentence."""
    sentences = (line.split() for line in lines_of(name, data))
    text = "\n".join(" ".join(token.rpartition("/")[0] for token in tokens) for tokens in sentences if tokens)
    yield {"id": _stem(name), "text": text}


def read_subject(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """An email: the body, then lines `@subject`, `@ann0`... each followed by a subject line (the AESLC corpus)."""
    body, *parts = re.split(r"^@(subject|ann\d)\n", decode(name, data), flags=re.MULTILINE)
    if not parts or parts[0] != "subject":
        raise ValueError(f"{name}: has no line @subject after the body")
    yield {"id": _stem(name), "body": body.strip()} | {key: value.strip() for key, value in zip(parts[::2], parts[1::2], strict=True)}


def read_spoken_digits(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """A recording, `DIGIT_SPEAKER_INDEX.wav`, whose text is the digit in English (the Free Spoken Digit Dataset)."""
    match = re.fullmatch(r"(\d)_([^_]+)_(\d+)", _stem(name))
    if not match:
        raise ValueError(f"{name}: the name of a recording must be DIGIT_SPEAKER_INDEX.wav")
    digit, speaker, index = match.groups()
    yield {"id": _stem(name), "audio": name, "text": DIGITS[int(digit)], "speaker": speaker, "index": index}


def read_parquet(name: str, data: bytes, header: bool) -> Iterator[Record]:
    """A record for every row."""
    import pyarrow  # slow to import
    from pyarrow import parquet

    try:
        batches = parquet.ParquetFile(pyarrow.BufferReader(data)).iter_batches()
        for number, record in enumerate((record for batch in batches for record in batch.to_pylist()), 1):
            yield {"id": f"{name}:{number}"} | record
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{name}: not a readable Parquet file ({' '.join(str(error).split())[:160]})") from None


def read_parallel(files: Mapping[str, tuple[str, bytes]]) -> Iterator[Record]:
    """Line i of every language's file; `files` maps a language to name and bytes.

    Raises:
        ValueError: the files differ in their number of lines.
    """
    lines = {language: lines_of(name, data) for language, (name, data) in files.items()}
    if len({len(side) for side in lines.values()}) > 1:
        counts = ", ".join(f"{name} has {len(lines[language])}" for language, (name, _) in files.items())
        raise ValueError(f"parallel files must have equal numbers of lines: {counts}; line i of each must be a translation of the others")
    first = next(iter(files.values()))[0]
    for number, sentences in enumerate(zip(*lines.values(), strict=True), 1):
        yield {"id": f"{first.split('.')[0]}:{number}", **dict(zip(lines, sentences, strict=True))}


def read_sphinx(files: Mapping[str, bytes]) -> Iterator[Record]:
    """Utterances of CMU Sphinx: line i of `*.fileids` says where its cepstra lie, in the folder among `files`, and line i of
    `*.transcription` its words, then its name in parentheses. The speaker is the folder it lies in.

    Raises:
        ValueError: a file is lacking, or lines do not belong together.
    """
    names = [next((name for name in files if PurePosixPath(name).suffix == kind), None) for kind in (".fileids", ".transcription", "")]
    if None in names:
        raise ValueError(f"format sphinx needs a file *.fileids, one *.transcription and a folder of features, not {', '.join(files)}")
    places, words, folder = names
    of_places, of_words = lines_of(places, files[places]), lines_of(words, files[words])
    if len(of_places) != len(of_words):
        raise ValueError(f"{places} has {len(of_places)} lines and {words} {len(of_words)}; line i of both must be of one utterance")
    for number, (place, line) in enumerate(zip(of_places, of_words, strict=True), 1):
        path = PurePosixPath(place.strip())
        text, _, name = line.rpartition("(")
        if name.strip() != f"{path.name})":
            raise ValueError(f"{words}: line {number}: must end in ({path.name}), as line {number} of {places} says, not in {line[-40:]!r}")
        yield {"id": path.name, "audio": f"{folder}/{path}.mfc", "text": text.strip(), "speaker": path.parent.name}


READERS: Mapping[str, Reader] = {
    "text": read_text,
    "lines": read_lines,
    "tsv": read_tsv,
    "csv": read_csv,
    "jsonl": read_jsonl,
    "json": read_json,
    "parquet": read_parquet,
    "squad": read_squad,
    "tagged": read_tagged,
    "subject": read_subject,
    "spoken_digits": read_spoken_digits,
}


def _table(name: str, rows: Iterable[tuple[int, list[str]]], header: bool) -> Iterator[Record]:
    names: list[Any] | None = None
    for number, row in rows:
        if names is None:
            names = row if header else list(range(len(row)))
            if header:
                continue
        if len(row) != len(names):
            raise ValueError(f"{name}: line {number}: has {len(row)} columns where the first line has {len(names)}")
        yield {"id": f"{name}:{number}", **dict(zip(names, row, strict=True))}


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON ({error})") from None


def _questions(name: str, articles: Any) -> Iterator[Record]:
    """Of SQuAD's articles; the place of one that is not as it must be is named by numbers from 1."""
    for i, article in enumerate(articles, 1):
        try:
            for j, paragraph in enumerate(article["paragraphs"], 1):
                for k, question in enumerate(paragraph["qas"], 1):
                    is_impossible = question.get("is_impossible")
                    answers = [] if is_impossible else question["answers"]
                    plausible = (question.get("plausible_answers") or []) if is_impossible else []
                    yield {
                        "id": question.get("id", f"{name}:{i}.{j}.{k}"),
                        "title": article.get("title", ""),
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": [answer["text"] for answer in answers],
                        "starts": [answer["answer_start"] for answer in answers],
                        "plausible": [answer["text"] for answer in plausible],
                        "plausible_starts": [answer["answer_start"] for answer in plausible],
                    }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{name}: article {i} is not as in SQuAD ({type(error).__name__}: {error})") from None


def _object(identity: str, value: Any) -> Record:
    if not isinstance(value, dict):
        raise ValueError(f"{identity}: must be an object with named columns, not {type(value).__name__}")
    return {"id": identity} | value


def _stem(name: str) -> str:
    return name.rpartition("/")[2].split(".")[0]
