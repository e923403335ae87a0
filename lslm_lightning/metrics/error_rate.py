"""Character and word error rate, computed by jiwer: edits divided by the length of the
reference.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import zip_longest
from typing import NamedTuple

import jiwer
import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import units_of
from lslm_lightning.text.normalization import normalize


class Edit(NamedTuple):
    """One step of an alignment: a unit of the reference and the corresponding unit of the output.

    The unit is "" on the side that has none.
    """

    operation: str  # "equal", "substitute", "delete" or "insert"
    reference: str
    output: str


class Edits(NamedTuple):
    """Number of edits in a corpus of outputs, by kind, and number of units in the references
    (`length`).
    """

    substitutions: int
    deletions: int
    insertions: int
    length: int


class _ErrorRate(Metric):
    """Number of substitutions, deletions and insertions divided by the number of reference units,
    in percent.

    If there are several references, the closest one counts. Texts are compared in NFC without
    further normalization; white space at their ends is ignored.
    """

    unit = "%"
    higher_is_better = False

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        """Return the numbers of substitutions, deletions, insertions and reference units."""
        if prediction.output is None:
            return np.full(4, np.nan)
        edits = [self._counts(reference, prediction.output) for reference in example.references]
        return np.array(
            min(edits, key=lambda e: (sum(e[:3]) / max(1, e.length), sum(e[:3]))),
            dtype=np.float64,
        )

    def _counts(self, reference: str, output: str) -> Edits:
        wanted, written = (self.counted(text) for text in (reference, output))
        if not wanted:
            return Edits(0, 0, len(written), 0)
        result = _compared(wanted, written)
        return Edits(result.substitutions, result.deletions, result.insertions, len(wanted))

    @abstractmethod
    def counted(self, text: str) -> list[str]:
        """Return the units (characters or words) of a text that are compared."""

    def score(self, total: np.ndarray) -> float:
        *edits, length = total
        return float(100 * sum(edits) / length) if length else float("nan")

    def edits(self, total: np.ndarray) -> Edits:
        """Return summed statistics (4,) as numbers of edits by kind and number of reference
        units.
        """
        return Edits(*(int(n) for n in total))

    def alignment(self, reference: str, output: str) -> list[Edit]:
        """Return a unit-by-unit alignment with the minimum number of edits, the number that
        `statistics` counts.
        """
        wanted, written = (self.counted(text) for text in (reference, output))
        if not wanted:
            return [Edit("insert", "", unit) for unit in written]
        [chunks] = _compared(wanted, written).alignments
        return [
            Edit(chunk.type, *units)
            for chunk in chunks
            for units in zip_longest(
                wanted[chunk.ref_start_idx : chunk.ref_end_idx],
                written[chunk.hyp_start_idx : chunk.hyp_end_idx],
                fillvalue="",
            )
        ]


def confusions(edits: Iterable[Edit]) -> list[tuple[Edit, int]]:
    """Return each edit other than "equal" with its number of occurrences, most frequent first.

    Equally frequent edits are sorted by the units of reference and output.
    """
    counts = Counter(edit for edit in edits if edit.operation != "equal")
    return sorted(counts.items(), key=lambda item: (-item[1], item[0].reference, item[0].output))


class CharacterErrorRate(_ErrorRate):
    """Character error rate in percent; a run of white space counts as one space."""

    name = "cer"

    @property
    def signature(self) -> str:
        return f"units:characters|norm:nfc|case:mixed|jiwer:{version('jiwer')}"

    def counted(self, text: str) -> list[str]:
        return list(" ".join(normalize(text).split()))


class WordErrorRate(_ErrorRate):
    """Word error rate in percent; words are separated by spaces.

    In languages without spaces, the units of `text.chinese.segment` are the words, and the
    signature states this.
    """

    name = "wer"

    def __init__(self, language: str = "en") -> None:
        self._units = units_of(language)

    @property
    def signature(self) -> str:
        return f"units:{self._units}|norm:nfc|case:mixed|jiwer:{version('jiwer')}"

    def counted(self, text: str) -> list[str]:
        return normalize(text).split() if self._units == "words" else segment(normalize(text))


def _compared(wanted: Sequence[str], written: Sequence[str]) -> jiwer.WordOutput:
    """Align two sequences of units with jiwer, passing each unit as a word of its own."""
    return jiwer.process_words(" ".join(map(_whole, wanted)), " ".join(map(_whole, written)))


def _whole(unit: str) -> str:
    """Return a unit in a form that jiwer takes for one word: a space is replaced by a visible
    character.
    """
    return "␣" if unit == " " else unit
