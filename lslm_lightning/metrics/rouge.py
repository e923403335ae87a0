"""ROUGE by rouge-score, with tokens and sentences for every language."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Literal

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer
from rouge_score.tokenizers import Tokenizer as RougeTokenizer

from lslm_lightning.contracts import Metric, Prediction
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import base_language
from lslm_lightning.text.normalization import normalize
from lslm_lightning.text.sentences import split_sentences


class UnicodeTokenizer(RougeTokenizer):
    """CJK characters one by one, words and numbers of any script whole; lower case, NFKC, no punctuation.

    rouge-score's own tokenizer keeps nothing outside a-z and 0-9, so that Chinese texts would have no tokens at all.
    """

    def tokenize(self, text: str) -> list[str]:
        return [piece for piece in segment(normalize(text, "NFKC").lower()) if any(character.isalnum() for character in piece)]


class Rouge(Metric):
    """Mean over examples of the F1 of shared 1-grams, 2-grams, longest subsequence ("L") or the same by sentence ("Lsum"), 0 to 100.

    English is stemmed and tokenized as ROUGE-1.5.5 does it; other languages as in `UnicodeTokenizer`, without stemming. Of several
    references the best by F1 counts. Sentences for "Lsum" are those of `text.sentences`; line breaks end one. Source: Lin 2004.
    """

    unit, higher_is_better = "", True

    def __init__(self, kind: Literal["1", "2", "L", "Lsum"] = "1", language: str = "en") -> None:
        if kind not in ("1", "2", "L", "Lsum"):
            raise ValueError(f"kind={kind!r} of Rouge must be one of '1', '2', 'L', 'Lsum'")
        self.name = f"rouge{kind}"
        self._language = base_language(language)
        self._is_english = self._language == "en"
        self._scorer = RougeScorer([self.name], tokenizer=DefaultTokenizer(use_stemmer=True) if self._is_english else UnicodeTokenizer())

    @property
    def signature(self) -> str:
        tokens = "tok:rouge|stem:porter" if self._is_english else "tok:unicode|norm:nfkc|stem:no"
        sentences = f"|sentences:rules-{self._language}" if self.name == "rougeLsum" else ""
        return f"{tokens}{sentences}|best:f1|rouge-score:{version('rouge-score')}"

    def statistics(self, answer: Prediction, references: Sequence[str]) -> np.ndarray:
        """F1 of the best reference, and 1."""
        if answer.output is None:
            return np.full(2, np.nan)
        scores = self._scorer.score_multi([self._lines(reference) for reference in references], self._lines(answer.output))
        return np.array([scores[self.name].fmeasure, 1.0])

    def _lines(self, text: str) -> str:
        return "\n".join(split_sentences(text, self._language)) if self.name == "rougeLsum" else text

    def score(self, total: np.ndarray) -> float:
        f1, n_example = total
        return float(100 * f1 / n_example) if n_example else float("nan")
