"""Scores of random corpora in many scripts equal sacreBLEU, jiwer and rouge-score with the
tokenizer that the signature declares.
"""

import unicodedata

import jiwer
import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF, TER

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.diagnostics import run_checks
from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.metrics.error_rate import CharacterErrorRate, WordErrorRate
from lslm_lightning.metrics.rouge import Rouge
from tests.support.metrics import statistics_of

WORDS = {
    "th": "แผน พลังงาน ใหม่ สำหรับ เมือง ใหญ่ ทีม ชนะ การแข่งขัน แพ้",
    "lo": "ສະບາຍດີ ປະເທດ ລາວ ພາສາ ຄົນ ເມືອງ ນ້ຳ ກິນ",
    "km": "ភាសា ខ្មែរ ប្រទេស កម្ពុជា ទឹក ក្រុង ក្នុង ស្រី",
    "my": "မြန်မာ ဘာသာ စကား ကျွန်တော် မြို့ ရေ ကောင်း သည်",
    "bo": "བོད་སྐད་ ཡིག་ གཞན་ ཡིན་ མི་ ཆུ་ རྒྱལ་ཁབ་ དུས་",
    "ja": "東京 タワー へ 行く 今日 は 天気 が よい",
    "zh": "苹果 公司 今天 发布 新 手机 北京 下雨",
    "yue": "佢 哋 今日 去 咗 香港 食 飯",
    "ko": "오늘은 날씨가 좋다 서울에 비가 옵니다 우산을 가져가세요",
    "ar": "الحكومة أعلنت خطة جديدة فريق المدينة فاز أمس",
    "he": "הממשלה הודיעה תוכנית חדשה קבוצה ניצחה אתמול בעיר",
    "hi": "सरकार ने नई योजना घोषित की टीम हारी शहर",
    "bn": "সরকার নতুন পরিকল্পনা ঘোষণা করেছে দল শহর জয়",
    "ta": "அரசு புதிய திட்டம் அறிவித்தது அணி நகரம் வெற்றி மழை",
    "am": "መንግስት አዲስ እቅድ አስታወቀ ቡድን ከተማ ትናንት አሸነፈ",
    "ka": "მთავრობამ ახალი გეგმა გამოაცხადა გუნდმა ქალაქი გუშინ მოიგო",
    "el": "κυβέρνηση νέο σχέδιο ομάδα πόλη νίκη χθες βροχή",
    "ru": "правительство новый план команда город победа вчера дождь",
    "de": "Füße tragen weit Große Häuser am Fluß grün",
    "tr": "ılık ilik hükümet yeni plan şehir dün kazandı",
    "vi": "chính phủ kế hoạch mới đội bóng thành phố mưa",
}
UNSPACED = ("th", "lo", "km", "my", "bo", "ja", "zh", "yue")
LANGUAGES = pytest.mark.parametrize("language", WORDS)
FEW = settings(max_examples=8, deadline=None)


def sentences(language: str, least: int = 1) -> st.SearchStrategy[str]:
    """Texts of the words of a language, written as it is."""
    separator = "" if language in UNSPACED else " "
    words = st.lists(
        st.sampled_from([*WORDS[language].split(), "15", "7"]), min_size=least, max_size=8
    )
    return words.map(lambda chosen: separator.join(chosen))


def corpora(language: str, least: int = 1) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Outputs with their references."""
    return st.lists(
        st.tuples(sentences(language), sentences(language, least)), min_size=1, max_size=4
    )


def value(metric, corpus) -> float:
    rows = [
        statistics_of(metric, Prediction("", output), [reference]) for output, reference in corpus
    ]
    return metric.score(np.sum(rows, 0))


def declared(metric) -> dict[str, str]:
    return dict(part.split(":", 1) for part in metric.signature.split("|"))


def units(text: str, kind: str) -> list[str]:
    """Words, clusters or characters by hand, as the signatures name them."""
    if kind == "words":
        return text.split()
    if kind == "graphemes":  # numbers stay whole
        return [
            cluster
            for part in regex.findall(r"\d+|\D+", text)
            for cluster in ([part] if part[0].isdigit() else graphemes(part))
        ]
    if kind == "syllables":
        return regex.findall(r"[^་\s]+", text)
    return regex.findall(r"\d+|\S", text)


def graphemes(text: str) -> list[str]:
    return [cluster for cluster in regex.findall(r"\X\p{M}*", text) if not cluster.isspace()]


@LANGUAGES
@FEW
@given(st.data())
def test_bleu_and_chrf_against_sacrebleu(language, data):
    corpus = data.draw(corpora(language))
    outputs, references = (list(texts) for texts in zip(*corpus))
    metric = Bleu(language)
    theirs = (
        BLEU(tokenize=declared(metric)["tok"].removesuffix("-IPA"), force=True)
        if language not in ("ja", "ko")
        else metric._metric
    )
    assert value(metric, corpus) == theirs.corpus_score(outputs, [references]).score
    assert value(Chrf(), corpus) == CHRF().corpus_score(outputs, [references]).score


@pytest.mark.parametrize(
    ("code", "tokenizer"),
    [
        (code, "char")
        for code in (
            "th",
            "tha",
            "lo",
            "km",
            "my",
            "bo",
            "dz",
            "shn",
            "ii",
            "km-KH",
            "und-Laoo",
            "jv-Java",
        )
    ]
    + [
        (code, "zh")
        for code in ("zh", "cmn", "zho", "yue", "wuu", "lzh", "cmn_Hant", "zh-TW", "hak")
    ]
    + [
        (code, "13a")
        for code in ("en", "ru", "ar", "hi", "vi", "jv", "und-Latn", "zh-Latn", "id", "no", "nb")
    ],
)
def test_the_tokenizer_of_bleu_follows_the_script(code, tokenizer):
    assert declared(Bleu(code))["tok"] == tokenizer


@pytest.mark.slow
@LANGUAGES
@FEW
@given(st.data())
def test_ter_against_sacrebleu(language, data):
    corpus = data.draw(corpora(language))
    metric = Ter(language)
    kind = declared(metric).get("units")
    if kind:
        spaced = [[" ".join(units(text, kind)) for text in pair] for pair in corpus]
        theirs = TER()
    else:
        asian = declared(metric)["asian"] == "yes"
        spaced = corpus
        theirs = TER(normalized=asian, asian_support=asian)
    expected = theirs.corpus_score(
        [pair[0] for pair in spaced], [[pair[1] for pair in spaced]]
    ).score
    assert value(metric, corpus) == expected


@pytest.mark.slow
@LANGUAGES
@FEW
@given(st.data())
def test_word_error_rate_against_jiwer(language, data):
    corpus = data.draw(corpora(language))
    metric = WordErrorRate(language)
    cut = [
        [
            " ".join(units(unicodedata.normalize("NFC", text), declared(metric)["units"]))
            for text in pair
        ]
        for pair in corpus
    ]
    assert value(metric, corpus) == pytest.approx(
        100 * jiwer.wer([pair[1] for pair in cut], [pair[0] for pair in cut])
    )


@LANGUAGES
@FEW
@given(st.data())
def test_rouge_against_rouge_score(language, data):
    """The declared tokens, each renamed to a word of ASCII, go to rouge-score, which must then give
    the same.
    """
    corpus = data.draw(corpora(language))
    name = declared(Rouge("1", language))["tok"]
    if name.startswith("unicode"):
        name = "words" if language not in (*UNSPACED, "ko") else "characters"

    def renamed(text: str) -> str:
        text = unicodedata.normalize("NFKC", text)
        text = (text.replace("I", "ı").replace("İ", "i") if language == "tr" else text).lower()
        tokens = [token for token in units(text, name) if any(map(str.isalnum, token))]
        return " ".join("".join(f"x{ord(c):x}" for c in token) for token in tokens)

    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [theirs.score(renamed(reference), renamed(output)) for output, reference in corpus]
    for kind in ("1", "2", "L"):
        expected = 100 * np.mean([score[f"rouge{kind}"].fmeasure for score in scores])
        assert value(Rouge(kind, language), corpus) == pytest.approx(expected, abs=1e-9)


def metrics_of(language: str) -> list:
    rouge = [Rouge(kind, language) for kind in ("1", "2", "L", "Lsum")]
    return [
        *rouge,
        Bleu(language),
        Chrf(),
        Ter(language),
        WordErrorRate(language),
        CharacterErrorRate(),
        TokenF1(language),
        ExactMatch(language),
    ]


def other_letter(text: str) -> str:
    """The text with its last letter changed to another one of the same text, or left out."""
    letters = [i for i, character in enumerate(text) if character.isalpha()]
    last = letters[-1]
    other = next((text[i] for i in letters if text[i].lower() != text[last].lower()), "")
    return text[:last] + other + text[last + 1 :]


@pytest.mark.slow
@LANGUAGES
@FEW
@given(st.data())
def test_a_perfect_answer_is_perfect_and_one_letter_counts(language, data):
    text = data.draw(sentences(language, 4).filter(lambda text: sum(map(str.isalpha, text)) > 3))
    for metric in metrics_of(language):
        best = 100 if metric.higher_is_better else 0
        assert value(metric, [(text, text)] * 2) == pytest.approx(best), metric.name
        assert value(metric, [(other_letter(text), text)] * 2) != pytest.approx(best), metric.name


@pytest.mark.slow
@pytest.mark.parametrize("stated", ["en", "de", "zh", "th", "ru", "und"])
@LANGUAGES
@settings(max_examples=2, deadline=None)
@given(st.data())
def test_no_metric_is_constant_on_answers_that_differ_without_a_check(language, stated, data):
    """The stated language may be wrong too."""
    references = data.draw(st.lists(sentences(language, 4), min_size=6, max_size=6, unique=True))
    wrong = references[1:] + references[:1]
    examples = [Example(str(i), "x", (text,), stated, "en") for i, text in enumerate(references)]
    for metric in metrics_of(stated):
        right = value(metric, [(text, text) for text in references])
        if right == value(metric, list(zip(wrong, references))):
            found = run_checks(
                examples,
                {"it": [Prediction(str(i), text) for i, text in enumerate(references)]},
                [metric],
            )
            assert {f.check for f in found} & {
                "constant metric",
                "dropped characters",
                "unsegmented text",
            }, metric.name


@pytest.mark.parametrize("language", ["tr", "az"])
@pytest.mark.parametrize(
    ("output", "reference", "right"),
    [
        ("İSTANBUL", "istanbul", True),
        ("IŞIK", "ışık", True),
        ("ILIK", "ilik", False),
        ("ışık", "işik", False),
    ],
)
def test_turkish_has_a_lower_case_of_its_own(language, output, reference, right):
    for metric in (Rouge("1", language), TokenF1(language), ExactMatch(language)):
        assert value(metric, [(output, reference)]) == (100 if right else 0), metric.name
    assert "case:tr" in Rouge("1", language).signature
    assert "lower-tr" in TokenF1(language).signature


@pytest.mark.parametrize(
    ("language", "word"),
    [
        ("fa", "می\u200cخواهم"),
        ("si", "ශ්\u200dරී"),
        ("hi", "क्\u200dष"),
        ("ml", "ന്\u200d"),
        ("bn", "র\u200d্যা"),
    ],
)
def test_a_joiner_belongs_to_its_word(language, word):
    metric = Rouge("1", language)
    assert metric.counted(f"{word} {word}, {word}!") == [unicodedata.normalize("NFKC", word)] * 3
    assert "tok:unicode-joined" in metric.signature


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("hi", "कि", "की"),
        ("ml", "കമ്പ്യൂട്ടർ", "കമ്പിയുട്ടർ"),
        ("ta", "அரசு", "அரசி"),
        ("th", "แม่", "แม้"),
    ],
)
def test_vowel_signs_and_tones_tell_words_apart(language, one, other):
    for metric in metrics_of(language):
        perfect = 100 if metric.higher_is_better else 0
        assert value(metric, [(one, other)] * 2) != pytest.approx(perfect), metric.name
