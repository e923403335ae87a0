"""Languages are told where texts are enough, and stay open where they are not."""

import json
import subprocess
import sys

import pytest
from babel import Locale

from lslm_lightning.text.identification import tell_language
from lslm_lightning.text.languages import script_of_language

LOCALES = [
    "en",
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "nl",
    "pl",
    "cs",
    "hu",
    "fi",
    "sv",
    "tr",
    "vi",
    "id",
    "ro",
    "ru",
    "uk",
    "bg",
    "ar",
    "fa",
    "ur",
    "hi",
    "mr",
    "he",
    "el",
    "ka",
    "hy",
    "am",
    "ta",
    "te",
    "th",
    "lo",
    "km",
    "my",
    "zh",
    "ja",
    "ko",
    "bn",
]


def names(code: str) -> list[str]:
    """Names of countries and languages, as CLDR has them."""
    locale = Locale(code)
    return [
        f"{language} {country}"
        for language, country in zip(locale.languages.values(), locale.territories.values())
    ]


@pytest.mark.slow
@pytest.mark.parametrize("code", LOCALES)
def test_lists_of_names_are_hard_but_never_taken_for_english_or_another_script(code):
    """English is the language with rules of its own that would spoil other texts."""
    told = tell_language(names(code))
    assert script_of_language(told.code) == script_of_language(code)
    assert told.code == code or told.code != "en", told
    assert told == tell_language(names(code)), "the same texts give the same answer"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Die Regierung hat heute einen neuen Plan vorgestellt, sagte der Minister.", "de"),
        ("The minister said today that the government has a new plan.", "en"),
        ("Сегодня правительство объявило новый план, сказал министр.", "ru"),
        ("Уряд сьогодні оголосив новий план, сказав міністр.", "uk"),
        ("أعلنت الحكومة اليوم خطة جديدة", "ar"),
        ("این کتاب را خواندم و دوست داشتم", "fa"),
        ("यह एक वाक्य है और यह दूसरा है", "hi"),
        ("รัฐบาลประกาศแผน", "th"),
        ("རྒྱལ་ཁབ་", "bo"),
        ("ეს არის ქართული წინადადება", "ka"),
        ("他今天去北京", "zh"),
        ("w1 w2 w3 w4 w5", "und-Latn"),
        ("a b c d e f", "und-Latn"),
        ("Paul Smith, John Johnson", "und-Latn"),
        ("план", "und-Cyrl"),
        ("12:30 — 15!", "und"),
        ("", "und"),
    ],
)
def test_languages_of_texts(text, code):
    assert tell_language([text] * 3).code == code


ENGLISH = [f"The minister said on day {i} that the government has a new plan." for i in range(60)]
GERMAN = [
    f"Der Minister sagte am Tag {i}, dass die Regierung einen neuen Plan hat." for i in range(60)
]
FRENCH = [f"Le ministre a dit, jour {i}, que le gouvernement a un nouveau plan." for i in range(60)]
CHINESE = [f"部长在第{i}天说政府有新计划。" for i in range(60)]
THAI = [f"รัฐมนตรีกล่าวในวันที่ {i} ว่ารัฐบาลมีแผนใหม่" for i in range(60)]
RUSSIAN = [f"Министр сказал в день {i}, что у правительства есть новый план." for i in range(60)]


@pytest.mark.parametrize(
    ("texts", "code", "several"),
    [
        (ENGLISH + GERMAN[:40], "und-Latn", "English, German"),
        (GERMAN + ENGLISH[:40] + FRENCH[:40], "und-Latn", "German, "),
        ([text for pair in zip(ENGLISH, GERMAN) for text in pair] * 4, "und-Latn", ""),
        (ENGLISH + CHINESE[:40], "und", "Latin, Han"),
        (RUSSIAN[:40] + ENGLISH, "und", "Latin, Cyrillic"),
        (ENGLISH + ["12:30", ""] * 60, "en", ""),
        (ENGLISH + GERMAN[:2], "en", ""),
        (["政府今天宣布 new model released today for everyone"] * 20, "und-Latn", "Latin, Han"),
        (["오늘 new model released today for everyone"] * 20, "und-Latn", "Latin, Hangul"),
        (CHINESE + ENGLISH[:40], "zh", ""),  # whose rules also hold for English words
        (THAI + ENGLISH[:40], "th", ""),
        (["使用PyTorch和TensorFlow训练Transformer", "基于BERT的文本分类"] * 20, "zh", ""),
    ],
)
def test_texts_in_several_languages_have_the_rules_of_none(texts, code, several):
    told = tell_language(texts)
    assert told.code == code
    assert ", ".join(told.several).startswith(several)
    assert bool(told.several) == (code[:3] == "und")
    assert f"are in several ({several}" in told.assumption or not several


def test_what_was_assumed_is_said_with_how_to_set_it():
    sure = tell_language(["Сегодня правительство объявило новый план"] * 300).assumption
    assert (
        sure == "language: ru, told from 200 texts (Cyrillic); set data.language to say otherwise"
    )
    assert (
        "told from 1 text ("
        in tell_language(["", "Сегодня правительство объявило новый план", "12"]).assumption
    )
    assert "not to be told from 1 text (Latin)" in tell_language(["abc"]).assumption
    assert "set data.language" in tell_language(["12"]).assumption


@pytest.mark.slow
def test_the_identifier_is_loaded_only_when_a_language_is_asked_for():
    code = (
        "import sys; import lslm_lightning.text.identification as i; "
        "i.tell_language(['中文']); print('py3langid' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "False"


@pytest.mark.parametrize(
    "text",
    [
        "並查看更",
        "THIS IS AN ENGLISH SENTENCE. EVERY LETTER IS CAPITALIZED!!! AMAZING.",
        "me ha gustado un vídeo",
    ],
)
def test_chance_has_no_part_in_it(text):
    assert len({tell_language([text]).code for _ in range(10)}) == 1


@pytest.mark.slow
def test_what_was_told_once_is_told_again_without_the_identifier(tmp_path):
    texts = ["the government announced a new plan today", "and all of them went home"]
    told = tell_language(texts)
    assert tell_language(texts, tmp_path) == told
    code = (
        "import json, sys; from pathlib import Path; "
        "from lslm_lightning.text.identification import tell_language as tell; "
        "told = tell(json.loads(sys.argv[1]), Path(sys.argv[2])); "
        "print(told == eval(sys.argv[3], vars(sys.modules[tell.__module__])), "
        "'py3langid' in sys.modules)"
    )
    command = [sys.executable, "-c", code, json.dumps(texts), str(tmp_path), repr(told)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["True", "False"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"language": 1, "several": []}', '{"language": "de", "several": 3}'],
)
def test_a_damaged_cache_is_replaced_and_none_can_be_written_to_a_file(tmp_path, content):
    texts = ["the government announced a new plan today", "and all of them went home"]
    told = tell_language(texts, tmp_path)
    [cached] = tmp_path.iterdir()
    whole = cached.read_text("utf-8")
    cached.write_text(content, "utf-8")
    assert tell_language(texts, tmp_path) == told
    assert cached.read_text("utf-8") == whole
    assert tell_language(texts, cached / "folder") == told


def test_other_texts_are_identified_anew(tmp_path):
    english, german = "the government announced a new plan", "die Regierung hat einen neuen Plan"
    assert tell_language([english], tmp_path) == tell_language([english])
    assert tell_language([german], tmp_path) == tell_language([german])
    assert len(list(tmp_path.iterdir())) == 2
