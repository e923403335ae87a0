import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.text.sentences import join_sentences, split_sentences

CASES = {
    "en": [
        "Mr. Smith paid $3.50 to J. K. Rowling in the U.S. last Jan. 5, e.g. in cash.|Yes!",
        '"Really?" he said.|It works (I think.)|See Fig. 3.',
        "He and I.|Then we left...|No.|See No. 5 and so on, etc.|More?!|“Quoted.”|End",
        "A line\nbreak ends one.\n\nAs does a blank line",
        "Version 2.0 of example.com is at 5 p.m. today; wait... what?",
    ],
    "zh": [
        "他说：“你好！”|然后走了。|真的吗？！|是的……|好吧。|价格是3.5元。|OK.|完",
        "《你好！》|（对。）|走；来，去、停：等",
    ],
    "zh-Hans-CN": ["一。|二！|三？"],
    "de": [
        (
            "Das war am 3. Oktober z.B. in Berlin.|Dr. Müller kam.|„Ja.“|Er ging.|Im Jahr "
            "1990.|Dann kam Nr. 7."
        )
    ],
    "fr": ["M. Dupont est là.|Quoi ?|Oui !|« Bien. »|Il part."],
    "ja": ["今日は。|「行く！」|と言った。|終わり"],
    "ko": ["안녕하세요.|반갑습니다!|끝"],
    "hi": ["यह एक वाक्य है।|यह दूसरा है।"],
    "ur": ["یہ ہے۔|وہ ہے؟|جی"],
    "ar": ["ما هذا؟|هذا كتاب.|نعم"],
    "am": ["ይህ ነው።|ያ ነው።|ሌላ"],
    "hy": ["Սա է։|Նա է։"],
    "my": ["ဤသည်။|ထိုသည်။"],
    "km": ["នេះ។|នោះ។"],
    "ka": ["ეს არის.|ეს მეორეა.|ვერსია 2.0 კარგია"],
    "el": ["Τι είναι αυτό;|Είναι καλό.|Ναι"],
    "bo": ["བོད་ཡིག་ཡིན།|གཞན་ཡིན།", "བོད་ཡིག་ཡིན། །|གཞན་ཡིན།།"],
    "th": ["ทีมชนะการแข่งขัน|แต่ต่าง ๆ ในปี 2024 มี|จบ"],
    "lo": ["ສະບາຍດີ|ປະເທດລາວ"],
}


@pytest.mark.parametrize(
    ("language", "marked"),
    [(language, marked) for language, texts in CASES.items() for marked in texts],
)
def test_sentences_end_where_marked(language, marked):
    sentences = [
        sentence for line in marked.split("\n") for sentence in line.split("|") if sentence
    ]
    separator = "" if language.startswith(("zh", "ja")) else " "
    assert split_sentences(marked.replace("|", separator), language) == sentences


@given(
    st.text(alphabet='aB 1.!?。！？…"”」)\n\t中ä;Mr') | st.text(),
    st.sampled_from(["en", "zh", "de", "xx"]),
)
def test_only_white_space_is_lost(text, language):
    sentences = split_sentences(text, language)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() and sentence for sentence in sentences)


def test_splitting_again_changes_nothing():
    sentences = split_sentences("One sentence. Two! 三个句子。四", "en")
    assert split_sentences("\n".join(sentences), "en") == sentences


ENDS = regex.findall(
    r"[\p{Sentence_Terminal}--[.!?．﹒․]]", "".join(map(chr, range(0x20000))), regex.VERSION1
)


@pytest.mark.parametrize("sign", ENDS)
def test_every_sign_that_unicode_calls_a_sentence_end_is_one_even_without_a_space(sign):
    assert split_sentences(f"ა{sign}Ბ", "und") == [f"ა{sign}", "Ბ"]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "一。二"),
        ("yue", "一。二"),
        ("th", "ก ข"),
        ("my", "က။ ခ"),
        ("en", "One. Two"),
        ("bo", "ཀ། ཁ།"),
    ],
)
def test_sentences_are_joined_as_the_language_writes_them(language, text):
    assert join_sentences(split_sentences(text, language), language) == text
