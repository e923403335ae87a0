import math

import numpy as np
import pytest

from lslm_lightning.contracts import Prediction
from lslm_lightning.metrics.likelihood import BitsPerByte, NatsPerToken, Perplexity, WordPerplexity
from tests.support.metrics import statistics_of

ALL = [NatsPerToken(), Perplexity(), WordPerplexity(), BitsPerByte()]
TEXTS = ["the cat sat\non the mat\n", "你好，世界", "one", ""]


def total(metric, predictions, texts):
    return sum(
        statistics_of(metric, prediction, [text, "a second reference"])
        for prediction, text in zip(predictions, texts, strict=True)
    )


def test_a_uniform_model_of_bytes_needs_eight_bits_per_byte():
    """The end of text costs nothing here, so that the figure is exact."""
    predictions = [
        Prediction(str(i), nats=math.log(256) * len(text.encode()), n_token=len(text.encode()))
        for i, text in enumerate(TEXTS)
    ]
    assert BitsPerByte().score(total(BitsPerByte(), predictions, TEXTS)) == pytest.approx(
        8, abs=1e-12
    )
    assert Perplexity().score(total(Perplexity(), predictions, TEXTS)) == pytest.approx(
        256, rel=1e-12
    )
    assert NatsPerToken().score(total(NatsPerToken(), predictions, TEXTS)) == pytest.approx(
        math.log(256), rel=1e-12
    )


def test_a_word_model_has_the_same_perplexity_per_token_and_per_word():
    """Counted as PTB does it: words, line ends, and the end of text."""
    text = "the cat sat\non the mat\n"
    prediction = Prediction("a", nats=9 * math.log(50), n_token=6 + 2 + 1)
    assert WordPerplexity().score(
        statistics_of(WordPerplexity(), prediction, [text])
    ) == pytest.approx(50)
    assert Perplexity().score(statistics_of(Perplexity(), prediction, [text])) == pytest.approx(50)


def test_words_of_languages_without_spaces():
    prediction = Prediction("a", nats=7 * math.log(9), n_token=3)
    metric = WordPerplexity("zh")
    # six characters and the end
    assert metric.score(statistics_of(metric, prediction, ["你好，世界。"])) == pytest.approx(9)
    assert "segments" in metric.signature
    assert "whitespace" in WordPerplexity("en-GB").signature


def test_merged_unknown_words_are_a_dash():
    prediction = Prediction("a", nats=3.0, n_token=4, unknown=1)
    for metric in ALL:
        value = metric.score(statistics_of(metric, prediction, ["a b c"]))
        assert math.isnan(value) == (metric.name in ("word_perplexity", "bits_per_byte"))


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_sums_come_before_the_division(metric):
    rng = np.random.default_rng(0)
    predictions = [
        Prediction(str(i), nats=float(rng.uniform(1, 9)), n_token=int(rng.integers(1, 9)))
        for i in range(40)
    ]
    texts = ["words " * int(rng.integers(1, 9)) for _ in predictions]
    parts = total(metric, predictions[:7], texts[:7]) + total(metric, predictions[7:], texts[7:])
    assert metric.score(parts) == pytest.approx(
        metric.score(total(metric, predictions, texts)), rel=1e-12
    )


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_where_nothing_is_defined(metric):
    assert math.isnan(metric.score(statistics_of(metric, Prediction("a", output="text"), ["x"])))
    assert not metric.higher_is_better
    impossible = statistics_of(metric, Prediction("a", nats=math.inf, n_token=1), ["x"])
    assert metric.score(impossible) == math.inf
    assert metric.score(statistics_of(metric, Prediction("a", nats=1e6, n_token=1), ["x"])) > 1e5


def test_no_tokens_no_number():
    assert math.isnan(NatsPerToken().score(np.zeros(5)))
    assert math.isnan(
        BitsPerByte().score(
            statistics_of(BitsPerByte(), Prediction("a", nats=1.0, n_token=1), [""])
        )
    )
    assert [(metric.name, metric.unit) for metric in ALL] == [
        ("nats_per_token", "nats/token"),
        ("perplexity", ""),
        ("word_perplexity", ""),
        ("bits_per_byte", "bits/byte"),
    ]
