"""Perplexity and bits per byte, computed from negative log probabilities in nats."""

import math

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import units_of


class _Likelihood(Metric):
    """Base class of metrics that use `nats`; predictions without `nats` give nan.

    The statistics of an example refer to its first reference: nats, number of tokens, of words and
    of bytes, number of unknown tokens that are not spelled out, and nats of the spelling of unknown
    words. The end of text counts as a token and as a word, since the model predicts it.
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
    """Mean negative log probability per token, in nats.

    Only models with the same tokenizer can be compared by it.
    """

    name = "nats_per_token"
    unit = "nats/token"
    counts_tokens = True

    def score(self, total: np.ndarray) -> float:
        nats, tokens, *_ = total
        return _ratio(nats, tokens)


class Perplexity(NatsPerToken):
    """Perplexity: exponential of the nats per token.

    Only models with the same tokenizer can be compared by it.
    """

    name = "perplexity"
    unit = ""

    def score(self, total: np.ndarray) -> float:
        return _exp(super().score(total))


class WordPerplexity(_Likelihood):
    """Perplexity per word, independent of the tokenizer.

    Words are separated by white space; ends of lines and the end of text count as words, as in PTB
    and WikiText-2. If `language` is written without spaces, the units of `text.chinese.segment` are
    the words. The spelling of unknown words is included. The score is nan if unknown words became
    `<unk>` without being spelled out.
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
    """Bits per UTF-8 byte of text, independent of tokenizer and language.

    The spelling of unknown words is included. The score is nan if unknown words became `<unk>`
    without being spelled out.
    """

    name = "bits_per_byte"
    unit = "bits/byte"

    def score(self, total: np.ndarray) -> float:
        nats, _, _, n_byte, unknown, spelling = total
        return math.nan if unknown else _ratio((nats + spelling) / math.log(2), n_byte)
