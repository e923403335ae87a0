"""Differences of Unicode form are told with the score both ways, where they change it."""

import unicodedata

import pytest

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.diagnostics import run_checks
from lslm_lightning.evaluation.unicode_forms import one_form
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.metrics.error_rate import WordErrorRate
from lslm_lightning.metrics.rouge import Rouge

TEXTS = {
    "vi": ["Tôi không biết tiếng Việt lắm, nhưng tôi muốn học thêm mỗi ngày."],
    "fr": ["L'été dernier, nous avons mangé des crêpes à la crème près de l'église."],
    "ko": ["저는 어제 친구와 함께 서울에 있는 박물관에 갔습니다 정말 좋았어요."],
    "hi": ["मैं कल बाज़ार गया था और वहाँ बहुत लोग थे लेकिन मौसम अच्छा था।"],
    "zh": ["我们在2019年10月买了ABC公司的新电脑,价格是4500元(含税)。"],
    "fa": ["من دیروز کتاب‌های زیادی خریدم و آن‌ها را می‌خوانم تا چیزی یاد بگیرم."],
    "en": ["The price is 20 euros per person and the trip takes about 3 hours."],
}


def wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


CASES = [
    ("vi", lambda t: unicodedata.normalize("NFD", t), "COMBINING"),
    ("fr", lambda t: unicodedata.normalize("NFD", t), "COMBINING"),
    ("ko", lambda t: unicodedata.normalize("NFD", t), "HANGUL"),
    ("zh", wide, "FULLWIDTH"),
    ("en", lambda t: t.replace("r", "r\u200b"), "U+200B ZERO WIDTH SPACE"),
    ("en", lambda t: t.replace("e", "e\u00ad"), "U+00AD SOFT HYPHEN"),
    ("en", lambda t: "\ufeff" + t, "U+FEFF"),
    ("fa", lambda t: t.replace("\u200c", ""), "U+200C ZERO WIDTH NON-JOINER"),
    ("fr", lambda t: t.replace("dernier", "derni\u2060er"), "U+2060 WORD JOINER"),
]


def findings(language, change, metrics, of_reference=lambda text: text):
    texts = [f"{TEXTS[language][0]} {i}" for i in range(30)]
    examples = [
        Example(str(i), f"{i} x", (of_reference(t),), language) for i, t in enumerate(texts)
    ]
    answers = {"it": [Prediction(str(i), change(t)) for i, t in enumerate(texts)]}
    return [f for f in run_checks(examples, answers, metrics) if f.check == "Unicode forms"]


@pytest.mark.parametrize(("language", "change", "name"), CASES)
def test_a_difference_is_told_with_the_score_both_ways(language, change, name):
    metric = Bleu(language)
    [found] = findings(language, change, [metric])
    assert found.system == "it"
    assert name in found.words
    assert "100.00 in one form" in found.words
    [other] = findings(language, lambda text: text, [metric], change)
    assert "100.00 in one form" in other.words


@pytest.mark.parametrize(("language", "change", "name"), CASES)
def test_what_both_sides_have_is_no_alarm(language, change, name):
    assert findings(language, change, [Bleu(language)], change) == []


def test_a_metric_that_has_one_form_itself_is_no_alarm():
    def decomposed(text):
        return unicodedata.normalize("NFD", text)

    assert findings("fr", decomposed, [WordErrorRate("fr")]) == []


def test_what_does_not_change_the_score_is_no_alarm():
    """ROUGE reads only letters of English and digits."""
    assert findings("en", lambda text: text.replace(" ", "\u00a0", 1), [Rouge("1", "en")]) == []
    assert findings("en", lambda text: text, [Bleu("en")]) == []


def test_errors_besides_are_not_counted():
    [found] = findings(
        "en", lambda text: text.replace("The", "A").replace("i", "i\u200b"), [Bleu("en")]
    )
    assert "100.00" not in found.words


def test_one_form_is_idempotent():
    for language, change, _ in CASES:
        text = change(TEXTS[language][0])
        assert one_form(one_form(text)) == one_form(text)
        assert one_form(text) == one_form(TEXTS[language][0])
