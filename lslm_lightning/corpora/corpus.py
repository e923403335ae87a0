"""Class of all corpora: rows by split, and a digest of everything that determines the rows."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lslm_lightning.corpora.rows import Row
from lslm_lightning.types import Json


def no_files(name: str) -> bytes:
    """Raise FileNotFoundError, for corpora whose rows refer to no files."""
    raise FileNotFoundError(f"{name}: this corpus has no files beside its rows")


@dataclass(frozen=True)
class Corpus:
    """Rows of text by split. Every row has a unique, stable `id`; the other fields depend on
    `task`.

    language_modeling: `text`. translation: one field per language code (`ind` for Indonesian),
    which holds a sentence or a list of alternative translations. summarization: `document` and
    `summary`, a list of references with the original first. Rows of other tasks have the fields in
    `fields`. A corpus may have further fields, such as `name`, `attribution` or `author`.

    Args:
        load: returns all rows of a split.
        fingerprint: returns a JSON value that determines the rows of a split.
        read: returns the bytes of a file that a row names.
        note: remarks on how the rows were read or made.
        comparability: reason why scores on this corpus cannot be compared with those of other
            machines; "" if they can.
        sizes: split -> number of rows, where it is known without reading.
        join: separator used when several texts of a field are joined into one.
    """

    name: str
    task: str
    languages: tuple[str, ...]
    splits: tuple[str, ...]
    load: Callable[[str], Sequence[Row]] = field(repr=False)
    fingerprint: Callable[[str], Json] = field(repr=False)
    read: Callable[[str], bytes] = field(default=no_files, repr=False)
    licence: str = "not stated"
    citation: str = ""
    home: str = ""
    note: str = ""
    comparability: str = ""
    fields: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    join: str = " "
    _rows: dict[str, Sequence[Row]] = field(default_factory=dict, repr=False, compare=False)
    _digests: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def rows(self, split: str) -> Sequence[Row]:
        """Return all rows of a split; they are loaded once.

        Raises:
            ValueError: the split does not exist, or its files are corrupt or not the expected ones.
            FileNotFoundError: its files are absent and cannot be downloaded.
        """
        self._require(split)
        if split not in self._rows:
            self._rows[split] = self.load(split)
        return self._rows[split]

    def digest(self, split: str) -> str:
        """Return the SHA-256, in hex, of everything that determines the rows of a split: the
        checksums of its files and the settings by which they are read.

        It identifies caches and the data of resumed runs. To tell whether scores are comparable,
        use `evaluation.evaluation_set`.
        """
        self._require(split)
        if split not in self._digests:
            about = json.dumps([split, self.fingerprint(split)], sort_keys=True, default=list)
            self._digests[split] = hashlib.sha256(about.encode()).hexdigest()
        return self._digests[split]

    def _require(self, split: str) -> None:
        if split not in self.splits:
            note = f" {self.note}" if self.note else ""
            raise ValueError(
                f"corpus {self.name} has no split {split!r}; it has {', '.join(self.splits)}.{note}"
            )
