"""Error rates are jiwer's, summed over a corpus, in every language."""

import jiwer
import numpy as np
import pytest

from lslm_lightning.contracts import Prediction
from lslm_lightning.metrics.error_rate import CharacterErrorRate, WordErrorRate

PAIRS = [
    ("今天天气很好", "今天天汽好"),
    ("你好，世界", "你好，世界！"),
    ("甲", ""),
    ("the cat sat", "the cat  sat down"),
    ("ein Haus", "kein Haus"),
]


def corpus(metric, pairs):
    return metric.score(sum(metric.statistics(Prediction("", output), [reference]) for reference, output in pairs))


def test_cer_is_jiwers():
    references, outputs = zip(*PAIRS, strict=True)
    assert corpus(CharacterErrorRate(), PAIRS) == pytest.approx(100 * jiwer.cer(list(references), [" ".join(o.split()) for o in outputs]))


def test_wer_is_jiwers():
    pairs = [(r, o) for r, o in PAIRS if " " in r]
    references, outputs = zip(*pairs, strict=True)
    assert corpus(WordErrorRate("en"), pairs) == pytest.approx(100 * jiwer.wer(list(references), list(outputs)))


def test_chinese_words_are_its_characters():
    assert corpus(WordErrorRate("zh"), [("我想住", "我想坐")]) == pytest.approx(100 / 3)


def test_the_best_reference_counts():
    metric = CharacterErrorRate()
    assert list(metric.statistics(Prediction("", "abc"), ["xyz", "abd"])) == [1, 3]
    assert list(metric.statistics(Prediction("", "same"), ["other", "same"])) == [0, 4]


def test_an_empty_reference_counts_what_was_written_too_much():
    metric = CharacterErrorRate()
    assert list(metric.statistics(Prediction("", "ab"), [""])) == [2, 0]
    assert np.isnan(metric.score(np.zeros(2)))
    assert np.isnan(metric.statistics(Prediction("", nats=1.0), ["x"])).all()
