"""One corpus: its rows by split, and a digest of what determines them."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lslm_lightning.data.rows import Row
from lslm_lightning.types import Json


def no_files(name: str) -> bytes:
    """Refuse to read a file, for a corpus whose rows name none.

    Raises:
        FileNotFoundError: always.
    """
    raise FileNotFoundError(f"{name}: this corpus has no files beside its rows")


@dataclass(frozen=True)
class Corpus:
    """Rows of text by split. Every row has an `id`, unique and stable; the other fields depend on
    `task`.

    language_modeling: `text`. translation: a sentence for each language code (`ind` for
    Indonesian), or a list of them, each a translation of the others. summarization: `document` and
    `summary`, a list of references, the original first. Rows of other tasks have `fields`. A corpus
    may add fields, such as `name`, `attribution` or `author`.

    Args:
        load: returns all rows of a split.
        fingerprint: returns what determines the rows of a split, as JSON can write it.
        read: returns the bytes of a file that a row names.
        note: remarks on how the rows were read or made.
        comparability: why scores on this corpus do not compare with those of other machines; ""
            where they do.
        sizes: numbers of rows by split, as far as they are known without reading.
        join: written between several texts of a field that is read as one text.
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
        """Return all rows of a split, read once.

        Raises:
            ValueError: no such split, or its files are corrupt or not what they should be.
            FileNotFoundError: its files are neither here nor to be had.
        """
        self._require(split)
        if split not in self._rows:
            self._rows[split] = self.load(split)
        return self._rows[split]

    def digest(self, split: str) -> str:
        """Return the SHA-256, in hex, of all that determines the rows of a split: checksums of the
        files and how they are read.

        Caches and resumed runs depend on it. Scores compare by `evaluation.evaluation_set`, which
        knows what is asked.
        """
        self._require(split)
        if split not in self._digests:
            about = json.dumps([split, self.fingerprint(split)], sort_keys=True, default=list)
            self._digests[split] = hashlib.sha256(about.encode()).hexdigest()
        return self._digests[split]

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise ValueError(
                (
                    f"corpus {self.name} has no split {split!r}; it has {', '.join(self.splits)}. "
                    f"{self.note}"
                ).strip()
            )
