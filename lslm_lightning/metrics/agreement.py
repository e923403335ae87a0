"""Exact match and token F1 of short answers, as computed by the scripts of SQuAD and CMRC 2018."""

from abc import abstractmethod

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.metrics.answer_rules import rules_of


class _Agreement(Metric):
    """Mean over examples of the agreement between answer and closest reference, in percent.

    References that are empty after normalization are ignored. If no others remain, the question has
    no answer, and only an answer that is empty after normalization is right. Source:
    `get_raw_scores` of SQuAD's evaluation script v2.0; SQuAD v1.1 and CMRC 2018 have no such
    questions.

    Args:
        language: language of the answers, which selects the normalization; see
            `metrics.answer_rules`.
    """

    unit = "%"
    higher_is_better = True

    def __init__(self, language: str = "en") -> None:
        self.rules = rules_of(language)

    @property
    def signature(self) -> str:
        return f"{self.rules.signature}|best:max"

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        """Return the agreement with the closest reference, from 0 to 1, and a count of 1."""
        if prediction.output is None:
            return np.full(2, np.nan)
        wanted = [text for text in example.references if self.rules.plain(text)] or [""]
        closest = max(self.agreement(text, prediction.output) for text in wanted)
        return np.array([closest, 1.0])

    @abstractmethod
    def agreement(self, wanted: str, given: str) -> float:
        """Return the agreement of a reference and an answer, from 0 to 1."""

    def score(self, total: np.ndarray) -> float:
        agreement, n_example = total
        return float(100 * agreement / n_example) if n_example else float("nan")

    def counted(self, text: str) -> list[str]:
        return self.rules.counted(text)


class ExactMatch(_Agreement):
    """Share of answers that equal a reference after normalization, in percent."""

    name = "exact_match"

    def agreement(self, wanted: str, given: str) -> float:
        return float(self.rules.plain(wanted) == self.rules.plain(given))


class TokenF1(_Agreement):
    """Mean F1 of the words that answer and reference have in common, in percent.

    F1 is the harmonic mean of precision and recall.
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
