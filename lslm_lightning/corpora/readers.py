"""Readers of corpus files, by format.

A reader takes the name of the file (for ids and messages), its bytes or the open file, and whether
the first row holds column names. It yields records: dicts from column to value with an `id` that
states file and line. Records are read one by one from an open file, except by `text`, `squad`,
`tagged` and `subject`, which read the whole file.

Raises (all readers):
    ValueError: the file is not UTF-8, contains NUL, is malformed, has a duplicate column or is
        empty (`EmptyFileError`). The message states file and line.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from lslm_lightning.corpora.arrow_records import read_arrow, read_parquet
from lslm_lightning.corpora.corpus_formats import read_spoken_digits, read_subject, read_tagged
from lslm_lightning.corpora.json_records import read_json, read_jsonl, read_squad
from lslm_lightning.corpora.tables import read_csv, read_tsv
from lslm_lightning.corpora.text_lines import Source, decode, numbered_lines, require_text
from lslm_lightning.corpora.values import Record

Reader: TypeAlias = Callable[[str, Source, bool], Iterable[Record]]


def read_text(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield one record whose `text` is the whole file."""
    yield Record(name, {"text": decode(name, source)})


def read_lines(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield a record for each line, with the line as its `text`."""
    for number, line in require_text(name, numbered_lines(name, source)):
        yield Record(f"{name}:{number}", {"text": line})


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
