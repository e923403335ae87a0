"""Key of a human evaluation: which row of which sheet shows which system. Annotators must not see
it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from lslm_lightning.files import atomic_write
from lslm_lightning.human.design import Method, SheetRow
from lslm_lightning.text.json_texts import parse_json

FORMAT = 1
KEY_FILE = "key.json"
SHEETS = "sheets"  # folder of what annotators get


@dataclass(frozen=True)
class EvaluationKey:
    """Content of the key file.

    Attributes:
        task: name of the task.
        digest: digest of the test set.
        systems: names of the systems.
        evaluation: config of the evaluation that the systems are of; "" if they are runs.
        directories: run directories of the systems, in their order, if they are runs.
        example_ids: ids of the annotated examples, by index.
        rows: rows of each annotator's sheet, in order, and ties that no sheet shows.
    """

    method: Method
    task: str
    digest: str
    systems: Sequence[str]
    evaluation: str
    directories: Sequence[str]
    example_ids: Mapping[int, str]
    rows: Mapping[str, Sequence[SheetRow]]

    def all_rows(self) -> dict[str, SheetRow]:
        """Return the rows of all sheets by their ids."""
        return {row.id: row for own in self.rows.values() for row in own}


def write_key(folder: Path, key: EvaluationKey) -> Path:
    """Write the key into a folder, readable by its owner alone; return its path."""
    record = {
        "format": FORMAT,
        "method": key.method,
        "task": key.task,
        "digest": key.digest,
        "systems": list(key.systems),
        "evaluation": key.evaluation,
        "directories": list(key.directories),
        "examples": {str(i): id_ for i, id_ in key.example_ids.items()},
        "rows": {name: [asdict(row) for row in own] for name, own in key.rows.items()},
    }
    path = folder / KEY_FILE
    atomic_write(path, json.dumps(record, ensure_ascii=False, indent=1) + "\n", mode=0o600)
    return path


def read_key(folder: Path) -> EvaluationKey:
    """Return the key of the sheets in a folder.

    Raises:
        ValueError: there is no key, it is damaged, or of a newer release.
    """
    path = folder / KEY_FILE
    if not path.is_file():
        raise ValueError(f"{folder} has no {KEY_FILE}: name the folder that lslm human sheet wrote")
    try:
        record = parse_json(path.read_text("utf-8"))
        if record["format"] > FORMAT:
            raise ValueError(f"format {record['format']} is of a newer release")
        method: Literal["direct", "mqm", "pairwise"] = record["method"]
        return EvaluationKey(
            method,
            record["task"],
            record["digest"],
            record["systems"],
            record["evaluation"],
            record["directories"],
            {int(i): id_ for i, id_ in record["examples"].items()},
            {
                name: [
                    SheetRow(**row | {field: tuple(row[field]) for field in ("systems", "texts")})
                    for row in own
                ]
                for name, own in record["rows"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no key of sheets ({error}); restore it from a copy") from None
