"""Character and word error rate by jiwer: edits over the length of the reference."""

from collections.abc import Sequence
from importlib.metadata import version

import jiwer
import numpy as np

from lslm_lightning.contracts import Metric, Prediction
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import WITHOUT_SPACES, base_language
from lslm_lightning.text.normalization import normalize


class _ErrorRate(Metric):
    """Substitutions, deletions and insertions over the units of the reference, in percent; of several references the closest.

    Texts are compared as they come, in NFC; white space at their ends does not count.
    """

    unit, higher_is_better = "%", False

    def statistics(self, answer: Prediction, references: Sequence[str]) -> np.ndarray:
        """Edits, and units of the reference."""
        if answer.output is None:
            return np.full(2, np.nan)
        found = [self._edits(reference, answer.output) for reference in references]
        return np.array(min(found, key=lambda pair: (pair[0] / max(1, pair[1]), pair[0])), dtype=np.float64)

    def _edits(self, reference: str, output: str) -> tuple[int, int]:
        wanted, written = (self.counted(text) for text in (reference, output))
        if not wanted:
            return len(written), 0
        # jiwer's words are ours, joined by a sign that no text has
        result = jiwer.process_words(" ".join(map(_whole, wanted)), " ".join(map(_whole, written)))
        return result.substitutions + result.deletions + result.insertions, len(wanted)

    def score(self, total: np.ndarray) -> float:
        edits, length = total
        return float(100 * edits / length) if length else float("nan")


class CharacterErrorRate(_ErrorRate):
    """Spaces count, a run of them as one."""

    name = "cer"

    @property
    def signature(self) -> str:
        return f"units:characters|norm:nfc|case:mixed|jiwer:{version('jiwer')}"

    def counted(self, text: str) -> list[str]:
        return list(" ".join(normalize(text).split()))


class WordErrorRate(_ErrorRate):
    """Words between spaces; in languages without spaces the pieces of `text.chinese.segment`."""

    name = "wer"

    def __init__(self, language: str = "en") -> None:
        self._segments = base_language(language) in WITHOUT_SPACES

    @property
    def signature(self) -> str:
        return f"units:{'segments' if self._segments else 'words'}|norm:nfc|case:mixed|jiwer:{version('jiwer')}"

    def counted(self, text: str) -> list[str]:
        return segment(normalize(text)) if self._segments else normalize(text).split()


def _whole(unit: str) -> str:
    """A unit without white space inside, which would be two words to jiwer."""
    return "␣" if unit == " " else unit
