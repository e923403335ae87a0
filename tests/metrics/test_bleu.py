"""BLEU, chrF and TER equal sacreBLEU to the last digit, and their statistics add up."""

import importlib.util

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from lslm_lightning.contracts import Prediction
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter, tokenizer_of
from tests.support.metrics import statistics_of

ENGLISH = [
    (
        "The cat sat on the mat.",
        ["The cat is sitting on the mat.", "A cat sat on the mat, I think."],
    ),
    ("", ["Nothing was written.", "Silence."]),
    (
        "It costs $3.50, doesn't it?",
        ["It costs $3.50, does it not?", "The price is 3.50 dollars, isn't it?"],
    ),
    (
        "exactly the same words in the same order",
        ["exactly the same words in the same order", "other"],
    ),
    (
        "words moved the around were here",
        ["the words were moved around here", "here words were moved about by someone"],
    ),
]
CHINESE = [
    (
        "苹果公司今天发布了iPhone 15。",
        ["苹果公司今日发布iPhone 15手机。", "今天苹果发布了新的手机。"],
    ),
    ("我们明天去北京。", ["我们明天要去北京。", "明天我们去北京！"]),
    ("", ["没有输出。", "空。"]),
    ("你好，世界！", ["你好，世界！", "世界，你好！"]),
]
PAIRS = [
    (Bleu(), BLEU(tokenize="13a"), ENGLISH),
    (Bleu("zh"), BLEU(tokenize="zh"), CHINESE),
    (Bleu("zh-Hant"), BLEU(trg_lang="zh"), CHINESE),
    (Bleu(lowercase=True), BLEU(lowercase=True), ENGLISH),
    (Bleu(tokenize="intl"), BLEU(tokenize="intl"), ENGLISH),
    (Chrf(), CHRF(), ENGLISH),
    (Chrf(word_order=2), CHRF(word_order=2), ENGLISH),
    (Chrf(lowercase=True), CHRF(lowercase=True), CHINESE),
    (Ter(), TER(), ENGLISH),
    (Ter(lowercase=False), TER(case_sensitive=True), ENGLISH),
    (Ter("zh"), TER(normalized=True, asian_support=True), CHINESE),
]
against = pytest.mark.parametrize(
    ("metric", "theirs", "corpus"), PAIRS, ids=lambda value: getattr(value, "name", "")
)


def rows_of(metric, corpus):
    return np.stack(
        [
            statistics_of(metric, Prediction(str(i), output), references)
            for i, (output, references) in enumerate(corpus)
        ]
    )


def transposed(corpus, n_reference):
    """References as sacreBLEU wants them: one list a reference, None where an example has fewer."""
    return [
        [references[k] if k < len(references) else None for _, references in corpus]
        for k in range(n_reference)
    ]


@against
@pytest.mark.parametrize("n_reference", [1, 2])
def test_against_sacrebleu(metric, theirs, corpus, n_reference):
    corpus = [(output, references[:n_reference]) for output, references in corpus]
    expected = theirs.corpus_score(
        [output for output, _ in corpus], transposed(corpus, n_reference)
    )
    assert metric.score(rows_of(metric, corpus).sum(0)) == expected.score > 0
    assert f"nrefs:{n_reference}|{metric.signature}" == str(theirs.get_signature())


@against
def test_against_sacrebleu_with_a_varying_number_of_references(metric, theirs, corpus):
    corpus = [(output, references[: 1 + i % 2]) for i, (output, references) in enumerate(corpus)]
    expected = theirs.corpus_score([output for output, _ in corpus], transposed(corpus, 2))
    assert metric.score(rows_of(metric, corpus).sum(0)) == expected.score
    assert f"nrefs:var|{metric.signature}" == str(theirs.get_signature())


@against
def test_statistics_add_up_over_any_split(metric, theirs, corpus):
    rows = rows_of(metric, corpus * 10)
    halves = rows[::3].sum(0) + rows[1::3].sum(0) + rows[2::3].sum(0)
    assert metric.score(halves) == pytest.approx(metric.score(rows.sum(0)), rel=1e-12)


@against
def test_extremes(metric, theirs, corpus):
    perfect = metric.score(
        rows_of(metric, [(references[0], references[:1]) for _, references in corpus]).sum(0)
    )
    nothing = metric.score(
        rows_of(metric, [("", references[:1]) for _, references in corpus]).sum(0)
    )
    assert (perfect, nothing) == ((pytest.approx(100), 0) if metric.higher_is_better else (0, 100))
    assert np.isnan(metric.score(statistics_of(metric, Prediction("a", nats=1.0), ["x"])))


def test_names_and_units():
    assert [(m.name, m.unit, m.higher_is_better) for m in (Bleu(), Chrf(), Chrf(2), Ter())] == [
        ("bleu", "", True),
        ("chrf", "", True),
        ("chrf++", "", True),
        ("ter", "%", False),
    ]


def test_tokenizer_by_language(monkeypatch):
    assert [tokenizer_of(code) for code in ("en", "de-AT", "zh", "zh_CN", "ZH-Hant")] == [
        "13a",
        "13a",
        "zh",
        "zh",
        "zh",
    ]
    assert "tok:zh" in Bleu("zh").signature
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert [tokenizer_of(code) for code in ("ja", "ko-KR")] == ["char", "char"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert [tokenizer_of(code) for code in ("ja", "ko-KR")] == ["ja-mecab", "ko-mecab"]


def test_an_unknown_tokenizer_is_refused():
    with pytest.raises(ValueError, match=r"tokenize='chinese' must be one of sacreBLEU's \["):
        Bleu(tokenize="chinese")


@pytest.mark.parametrize(
    ("output", "reference"),
    [
        ("谢谢！", "谢谢！"),
        ("我饿了。", "我湿了。"),
        ("", "我湿了。"),
        ("完美", "完全不一样的长句子。"),
    ],
)
def test_bleu_of_one_sentence_against_sacrebleu(output, reference):
    metric = Bleu("zh")
    theirs = BLEU(tokenize="zh", effective_order=True).sentence_score(output, [reference]).score
    assert metric.score_alone(
        statistics_of(metric, Prediction("1", output), [reference])
    ) == pytest.approx(theirs, abs=1e-9)
