import pytest

from lslm_lightning.contracts import Example
from tasks.summarization.report import abstractiveness


def test_abstractiveness_by_hand():
    examples = [Example("1", "the cat sat on the mat", ("the cat sat",)), Example("2", "一二三四", ("一二五",), "zh", "zh")]
    copied, mixed = ["the cat sat", "一二三"], ["the dog sat", "一二五"]
    assert abstractiveness(examples, copied) == [0, 0, 0, 3, pytest.approx(10 / 6)]
    unigrams, bigrams, trigrams, words, compression = abstractiveness(examples, mixed)
    assert unigrams == pytest.approx(100 * 2 / 6)
    assert bigrams == pytest.approx(100 * 3 / 4)
    assert trigrams == 100
    assert (words, compression) == (3, pytest.approx(10 / 6))


def test_nothing_written_is_no_share():
    shares = abstractiveness([Example("1", "a b", ("a",))], [""])
    assert shares[0] != shares[0]
