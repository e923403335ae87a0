"""What `lslm data check` shows of a corpus besides its sizes: its columns, its first rows, and a
config to paste.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from lslm_lightning.data.column_proposals import propose_columns
from lslm_lightning.data.corpus import Corpus
from lslm_lightning.data.rows import JOINED, where_of
from lslm_lightning.data.values import Record
from lslm_lightning.text.yaml_files import dump_yaml

N_RECORD = 2
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
PAIRS = (("document", "summary"), ("context", "question", "answers"), ("audio", "text"), ("text",))
"""Fields of the tasks that a table of unknown columns is compared with."""


def columns_table(records: Sequence[Record], columns: Mapping[str, Any]) -> Table:
    """Each column with its type, the field it is read as, and what the first records hold."""
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
        name for record in records for name in record if not _is_place(record, name)
    )
    for name in names:
        values = [record.get(name) for record in records]
        used = [
            field
            for column, field in fields
            if column == str(name) or column.startswith(f"{name}.")
        ]
        cells = [
            printable(str(name)),
            type_of(next((value for value in values if value is not None), None)),
            ", ".join(used),
        ]
        table.add_row(*map(Text, [*cells, *(shortened(value) for value in values)]))
    return table


def rows_table(corpus: Corpus, split: str) -> Table:
    """Each field of the first rows."""
    rows = [corpus.rows(split)[i] for i in range(min(N_RECORD, len(corpus.rows(split))))]
    table = Table("field", *("first rows", "")[: len(rows)], box=box.SIMPLE_HEAD, pad_edge=False)
    for field in dict.fromkeys(field for row in rows for field in row):
        table.add_row(*map(Text, [field, *(shortened(row.get(field)) for row in rows)]))
    return table


def config_of(corpus: Corpus, columns: Mapping[str, Any]) -> str:
    """Config of `lslm evaluate` for this corpus, but for its systems; its data are those of `lslm
    run` too. "" of an unknown task.
    """
    task = _task_of(corpus)
    if task not in CLASSES:
        return ""
    task_class, data_class = CLASSES[task]
    settings: dict[str, Any] = {"corpus": corpus.name}
    if columns:
        settings["columns"] = dict(columns)
    if task == "translation":
        settings["source_language"], settings["target_language"] = corpus.languages[:2]
    elif corpus.languages:
        settings["language"] = corpus.languages[0]
    config = {"task": task_class, "data": {"class_path": data_class, "init_args": settings}}
    return dump_yaml(config)


def proposals(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Columns that tasks could read, by usual names; any text at least is one for language
    modeling.
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


def fields_by_column(columns: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(column, field) of every column that is read."""
    pairs = []
    for field, column in columns.items():
        column = column[JOINED[0]] if isinstance(column, Mapping) else column
        pairs += [(str(name), field) for name in (column if isinstance(column, list) else [column])]
    return pairs


def type_of(value: Any) -> str:
    """Kind of a value, in words."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return f"object of {', '.join(printable(str(key)) for key in list(value)[:4])}"
    if isinstance(value, list | tuple):
        return f"list of {type_of(value[0])}" if value else "list"
    return "nothing" if value is None else type(value).__name__


def shortened(value: Any) -> str:
    """The beginning of a value, in one line."""
    text = printable(value if isinstance(value, str) else "" if value is None else str(value))
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def printable(text: str) -> str:
    """The beginning of a text in which nothing moves the cursor, changes colours or the direction
    of writing.
    """
    beginning = " ".join(text[: 4 * WIDTH].split())
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in beginning
    )


def _is_place(record: Record, name: Any) -> bool:
    return name == "id" and record[name] == where_of(record)


def _task_of(corpus: Corpus) -> str:
    if corpus.task:
        return corpus.task
    return (
        "speech_recognition"
        if "audio" in corpus.fields
        else "question_answering"
        if "question" in corpus.fields
        else ""
    )
