"""Assertions on outputs hold and fail where they should, one by one."""

import pytest

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.assertions import HoldingShare, make_assertion

EXAMPLE = Example("a", "source", ("a reference", "ref"))
HAN = "他们在雪地里看着两只狗跑。"
ENGLISH = "They look at the two dogs which run through the snow in the park."


@pytest.mark.parametrize(
    ("settings", "holds", "fails"),
    [
        ({"contains": "the"}, ["in the end"], ["end", ""]),
        ({"not_contains": "<unk>"}, ["", "unk"], ["a <unk> b"]),
        ({"matches": r"^\d+$"}, ["12"], ["a12", ""]),
        ({"not_matches": r"(\w)\1{3}"}, ["aab"], ["aaaab"]),
        ({"min_characters": 2}, ["ab", " ab "], ["a ", ""]),
        ({"max_characters": 3}, ["abc ", "狗狗狗"], ["abcd"]),
        ({"max_ratio": 2}, ["x" * 22, ""], ["x" * 23]),
        ({"script": "Hani"}, [HAN, "12:30", f"{HAN} OK"], [ENGLISH, "сло во"]),
        ({"language": "en"}, [ENGLISH, "12"], [HAN]),
        ({"language": "zh-Hans"}, [HAN], [ENGLISH]),
        ({"json": True}, ["{}", "[1]", '"a"'], ["{", "", "{'a': 1}", "[" * 100_000]),
        ({"json": ["a", "b"]}, ['{"a": 1, "b": 2}'], ['{"a": 1}', "[]"]),
    ],
)
def test_what_holds_and_what_does_not(settings, holds, fails):
    assertion = make_assertion(settings)
    for outputs, is_held in ((holds, True), (fails, False)):
        predictions = [Prediction("a", output) for output in outputs]
        reasons = assertion.reasons([EXAMPLE] * len(outputs), predictions)
        assert [not reason for reason in reasons] == [is_held] * len(outputs), reasons
    every = [Prediction("a", output) for output in (*holds, *fails)]
    metric = HoldingShare(assertion)
    share = metric.corpus_score([EXAMPLE] * len(every), every)
    assert share == pytest.approx(100 * len(holds) / len(every))


def test_no_output_holds_nothing():
    [reason] = make_assertion({"max_characters": 9}).reasons([EXAMPLE], [Prediction("a", nats=1.0)])
    assert reason


@pytest.mark.slow
def test_a_pattern_that_takes_too_long_is_named():
    assertion = make_assertion({"matches": "^(a|aa)+$"})
    with pytest.raises(ValueError, match="nested repetition"):
        assertion.reasons([EXAMPLE], [Prediction("a", "a" * 60 + "!")])


@pytest.mark.parametrize(
    ("given", "share"), [("99 %", 0.99), ("99.5%", 0.995), (1, 1.0), (0.2, 0.2), ("baseline", None)]
)
def test_shares(given, share):
    assert make_assertion({"json": True, "at_least": given}).share == share


@pytest.mark.parametrize("given", ["99", "x", -0.1, 1.1, True, "101 %", None])
def test_wrong_shares_are_refused(given):
    with pytest.raises(ValueError, match="at_least="):
        make_assertion({"json": True, "at_least": given})


@pytest.mark.parametrize("given", [0, -1, True, "2", float("nan"), float("inf")])
def test_wrong_ratios_are_refused(given):
    with pytest.raises(ValueError, match="max_ratio: must be a number above 0"):
        make_assertion({"max_ratio": given})
