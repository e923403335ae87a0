"""Tables and example configs that `lslm data check` prints."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from lslm_lightning.corpora.column_proposals import propose_columns
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.corpora.rows import FILES, JOINED, Row, references_of, where_of
from lslm_lightning.corpora.values import Record
from lslm_lightning.localization import MESSAGES, translated
from lslm_lightning.text.languages import units_of
from lslm_lightning.text.scripts import letters_by_script, units_of_script
from lslm_lightning.text.yaml_files import dump_yaml
from lslm_lightning.types import JsonObject, Settings

N_RECORD = 2
N_QUESTION = 100  # whose answers are looked up in their passages
WIDTH = 36
CLASSES = {
    "translation": (
        "tasks.translation.task.TranslationTask",
        "tasks.translation.data.TranslationData",
    ),
    "language_modeling": (
        "tasks.language_modeling.task.LanguageModelingTask",
        "tasks.language_modeling.data.LanguageModelingData",
    ),
    "summarization": (
        "tasks.summarization.task.SummarizationTask",
        "tasks.summarization.data.SummarizationData",
    ),
    "question_answering": (
        "tasks.question_answering.task.QuestionAnsweringTask",
        "tasks.question_answering.data.GenerativeData",
    ),
    "speech_recognition": (
        "tasks.speech_recognition.task.SpeechRecognitionTask",
        "tasks.speech_recognition.data.SpeechData",
    ),
}
"""Task and data of the corpora of a task, for the config."""
SPANS = (
    "tasks.question_answering.extractive.task.SpanTask",
    "tasks.question_answering.extractive.data.SpanData",
)
"""The same of questions whose answers are spans of their passages."""
PAIRS = (("document", "summary"), ("context", "question", "answers"), ("audio", "text"), ("text",))
"""Fields of the tasks that a table of unknown columns is compared with."""


def columns_table(records: Sequence[Record], columns: Settings) -> Table:
    """Build a table with one row per column: name, type, field it is read as, and example values.

    Args:
        records: first records of the file.
        columns: column of each field.
    """
    table = Table(
        "column",
        "type",
        "read as",
        *("first rows", "")[: len(records)],
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    fields = fields_by_column(columns)
    names = dict.fromkeys(
        name for record in records for name in record if not _is_generated_id(record, name)
    )
    for name in names:
        values = [record.get(name) for record in records]
        used = [
            field
            for column, field in fields
            if column == str(name) or column.startswith(f"{name}.")
        ]
        first = next((value for value in values if value is not None), None)
        cells = [
            printable(str(name)),
            translated(type_of(first), MESSAGES),
            ", ".join(used),
        ]
        table.add_row(*map(Text, [*cells, *(shortened(value) for value in values)]))
    return table


def rows_table(corpus: Corpus, split: str) -> Table:
    """Build a table that shows the fields of the first rows of a split."""
    rows = [corpus.rows(split)[i] for i in range(min(N_RECORD, len(corpus.rows(split))))]
    table = Table("field", *("first rows", "")[: len(rows)], box=box.SIMPLE_HEAD, pad_edge=False)
    for field in dict.fromkeys(field for row in rows for field in row):
        table.add_row(*map(Text, [field, *(shortened(row.get(field)) for row in rows)]))
    return table


class MeasuredRecordings(NamedTuple):
    """Lengths of the recordings of a split, and those that are missing.

    Attributes:
        seconds: length of each recording whose format is known; none without the package soundfile.
        unread: names of the files that cannot be read.
    """

    seconds: list[float]
    unread: list[str]


def measure_recordings(corpus: Corpus, rows: Sequence[Row]) -> MeasuredRecordings:
    """Read the recordings that rows name, and return their lengths."""
    found = MeasuredRecordings([], [])
    for name in [str(row[field]) for field in FILES.intersection(corpus.fields) for row in rows]:
        from lslm_lightning.audio.waveform import seconds_of  # imports torch

        try:
            seconds = seconds_of(corpus.read(name), name)
        except (ValueError, OSError):
            found.unread.append(name)
            continue
        if seconds is not None:
            found.seconds.append(seconds)
    return found


def add_lengths(
    table: Table, corpus: Corpus, split: str, rows: Sequence[Row], seconds: Sequence[float]
) -> None:
    """Add one row per field of a split to the table: number of examples, mean and maximum length,
    digest.

    Args:
        seconds: lengths of the recordings that the rows name.
    """
    digest = corpus.digest(split)[:12]
    for number, field in enumerate(corpus.fields):
        texts = [text for row in rows for text in _texts_of(row.get(field, []))]
        if not texts:  # of lists that may be empty
            continue
        label = field if len(texts) == len(rows) else f"{field} x {len(texts) / len(rows):.3g}"
        first = ("", "", "") if number else (split, f"{len(rows):,}", digest)
        if field in FILES:
            lengths = (
                [f"{fmean(seconds):,.1f} s", "", f"{max(seconds):,.1f} s"]
                if seconds
                else ["", "", ""]
            )
        else:
            lengths = _lengths_of_texts(corpus, field, texts)
        table.add_row(*first[:2], label, *lengths, first[2])


def _lengths_of_texts(corpus: Corpus, field: str, texts: Sequence[str]) -> list[str]:
    """Return the mean length of texts in characters and in words, and the length of the longest
    one; the mean in words is "" in a language that is not counted in words.
    """
    language = field if corpus.task == "translation" else next(iter(corpus.languages), "")
    letters = letters_by_script("".join(texts[:100])).most_common(1)
    units = units_of(language) if language else units_of_script(letters[0][0] if letters else "")
    n_word = f"{fmean(len(text.split()) for text in texts):,.1f}" if units == "words" else ""
    return [f"{fmean(map(len, texts)):,.1f}", n_word, f"{max(map(len, texts)):,}"]


def _texts_of(value: str | list[str]) -> list[str]:
    """Return a field value as a list of texts; a single text becomes a list of one."""
    return [value] if isinstance(value, str) else value


def config_of(corpus: Corpus, columns: Settings) -> str:
    """Return an example config for `lslm evaluate` on a corpus as YAML, without systems; "" if the
    task is unknown.

    Args:
        columns: column of each field; empty for the columns that the corpus defines.
    """
    task = _task_of(corpus)
    if task not in CLASSES:
        return ""
    spans = task == "question_answering" and answers_are_spans(corpus)
    task_class, data_class = SPANS if spans else CLASSES[task]
    settings: JsonObject = {"corpus": corpus.name}
    if columns:
        settings["columns"] = dict(columns)
    if task == "translation":
        settings["source_language"], settings["target_language"] = corpus.languages[:2]
    elif corpus.languages:
        settings["language"] = corpus.languages[0]
    config = {"task": task_class, "data": {"class_path": data_class, "init_args": settings}}
    return dump_yaml(config)


def answers_are_spans(corpus: Corpus) -> bool:
    """Return whether all answers to the first questions of a corpus occur in their passages."""
    rows = corpus.rows(corpus.splits[0])
    first = (rows[i] for i in range(min(N_QUESTION, len(rows))))
    return all(text in row["context"] for row in first for text in references_of(row["answers"]))


def proposals(records: Sequence[Record]) -> list[JsonObject]:
    """Return possible mappings from the fields of a task to columns, guessed from common column
    names.

    Args:
        records: first records of a data file.
    """
    found = [
        propose_columns(record, fields, by_order=fields == ("text",))
        for record in records[:1]
        for fields in PAIRS
    ]
    return [
        columns
        for columns, fields in zip(found, PAIRS, strict=False)
        if set(columns) == set(fields)
    ]


def fields_by_column(columns: Settings) -> list[tuple[str, str]]:
    """Return a (column, field) pair for every column that is read.

    Args:
        columns: columns by field.
    """
    pairs = []
    for field, column in columns.items():
        column = column[JOINED[0]] if isinstance(column, Mapping) else column
        pairs += [(str(name), field) for name in (column if isinstance(column, list) else [column])]
    return pairs


def type_of(value: object) -> str:
    """Return the type of a value from a data file as text, such as "list of text"."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return f"object of {', '.join(printable(str(key)) for key in list(value)[:4])}"
    if isinstance(value, list | tuple):
        return f"list of {type_of(value[0])}" if value else "list"
    return "nothing" if value is None else type(value).__name__


def shortened(value: object) -> str:
    """Return the beginning of a value as one line of at most `WIDTH` characters."""
    text = printable(value if isinstance(value, str) else "" if value is None else str(value))
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def printable(text: str) -> str:
    """Return the beginning of a text on one line, with control characters escaped."""
    beginning = " ".join(text[: 4 * WIDTH].split())
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in beginning
    )


def _is_generated_id(record: Record, name: object) -> bool:
    """Return whether `name` is the `id` that the reader generated because the file has none."""
    return name == "id" and bool(record["id"] == where_of(record))


def _task_of(corpus: Corpus) -> str:
    """Return the task name that a corpus states or that its fields imply; "" if unknown."""
    if corpus.task:
        return corpus.task
    return (
        "speech_recognition"
        if "audio" in corpus.fields
        else "question_answering"
        if "question" in corpus.fields
        else ""
    )
