"""Whether a short answer is one of those wanted, exactly or in part, as the scripts of SQuAD and of
CMRC 2018 score it.
"""

from abc import abstractmethod

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.metrics.answer_rules import rules_of


class _Agreement(Metric):
    """Mean over examples of the agreement with the closest reference, in percent.

    References of which nothing counts are passed over; where no other is there, nothing was to be
    answered, and the only right answer is one of which nothing counts. Source: `get_raw_scores` of
    SQuAD's evaluation script v2.0; v1.1 and CMRC 2018 have no such questions.

    Args:
        language: whose rules say what counts; see `metrics.answer_rules`.
    """

    unit = "%"
    higher_is_better = True

    def __init__(self, language: str = "en") -> None:
        self.rules = rules_of(language)

    @property
    def signature(self) -> str:
        return f"{self.rules.signature}|best:max"

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        """The agreement, 0 to 1, and 1."""
        if prediction.output is None:
            return np.full(2, np.nan)
        wanted = [text for text in example.references if self.rules.plain(text)] or [""]
        closest = max(self.agreement(text, prediction.output) for text in wanted)
        return np.array([closest, 1.0])

    @abstractmethod
    def agreement(self, wanted: str, given: str) -> float:
        """Of two texts, 0 to 1."""

    def score(self, total: np.ndarray) -> float:
        agreement, n_example = total
        return float(100 * agreement / n_example) if n_example else float("nan")

    def counted(self, text: str) -> list[str]:
        return self.rules.counted(text)


class ExactMatch(_Agreement):
    """Answers that are equal, but for what does not count."""

    name = "exact_match"

    def agreement(self, wanted: str, given: str) -> float:
        return float(self.rules.plain(wanted) == self.rules.plain(given))


class TokenF1(_Agreement):
    """Harmonic mean of the share of the answer's words that are right and the share of the right
    words that the answer has.
    """

    name = "f1"

    def agreement(self, wanted: str, given: str) -> float:
        right = self.rules.words(wanted)
        own = self.rules.words(given)
        if not right or not own:
            return float(right == own)
        shared = self.rules.shared(right, own)
        if not shared:
            return 0.0
        precision = shared / len(own)
        recall = shared / len(right)
        return 2 * precision * recall / (precision + recall)
