"""Rules that need no model do what they are called."""

import math

import pytest

from lslm_lightning.contracts import CannotError, Example
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.systems.baselines import (
    CopySource,
    ExtractiveOracle,
    FirstSentences,
    LongestSentence,
    UniformBytes,
    Xz,
)
from tests.support.metrics import statistics_of

TEXT = "The cat sat. A very long sentence about dogs and boats follows here. It rained in Berlin."
ENGLISH = Example("1", TEXT, ("In Berlin it rained.", "Rain."))
CHINESE = Example("2", "猫坐着。今天北京下了一场很大的雨！狗在跑。", ("北京下雨。",), "zh", "zh")


def answer(system, example):
    [prediction] = system.generate([example])
    assert prediction.id == example.id
    return prediction.output


def test_rules():
    assert answer(CopySource(), ENGLISH) == TEXT
    assert answer(FirstSentences(1), ENGLISH) == "The cat sat."
    assert answer(FirstSentences(2), CHINESE) == "猫坐着。今天北京下了一场很大的雨！"
    assert (
        answer(LongestSentence(), ENGLISH)
        == "A very long sentence about dogs and boats follows here."
    )
    assert answer(FirstSentences(9), ENGLISH) == TEXT


def test_the_oracle_takes_what_the_reference_has():
    assert answer(ExtractiveOracle(1), ENGLISH) == "It rained in Berlin."
    # more would only cost precision
    assert answer(ExtractiveOracle(3), ENGLISH) == "It rained in Berlin."
    assert answer(ExtractiveOracle(1), CHINESE) == "今天北京下了一场很大的雨！"
    assert answer(ExtractiveOracle(2), Example("3", "", ("x",))) == ""


@pytest.mark.parametrize("rule", [FirstSentences, ExtractiveOracle])
def test_no_sentence_is_no_summary(rule):
    with pytest.raises(ValueError, match="k=0"):
        rule(0)


def test_uniform_bytes_are_eight_bits():
    [prediction] = UniformBytes().log_prob([Example("1", "", ("猫 sat",))])
    assert prediction.nats == pytest.approx(7 * 8 * math.log(2))
    metric = BitsPerByte()
    assert metric.score(statistics_of(metric, prediction, ["猫 sat"])) == pytest.approx(8)


def test_bytes_are_as_probable_in_an_answer():
    [first, second] = UniformBytes().log_prob([Example("1", "source", ())], [["猫", "ab"]])
    assert [first.nats, second.nats] == pytest.approx([24 * math.log(2), 16 * math.log(2)])
    assert (first.id, first.output, second.output) == ("1", "猫", "ab")


def test_packing_says_nothing_of_an_answer():
    with pytest.raises(CannotError, match="no probability of an answer"):
        list(Xz().log_prob([Example("1", "source", ())], ["a"]))
