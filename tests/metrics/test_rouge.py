"""ROUGE equals rouge-score to the last digit for English, and means something in other
languages.
"""

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from lslm_lightning.contracts import Prediction
from lslm_lightning.metrics.rouge import Rouge, UnicodeTokenizer
from lslm_lightning.text.sentences import split_sentences
from tests.support.metrics import statistics_of

KINDS = ["1", "2", "L", "Lsum"]
ENGLISH = [
    (
        "The cats were sitting. They slept on mats!",
        ["A cat sits on the mat. It sleeps.", "Cats slept on the mats. Cats were sitting."],
    ),
    ("", ["Nothing was written.", "Silence."]),
    (
        "Running costs rose 3.5% in 2024",
        ["The cost of running it rose by 3.5 percent in 2024.", "Costs ran away. They rose."],
    ),
    ("!?", ["Only signs.", "..."]),
    ("the same", ["the same", "the other"]),
]
CHINESE = [
    (
        "苹果秋季发布会正式推出iPhone 15",
        ["苹果公司正式推出iPhone 15。", "新款手机亮相。苹果股价上涨！"],
    ),
    ("", ["没有输出。", "空。"]),
    ("北京明天下雨。请带伞。", ["请带伞。北京明天有雨。", "明天雨"]),
]


def total(metric, corpus):
    return sum(
        statistics_of(metric, Prediction(str(i), output), references)
        for i, (output, references) in enumerate(corpus)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_reference", [1, 2])
def test_against_rouge_score_in_english(kind, n_reference):
    theirs = RougeScorer([f"rouge{kind}"], use_stemmer=True)
    f1 = 0.0
    for output, references in ENGLISH:
        texts = ["\n".join(split_sentences(text)) for text in (output, *references[:n_reference])]
        f1 += theirs.score_multi(texts[1:], texts[0])[f"rouge{kind}"].fmeasure
    metric = Rouge(kind)
    corpus = [(output, references[:n_reference]) for output, references in ENGLISH]
    assert metric.score(total(metric, corpus)) == 100 * f1 / len(ENGLISH) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_chinese_equals_english_of_the_same_shape(kind):
    """Each Chinese character is renamed to a word of letters only: rouge-score must then give the
    same.
    """
    theirs = RougeScorer([f"rouge{kind}"])
    metric = Rouge(kind, "zh")
    tokens = UnicodeTokenizer()

    def renamed(text):
        lines = split_sentences(text, "zh")
        return "\n".join(
            " ".join("".join(f"x{ord(c):x}" for c in token) for token in tokens.tokenize(line))
            for line in lines
        )

    for output, references in CHINESE:
        expected = theirs.score_multi(
            [renamed(reference) for reference in references], renamed(output)
        )[f"rouge{kind}"].fmeasure
        assert statistics_of(metric, Prediction("a", output), references).tolist() == [
            expected,
            1.0,
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_chinese_headlines(kind):
    metric = Rouge(kind, "zh")
    same = "苹果秋季发布会正式推出iPhone 15手机。"
    other = "二手市场上旧款价格因iPhone 15大跌"
    assert metric.score(total(metric, [(same, [same])])) == 100
    assert metric.score(total(metric, [(same, [other])])) < 40
    assert metric.score(total(metric, [("全然不同", [other])])) == 0


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Größere Übung"),
        ("ru", "привет мир"),
        ("ja", "東京タワーへ行く"),
        ("ko", "안녕 세계"),
        ("hi", "नमस्ते दुनिया"),
    ],
)
def test_no_language_loses_its_letters(language, text):
    metric = Rouge("2", language)
    assert metric.score(total(metric, [(text, [text])])) == 100


def test_unicode_tokens():
    tokenize = UnicodeTokenizer().tokenize
    assert tokenize("ｉＰｈｏｎｅ　１５卖3.5万，Größe!") == [
        "iphone",
        "15",
        "卖",
        "3.5",
        "万",
        "größe",
    ]
    assert tokenize("，。！ ...") == []


def test_sentences_matter_only_to_lsum():
    one_line = "First things come first. Then others."
    lines = "First things come first.\nThen others."
    for kind in KINDS:
        metric = Rouge(kind)
        assert (
            statistics_of(metric, Prediction("a", one_line), [lines])
            == statistics_of(metric, Prediction("a", lines), [one_line])
        ).all()
    swapped = "Then others. First things come first."
    assert statistics_of(Rouge("Lsum"), Prediction("a", swapped), [one_line])[0] == 1
    assert statistics_of(Rouge("L"), Prediction("a", swapped), [one_line])[0] < 1


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_add_up_over_any_split(kind):
    metric = Rouge(kind)
    corpus = ENGLISH * 7
    assert metric.score(total(metric, corpus[:9]) + total(metric, corpus[9:])) == pytest.approx(
        metric.score(total(metric, corpus)), rel=1e-12
    )


def test_signature_and_what_is_not_defined():
    assert Rouge("1").signature.startswith("tok:rouge|stem:porter")
    assert Rouge("Lsum", "zh").signature.startswith(
        "tok:unicode|norm:nfkc|stem:no|sentences:rules-zh"
    )
    assert (Rouge("L").name, Rouge("L").unit) == ("rougeL", "")
    assert np.isnan(statistics_of(Rouge("1"), Prediction("a", nats=1.0), ["x"])).all()
    assert np.isnan(Rouge("1").score(np.zeros(2)))
    with pytest.raises(ValueError, match="kind='3' of Rouge must be one of"):
        Rouge("3")


# Words of jieba, where they are asked for


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_words_of_jieba_against_rouge_score_on_words_with_spaces(kind):
    """Words written as a1, a2, ... are English to rouge-score: the same sequence of words has the
    same score.
    """
    jieba = pytest.importorskip("jieba")
    names: dict[str, str] = {}

    def as_english(text):
        words = [w for w in jieba.lcut(text.lower()) if any(map(str.isalnum, w))]
        return " ".join(names.setdefault(word, f"a{len(names)}") for word in words)

    output = "自然语言处理技术正在迅速发展"
    reference = "自然语言的处理技术发展得很迅速"
    metric = Rouge(kind, "zh", words="jieba")
    theirs = (
        RougeScorer([f"rouge{kind}"])
        .score(as_english(reference), as_english(output))[f"rouge{kind}"]
        .fmeasure
    )
    assert metric.score(
        statistics_of(metric, Prediction("1", output), [reference])
    ) == pytest.approx(100 * theirs, abs=1e-12)


def test_words_of_jieba_have_a_name_and_a_signature_of_their_own():
    pytest.importorskip("jieba")
    metric = Rouge("2", "zh", words="jieba")
    assert metric.name == "rouge2-jieba"
    assert "tok:jieba-" in metric.signature
    assert metric.counted("我们爱北京,iPhone 15！") == ["我们", "爱", "北京", "iphone", "15"]


def test_words_of_jieba_are_for_chinese():
    with pytest.raises(ValueError, match="language='de'"):
        Rouge("1", "de", words="jieba")


@pytest.mark.parametrize(
    ("language", "text"),
    [("ja", "東京は雨です。傘を持って！"), ("ko", "서울에 비가 옵니다. 우산을 가져가세요!")],
)
@pytest.mark.parametrize("kind", KINDS)
def test_japanese_and_korean_texts_agree_with_themselves(kind, language, text):
    metric = Rouge(kind, language)
    assert metric.score(statistics_of(metric, Prediction("1", text), [text])) == pytest.approx(100)
    assert metric.score(statistics_of(metric, Prediction("1", "iPhone 15"), [text])) == 0


def test_what_is_counted_are_words_and_not_their_stems():
    assert Rouge("1", "en").counted("Running nationalizations!") == ["running", "nationalizations"]
