"""Perplexity and bits per byte from negative log probabilities in nats."""

import math

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import units_of


class _Likelihood(Metric):
    """Base class of metrics of `nats`. The statistics are the sums of nats, tokens, words, bytes,
    unknown tokens that are not spelled out, and nats of spelling, over the first reference of each
    example; nan without `nats`.

    The end of text counts as a token and as a word, since the model predicts it.
    """

    higher_is_better = False
    unit = ""

    @property
    def signature(self) -> str:
        return "reference:first"

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        if prediction.nats is None:
            return np.full(6, np.nan)
        text = example.references[0]
        n_byte = len(text.encode("utf-8", "surrogatepass"))
        unknown = prediction.unknown if prediction.spelling is None else 0
        sizes = [prediction.n_token, self._n_word(text), n_byte]
        costs = [unknown, prediction.spelling or 0.0]
        return np.array([prediction.nats, *sizes, *costs], dtype=np.float64)

    def _n_word(self, text: str) -> int:
        return len(text.split()) + text.count("\n") + 1


def _ratio(sum_: float, count: float) -> float:
    return float(sum_ / count) if count > 0 else math.nan


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else (math.nan if math.isnan(x) else math.inf)


class NatsPerToken(_Likelihood):
    """Mean negative log probability per token of the model's own tokenizer, in nats; it compares
    models that share one.
    """

    name = "nats_per_token"
    unit = "nats/token"
    counts_tokens = True

    def score(self, total: np.ndarray) -> float:
        nats, tokens, *_ = total
        return _ratio(nats, tokens)


class Perplexity(NatsPerToken):
    """Exponential of the nats per token; it compares models that share a tokenizer."""

    name = "perplexity"
    unit = ""

    def score(self, total: np.ndarray) -> float:
        return _exp(super().score(total))


class WordPerplexity(_Likelihood):
    """Perplexity per word, independent of the tokenizer; the spelling of unknown words is included;
    nan where unknown words became `<unk>` without being spelled out.

    A word stands between white space, and the ends of lines and of the text count too, as in PTB
    and WikiText-2. Where `language` is written without spaces, the pieces of `text.chinese.segment`
    count instead.
    """

    name = "word_perplexity"

    def __init__(self, language: str = "en") -> None:
        self._units = units_of(language)

    @property
    def signature(self) -> str:
        units = "whitespace" if self._units == "words" else self._units
        return f"reference:first|words:{units}+lines+end"

    def _n_word(self, text: str) -> int:
        return (
            super()._n_word(text)
            if self._units == "words"
            else len(segment(text)) + text.count("\n") + 1
        )

    def score(self, total: np.ndarray) -> float:
        nats, _, words, _, unknown, spelling = total
        return math.nan if unknown else _exp(_ratio(nats + spelling, words))


class BitsPerByte(_Likelihood):
    """Bits per UTF-8 byte of text, independent of tokenizer and language; the spelling of unknown
    words is included; nan where unknown words became `<unk>` without being spelled out.
    """

    name = "bits_per_byte"
    unit = "bits/byte"

    def score(self, total: np.ndarray) -> float:
        nats, _, _, n_byte, unknown, spelling = total
        return math.nan if unknown else _ratio((nats + spelling) / math.log(2), n_byte)
