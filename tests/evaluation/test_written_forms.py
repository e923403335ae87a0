"""Differences in writing between outputs and references are told with the score both ways."""

import html
import itertools
import json
import random
import re

import pytest

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.diagnostics import run_checks
from lslm_lightning.evaluation.written_forms import FORMS, shared_beginning
from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.metrics.error_rate import WordErrorRate
from lslm_lightning.metrics.rouge import Rouge

WORDS = {
    "en": "She said \"yes\" - they're near the old house, and Anna's 3 dogs ran home",
    "de": "Er sagte Füße tragen uns über die Brücke zum grünen Fluß und Anna grüßt 12 Gäste",
    "fr": 'il dit - "été" à Paris, l\'élève mange 20 crêpes et Marie aime le café',
    "ar": "كان هناك رجل في الشارع الكبير أمس مع 25 طفلا يلعبون قرب البيت الجديد",
    "hi": "मैं कल बाज़ार गया था और वहाँ 45 लोग थे लेकिन मौसम अच्छा था",
    "he": "הילד הלך אתמול לבית הספר עם 31 חברים וקנה ספר חדש",
}
DIGITS = {"ar": "٠١٢٣٤٥٦٧٨٩", "hi": "०१२३४५६७८९"}


def texts_in(language):
    chance = random.Random(language)
    words = WORDS[language].split()
    return [" ".join(chance.sample(words, len(words))) for _ in range(30)]


def findings(language, change, metrics=None, of_reference=lambda text: text, source=""):
    texts = texts_in(language)
    examples = [
        Example(str(i), source or f"{i} x", (of_reference(text),), language, language)
        for i, text in enumerate(texts)
    ]
    answers = {"it": [Prediction(str(i), change(text)) for i, text in enumerate(texts)]}
    found = run_checks(examples, answers, metrics or [Bleu(language), WordErrorRate(language)])
    return [f for f in found if f.check in ("ways of writing", "text around answers")]


def in_digits(language):
    table = str.maketrans("0123456789", DIGITS[language])
    return lambda text: text.translate(table)


def vowelled(text):
    return "".join(c + ("\u064e" if "\u0621" <= c <= "\u064a" else "") for c in text)


def escaped(text):
    return json.dumps(text)[1:-1]


def misread(encoding):
    return lambda text: text.encode().decode(encoding)


CASES = [
    ("en", str.upper, "capital letters"),
    ("de", str.lower, "capital letters"),
    ("fr", str.lower, "capital letters"),
    ("en", lambda t: t.replace('"', "\u201d").replace("'", "\u2019"), "quotation marks"),
    ("fr", lambda t: t.replace('"', "«").replace("-", "–"), "quotation marks"),
    ("en", lambda t: t.replace(" -", " \u2014"), "quotation marks and dashes"),
    ("ar", in_digits("ar"), "digits"),
    ("hi", in_digits("hi"), "digits"),
    ("ar", vowelled, "vowel marks"),
    ("ar", lambda t: t.replace("ي", "ي\u0640"), "vowel marks and stretched letters"),
    ("he", lambda t: t.replace("ה", "ה\u05b8"), "vowel marks"),
    ("en", lambda t: t.replace("a", "а").replace("o", "о"), "look like Latin"),
    ("de", lambda t: t.replace("A", "Α"), "look like Latin"),
    ("en", html.escape, "HTML entities"),
    ("fr", lambda t: t.replace("'", "&apos;"), "HTML entities"),
    ("de", escaped, "backslash escapes"),
    ("de", lambda t: t.replace(" ", "\\n", 1), "backslash escapes"),
    ("de", misread("cp1252"), "UTF-8 read as Latin-1"),
    ("fr", misread("latin-1"), "UTF-8 read as Latin-1"),
    ("en", lambda t: f"<pad> {t}</s>", "special tokens"),
    ("de", lambda t: f"{t}<|im_end|>", "special tokens"),
    ("fr", lambda t: re.sub(r"[^\w\s]", "", t), "punctuation marks"),
    ("en", lambda t: t.replace(",", "").replace('"', "").replace("-", ""), "punctuation marks"),
]


@pytest.mark.parametrize(("language", "change", "name"), CASES)
def test_a_difference_is_told_with_the_score_both_ways(language, change, name):
    for about in ((language, change), (language, lambda text: text, None, change)):
        [found] = findings(*about)
        assert found.check == "ways of writing"
        assert name in found.words
        assert "and 100.00" in found.words  # BLEU
        assert "and 0.00" in found.words  # WER


@pytest.mark.parametrize(("language", "change", "name"), CASES)
def test_what_both_sides_have_is_no_alarm(language, change, name):
    assert findings(language, change, None, change) == []


@pytest.mark.parametrize("language", WORDS)
def test_other_words_are_no_other_writing(language):
    words = WORDS[language].split()
    assert findings(language, lambda text: text.replace(words[-1], words[0])) == []


def test_a_metric_that_ignores_a_difference_is_not_told():
    assert findings("en", str.upper, [Ter("en"), Rouge("1", "en"), TokenF1("en")]) == []


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_common_form_is_idempotent(form):
    for language, change, _ in CASES:
        for text in map(change, texts_in(language)[:3]):
            assert form.fold(form.fold(text)) == form.fold(text)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("Sure! Here is the translation: ", ""),
        ('"', '"'),
        ("```\n", "\n```"),
        ("Answer: ", ""),
        ("", " I hope this helps!"),
        ("好的，以下是翻译：", ""),
        ("**", "**"),
    ],
)
def test_text_around_all_or_most_answers_is_told(begin, end):
    def around(text):
        return f"{begin}{text}{end}"

    [found] = findings("de", around)
    assert "and 0.00" in found.words  # WER
    assert repr(begin or end) in found.words
    assert findings("de", around, None, around) == []
    most = [around(text) if i % 4 else text for i, text in enumerate(texts_in("de"))]
    if len(begin) > 5:  # a beginning that is a part of a word is none
        assert shared_beginning(most, texts_in("de")).strip() == begin.strip()


@pytest.mark.parametrize(
    "row", ["-0.3{i}\t{text}", "H-{i}\t-1.5\t{text}", "{i} ||| {text} ||| F0= -1 ||| -0.{i}"]
)
def test_columns_of_other_tools_beside_the_answers_are_told(row):
    numbers = itertools.count(11)

    def beside(text):
        return row.format(i=next(numbers), text=text)

    [found] = findings("de", beside)
    column = next(i for i, part in enumerate(re.split(r"\t| \|\|\| ", row), 1) if "text" in part)
    assert f"column {column} alone" in found.words
    assert "and 0.00" in found.words  # WER
    assert findings("de", beside, None, beside) == []
    assert findings("de", lambda text: text.replace(" ", "\t")) == []  # spaces for all metrics


def test_one_and_the_same_answer_is_not_text_around_another():
    assert findings("en", lambda text: "I cannot help with that.") == []


@pytest.mark.parametrize("before", ["", "Translate: "])
def test_outputs_that_repeat_their_source_are_told(before):
    texts = texts_in("de")
    examples = [
        Example(str(i), f"{text[::-1]} {i}", (text,), "de", "en", f"{before}{text[::-1]} {i}")
        for i, text in enumerate(texts)
    ]

    def checks(outputs):
        answers = [Prediction(e.id, text) for e, text in zip(examples, outputs, strict=True)]
        return {f.check for f in run_checks(examples, {"it": answers}, [Bleu("de")])}

    assert "repeated sources" in checks([f"{e.question}\n{e.references[0]}" for e in examples])
    assert "repeated sources" not in checks([e.source for e in examples])  # copied, not repeated
    assert "repeated sources" not in checks(texts)


@pytest.mark.parametrize(
    ("metric", "unseen"),
    [
        (Rouge("1", "en"), "Привет, мир"),
        (Rouge("L", "en"), "😀👍"),
        (Rouge("2", "de"), "…?!"),
        (TokenF1("en"), "..."),
        (ExactMatch("de"), "?!"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_references_in_which_a_metric_sees_nothing_are_told(metric, unseen):
    texts = texts_in("en")

    def checks(references):
        examples = [Example(str(i), f"{i}", (text,)) for i, text in enumerate(references)]
        answers = {"it": [Prediction(e.id, e.references[0]) for e in examples]}
        return {f.check for f in run_checks(examples, answers, [Chrf(), metric])}

    assert "unseen references" not in checks(texts)
    assert "unseen references" in checks([unseen, *texts])
    assert "unseen references" not in checks(["", *texts])  # a question without an answer


def test_words_that_are_wrong_have_no_way_of_writing():
    """A baseline that copies the source, or repeats one answer, is told as such alone."""
    texts = texts_in("de")
    sources = [text.lower() for text in texts_in("en")]
    examples = [
        Example(str(i), f"{source} {i}", (text,), "de", "en")
        for i, (source, text) in enumerate(zip(sources, texts, strict=True))
    ]
    for outputs in (sources, [texts[0].lower()] * len(texts)):
        answers = [Prediction(e.id, text) for e, text in zip(examples, outputs, strict=True)]
        found = {f.check for f in run_checks(examples, {"it": answers}, [Chrf()])}
        assert "ways of writing" not in found
        assert found & {"wrong language", "repeated outputs"}
