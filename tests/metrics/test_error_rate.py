"""Error rates are jiwer's, summed over a corpus, in every language."""

import jiwer
import numpy as np
import pytest

from lslm_lightning.contracts import Prediction
from lslm_lightning.metrics.error_rate import CharacterErrorRate, Edit, WordErrorRate, confusions
from tests.support.metrics import statistics_of

PAIRS = [
    ("今天天气很好", "今天天汽好"),
    ("你好，世界", "你好，世界！"),
    ("甲", ""),
    ("the cat sat", "the cat  sat down"),
    ("ein Haus", "kein Haus"),
]


def corpus(metric, pairs):
    return metric.score(
        sum(
            statistics_of(metric, Prediction("", output), [reference])
            for reference, output in pairs
        )
    )


def test_cer_is_jiwers():
    references, outputs = zip(*PAIRS, strict=True)
    assert corpus(CharacterErrorRate(), PAIRS) == pytest.approx(
        100 * jiwer.cer(list(references), [" ".join(o.split()) for o in outputs])
    )


def test_wer_is_jiwers():
    pairs = [(r, o) for r, o in PAIRS if " " in r]
    references, outputs = zip(*pairs, strict=True)
    assert corpus(WordErrorRate("en"), pairs) == pytest.approx(
        100 * jiwer.wer(list(references), list(outputs))
    )


def test_kinds_of_errors_are_jiwers():
    pairs = [(r, o) for r, o in PAIRS if " " in r]
    references, outputs = zip(*pairs, strict=True)
    metric = WordErrorRate("en")
    whole = jiwer.process_words(list(references), list(outputs))
    found = metric.edits(
        sum(
            statistics_of(metric, Prediction("", output), [reference])
            for reference, output in pairs
        )
    )
    assert found == (
        whole.substitutions,
        whole.deletions,
        whole.insertions,
        sum(len(r.split()) for r in references),
    )


@pytest.mark.parametrize(
    "metric",
    [CharacterErrorRate(), WordErrorRate("en"), WordErrorRate("zh")],
    ids=["cer", "wer", "wer zh"],
)
@pytest.mark.parametrize(
    ("reference", "output"), [*PAIRS, ("", "a b"), ("a b", ""), ("", ""), ("ab ba", "b ab a")]
)
def test_an_alignment_spells_both_texts_and_has_the_counted_edits(metric, reference, output):
    edits = metric.alignment(reference, output)
    assert [edit.reference for edit in edits if edit.operation != "insert"] == metric.counted(
        reference
    )
    assert [edit.output for edit in edits if edit.operation != "delete"] == metric.counted(output)
    for edit in edits:
        assert (edit.reference == edit.output) == (edit.operation == "equal")
        assert (edit.reference == "") == (edit.operation == "insert")
        assert (edit.output == "") == (edit.operation == "delete")
    counted = metric.edits(statistics_of(metric, Prediction("", output), [reference]))
    kinds = [edit.operation for edit in edits]
    assert counted[:3] == (kinds.count("substitute"), kinds.count("delete"), kinds.count("insert"))


def test_confusions_are_counted_over_many_texts():
    metric = WordErrorRate("en")
    texts = [
        ("one two", "one too"),
        ("two three", "too three"),
        ("four", "for four"),
        ("one", "one"),
    ]
    found = confusions(
        edit for reference, output in texts for edit in metric.alignment(reference, output)
    )
    assert found == [(Edit("substitute", "two", "too"), 2), (Edit("insert", "", "for"), 1)]


def test_chinese_words_are_its_characters():
    assert corpus(WordErrorRate("zh"), [("我想住", "我想坐")]) == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("language", "reference", "output"),
    [("en", "red cars", "old dogs"), ("zh", "红车", "老狗"), ("bo", "བོད་ཡིག་མི", "ཆུ་ཁབ་གཞན")],
)
def test_what_shares_no_word_has_nothing_right(language, reference, output):
    """Neither spaces between words nor dots between syllables are words."""
    assert corpus(WordErrorRate(language), [(reference, output)]) == 100


def test_the_best_reference_counts():
    metric = CharacterErrorRate()
    assert list(statistics_of(metric, Prediction("", "abc"), ["xyz", "abd"])) == [1, 0, 0, 3]
    assert list(statistics_of(metric, Prediction("", "same"), ["other", "same"])) == [0, 0, 0, 4]


def test_an_empty_reference_counts_what_was_written_too_much():
    metric = CharacterErrorRate()
    assert list(statistics_of(metric, Prediction("", "ab"), [""])) == [0, 0, 2, 0]
    assert np.isnan(metric.score(np.zeros(4)))
    assert np.isnan(statistics_of(metric, Prediction("", nats=1.0), ["x"])).all()
