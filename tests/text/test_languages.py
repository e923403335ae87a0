"""One spelling for each language code, by CLDR; what is none is refused with the nearest."""

import pytest

from lslm_lightning.text.languages import (
    base_language,
    canonical,
    language_of_script,
    name_of_language,
    script_of_language,
    units_of,
    writes_spaces,
)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("eng", "en"),
        ("eng_Latn", "en-Latn"),
        ("cmn", "zh"),
        ("zho", "zh"),
        ("chi", "zh"),
        ("cmn-Hans", "zh-Hans"),
        ("zh_hant_tw", "zh-Hant-TW"),
        ("zh-cmn", "zh"),
        ("zh-yue", "yue"),
        ("yue", "yue"),
        ("wuu", "wuu"),
        ("lzh", "lzh"),
        ("pt_br", "pt-BR"),
        ("iw", "he"),
        ("in", "id"),
        ("ji", "yi"),
        ("jw", "jv"),
        ("mo", "ro"),
        ("no", "no"),
        ("nob", "nb"),
        ("nno", "nn"),
        ("nor", "no"),
        ("ger", "de"),
        ("deu", "de"),
        ("fre", "fr"),
        ("arb", "ar"),
        ("pes", "fa"),
        ("zsm", "ms"),
        ("swh", "sw"),
        ("tha", "th"),
        ("mya", "my"),
        ("sh", "sr-Latn"),
        ("sr-latn-rs", "sr-Latn-RS"),
        ("und-Cyrl", "und-Cyrl"),
        ("zh-Latn-pinyin", "zh-Latn-pinyin"),
        ("en-u-ca-gregory", "en-u-ca-gregory"),
        ("x-klingon", "x-klingon"),
        ("qaa", "qaa"),
    ],
)
def test_canonical_codes(code, expected):
    assert canonical(code) == expected
    assert canonical(expected) == expected
    assert base_language(code) == base_language(expected) == expected.split("-")[0]


@pytest.mark.parametrize(
    ("code", "nearest"),
    [
        ("english", "en (English)"),
        ("German", "de (German)"),
        ("deutsch", "de (German)"),
        ("français", "fr (French)"),
        ("русский", "ru (Russian)"),
        ("jp", "ja (Japanese)"),
        ("cn", "zh (Chinese)"),
        ("ua", "uk (Ukrainian)"),
        ("zh-Hanx", "zh (Chinese)"),
        ("xx1", ""),
        ("123", ""),
        ("", ""),
        ("e n", ""),
    ],
)
def test_what_is_no_code_is_refused_with_the_nearest(code, nearest):
    with pytest.raises(ValueError, match="must be a code of BCP 47") as error:
        canonical(code)
    assert nearest in str(error.value)


def test_a_code_nobody_knows_still_has_a_first_part():
    assert base_language("xx-YY") == "xx"
    assert units_of("xx") == "words"


@pytest.mark.parametrize(
    ("code", "script"),
    [
        ("zh", "Hans"),
        ("zh-TW", "Hant"),
        ("yue", "Hant"),
        ("wuu", "Hans"),
        ("sr", "Cyrl"),
        ("sr-Latn", "Latn"),
        ("ja", "Jpan"),
        ("th", "Thai"),
        ("und-Khmr", "Khmr"),
        ("bo", "Tibt"),
        ("he", "Hebr"),
        ("xx", ""),
        ("uz_Arab_AF", "Arab"),
        ("hin_Deva", "Deva"),
    ],
)
def test_scripts_of_languages(code, script):
    assert script_of_language(code) == script


def test_languages_without_spaces():
    unspaced = (
        "zh",
        "cmn",
        "yue",
        "wuu",
        "lzh",
        "hak",
        "ja",
        "th",
        "lo",
        "km",
        "my",
        "shn",
        "bo",
        "dz",
        "ii",
        "und-Thai",
        "jv-Java",
    )
    assert not any(map(writes_spaces, unspaced))
    assert all(
        map(writes_spaces, ("en", "ko", "vi", "zh-Latn", "jv", "hi", "am", "ka", "und", "mn"))
    )


def test_names():
    assert name_of_language("cmn") == name_of_language("zh") == "Chinese"
    assert name_of_language("wuu") == "Wu Chinese"
    assert name_of_language("iw") == "Hebrew"
    assert name_of_language("pt_br") == "Portuguese (Brazil)"
    assert name_of_language("xx") == "xx"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("北京明天下雨", "zh"),
        ("これは本です", "ja"),
        ("이것은 책이다", "ko"),
        ("他说の是日语里的一个字，这里都是中文文本", "zh"),
        ("hello 中", None),
        ("使用PyTorch和TensorFlow训练Transformer", "zh"),
        ("PyTorchとTensorFlowの比較", "ja"),
        ("In Chinese, 你好 means hello", None),
    ],
)
def test_chinese_japanese_and_korean_by_their_letters(text, language):
    assert language_of_script(text) == language
