"""Character and word error rate by jiwer: edits over the length of the reference."""

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import zip_longest
from typing import Literal, NamedTuple

import jiwer
import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import units_of
from lslm_lightning.text.normalization import normalize


class Edit(NamedTuple):
    """One place of an alignment: a unit of the reference, and what the output has there; "" where
    there is none.
    """

    operation: Literal["equal", "substitute", "delete", "insert"]
    reference: str
    output: str


class Edits(NamedTuple):
    """What a corpus of outputs has wrong, and units of its references."""

    substitutions: int
    deletions: int
    insertions: int
    length: int


class _ErrorRate(Metric):
    """Substitutions, deletions and insertions over the units of the reference, in percent; of
    several references the closest.

    Texts are compared as they come, in NFC; white space at their ends does not count.
    """

    unit = "%"
    higher_is_better = False

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        """Substitutions, deletions, insertions, and units of the reference."""
        if prediction.output is None:
            return np.full(4, np.nan)
        found = [self._counts(reference, prediction.output) for reference in example.references]
        return np.array(
            min(found, key=lambda edits: (sum(edits[:3]) / max(1, edits.length), sum(edits[:3]))),
            dtype=np.float64,
        )

    def _counts(self, reference: str, output: str) -> Edits:
        wanted, written = (self.counted(text) for text in (reference, output))
        if not wanted:
            return Edits(0, 0, len(written), 0)
        result = _compared(wanted, written)
        return Edits(result.substitutions, result.deletions, result.insertions, len(wanted))

    def score(self, total: np.ndarray) -> float:
        *edits, length = total
        return float(100 * sum(edits) / length) if length else float("nan")

    def edits(self, total: np.ndarray) -> Edits:
        """Summed statistics by their names."""
        return Edits(*(int(n) for n in total))

    def alignment(self, reference: str, output: str) -> list[Edit]:
        """Unit by unit, with as few edits as `statistics` counts."""
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
    """How often each edit occurs that is none of equals, the most frequent first, then by what was
    wanted and written.
    """
    counts = Counter(edit for edit in edits if edit.operation != "equal")
    return sorted(counts.items(), key=lambda item: (-item[1], item[0].reference, item[0].output))


class CharacterErrorRate(_ErrorRate):
    """Spaces count, a run of them as one."""

    name = "cer"

    @property
    def signature(self) -> str:
        return f"units:characters|norm:nfc|case:mixed|jiwer:{version('jiwer')}"

    def counted(self, text: str) -> list[str]:
        return list(" ".join(normalize(text).split()))


class WordErrorRate(_ErrorRate):
    """Words between spaces; in languages without spaces the pieces of `text.chinese.segment`, named
    in the signature.
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
    """By jiwer, whose words are these units, joined by a sign that no unit has."""
    return jiwer.process_words(" ".join(map(_whole, wanted)), " ".join(map(_whole, written)))


def _whole(unit: str) -> str:
    """A unit without white space inside, which would be two words to jiwer."""
    return "␣" if unit == " " else unit
