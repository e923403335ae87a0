"""Each sanity check finds its problem, and reports nothing on correct answers."""

import random
import unicodedata
from dataclasses import replace

import pytest
import regex

from lslm_lightning.contracts import Example, Prediction, Score
from lslm_lightning.evaluation.diagnostics import (
    Finding,
    beam_below_greedy,
    in_systems_order,
    is_blind,
    left_out,
    run_checks,
    unfinished,
)
from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.metrics.error_rate import CharacterErrorRate, WordErrorRate
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.metrics.rouge import Rouge

NAMES = ["Anna", "Peter", "Maria", "Karl", "Eva", "Otto", "Ida", "Hans"]
NOUNS = [
    ("house", "Haus", "房子"),
    ("garden", "Garten", "花园"),
    ("car", "Auto", "汽车"),
    ("boat", "Boot", "小船"),
    ("street", "Straße", "街道"),
]


def examples_in(language="de", n=40):
    examples = []
    for i in range(n):
        name = NAMES[i % 8]
        (english, german, chinese) = NOUNS[i % 5]
        source = f"{name} stands beside the {english} number {i}, and the others are waiting."
        target = {
            "de": f"{name} steht neben dem {german} Nummer {i}, und die anderen warten.",
            "zh": f"{name}站在{i}号{chinese}旁边，其他人在等。",
        }
        examples.append(Example(str(i), source, (target[language],), language, "en"))
    return examples


def checks(examples, outputs, *metrics):
    found = run_checks(
        examples,
        {"it": [Prediction(e.id, text) for e, text in zip(examples, outputs, strict=True)]},
        metrics or [Bleu(examples[0].language)],
    )
    return {(finding.check, finding.system) for finding in found}


@pytest.mark.parametrize("language", ["de", "zh"])
def test_healthy_answers_have_no_findings(language):
    examples = examples_in(language)
    assert (
        checks(examples, [e.references[0] for e in examples], Bleu(language), Rouge("1", language))
        == set()
    )


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda e: "", "empty outputs"),
        (lambda e: "Ja.", "repeated outputs"),
        (lambda e: e.references[0][:30] + " und so weiter" * 20, "looping outputs"),
        (lambda e: e.source, "wrong language"),
        (lambda e: "他站在房子旁边，其他人在等。" + e.id, "wrong script"),
        (lambda e: e.references[0].replace(",", " ,").replace(".", " ."), "tokenized text"),
        (lambda e: "ste@@ ht " + e.references[0], "tokenized text"),
    ],
)
def test_what_is_wrong_with_answers_is_found(spoil, check):
    examples = examples_in()
    assert (check, "it") in checks(examples, [spoil(e) for e in examples])


@pytest.mark.parametrize("is_simplified", [True, False])
def test_the_other_characters_of_chinese_are_found(is_simplified):
    simplified = [e.references[0] for e in examples_in("zh")]
    table = str.maketrans("号园车边", "號園車邊")
    traditional = [text.translate(table) for text in simplified]
    right, wrong = (simplified, traditional) if is_simplified else (traditional, simplified)
    rows = zip(examples_in("zh"), right, strict=True)
    examples = [replace(example, references=(text,)) for example, text in rows]
    assert ("wrong script", "it") in checks(examples, wrong)
    assert ("wrong script", "it") not in checks(examples, right)
    mixed = [replace(e, references=(text,)) for e, text in zip(examples, wrong, strict=True)]
    assert ("wrong script", "it") not in checks(mixed[:20] + examples[20:], wrong[:20] + right[20:])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("ß", "\ufffd"),
        lambda text: text.encode().decode("latin-1"),
        lambda text: text.encode().decode("cp1252", "ignore"),
        lambda text: text.replace("ß", "\ufffd\ufffd"),
    ],
)
def test_damaged_references_are_found(spoil):
    examples = [replace(e, references=(f"Große {e.references[0]}",)) for e in examples_in()]
    damaged = [replace(e, references=(spoil(e.references[0]),)) for e in examples]
    for rows in (damaged, [*damaged[:2], *examples[2:]]):
        assert ("damaged text", "") in checks(rows, [e.references[0] for e in rows])
    assert ("damaged text", "") not in checks(examples, [e.references[0] for e in examples])


def test_spaces_that_a_reference_has_too_are_right():
    dates = [f"{2000 + i}年5月{i % 28 + 1}日 星期日" for i in range(40)]
    rows = [(str(i), f"day {i}", date) for i, date in enumerate(dates)]
    as_they_are = [Example(i, source, (date,), "zh-Hant", "en") for i, source, date in rows]
    joined = [Example(i, source, (date.replace(" ", ""),), "zh") for i, source, date in rows]
    assert ("tokenized text", "it") not in checks(as_they_are, dates)
    assert ("tokenized text", "it") in checks(joined, dates)


def test_a_scorer_that_drops_characters_is_named():
    examples = examples_in("zh")
    outputs = [e.references[0] for e in examples]
    assert ("dropped characters", "") in checks(examples, outputs, Rouge("1", "en"))
    assert ("unsegmented text", "") in checks(examples, outputs, Bleu("en"))


def test_references_turned_the_wrong_way_are_found():
    texts = [
        f"{random.Random(i).choice(NAMES)} sees {i} boats and {i * 7} houses near street {i * 3}"
        for i in range(60)
    ]
    right = [Example(str(i), "x", (text, f"{text} today")) for i, text in enumerate(texts)]
    wrong = [
        Example(str(i), "x", (texts[i], f"{texts[(i * 7 + 3) % 60]} today")) for i in range(60)
    ]
    assert ("references transposed", "") not in checks(right, [e.references[0] for e in right])
    assert ("references transposed", "") in checks(wrong, [e.references[0] for e in wrong])


@pytest.mark.parametrize(
    ("greedy", "beam"),
    [("greedy", "beam"), ("ctcgreedy", "ctcprefixbeam"), ("greedy", "jointbeam")],
)
def test_beam_search_below_greedy_search_is_found(greedy, beam):
    def score(value, higher_is_better=True):
        return Score("bleu", value, "", higher_is_better, "", 10)

    searches = {"fast": ("w", greedy), "slow": ("w", beam), "other": ("v", beam)}
    assert [
        f.system
        for f in beam_below_greedy(
            searches, {"fast": score(30), "slow": score(29), "other": score(1)}
        )
    ] == ["slow"]
    assert beam_below_greedy(searches, {"fast": score(30), "slow": score(31)}) == []
    assert beam_below_greedy(searches, {"fast": score(30, False), "slow": score(31, False)}) != []


def ending(*reasons):
    return [
        Prediction(str(i), "x", n_token=7 * (reason == "length"), finish_reason=reason)
        for i, reason in enumerate(reasons)
    ]


@pytest.mark.parametrize(
    ("reasons", "limit", "findings"),
    [
        ((None, "stop"), "", []),
        (
            ("stop", "length", "length"),
            "max_length=128",
            [("cut answers", "2 of 3 answers", "max_length=128")],
        ),
        (("length",), "", [("cut answers", "1 of 1 answers", "7 tokens")]),
        (
            ("content_filter", "stop"),
            "",
            [("filtered answers", "1 of 2 answers", "content filter")],
        ),
        (
            ("refusal", "tool_calls"),
            "",
            [("refused answers", "1 of 2 answers", ""), ("tool calls", "1 of 2 answers", "")],
        ),
        (
            ("reasoning",) * 1200,
            "max_tokens=9",
            [("reasoning without an answer", "1,200 of 1,200 answers", "max_tokens=9")],
        ),
        (("abort",), "", [("unusual endings", "1 of 1 answers", "'abort'")]),
    ],
)
def test_answers_that_did_not_end_by_themselves_are_counted(reasons, limit, findings):
    found = unfinished("it", ending(*reasons), limit)
    assert [(f.check, f.system) for f in found] == [(check, "it") for check, *_ in findings]
    for finding, (_, count, reason) in zip(found, findings, strict=True):
        assert finding.words.startswith(count)
        assert reason in finding.words


def test_answers_that_were_cut_are_told_of_every_system_beside_the_other_checks():
    examples = examples_in()
    outputs = [e.references[0] for e in examples]
    given = {
        "it": [
            Prediction(e.id, text, finish_reason="length")
            for e, text in zip(examples, outputs, strict=True)
        ]
    }
    [found] = run_checks(examples, given, [Bleu("de")], {"it": "max_length=9"})
    assert (found.check, found.words) == (
        "cut answers",
        "40 of 40 answers were cut at max_length=9; raise it",
    )


def test_nothing_is_told_twice():
    examples = examples_in()
    given = {"it": [Prediction(e.id, "", finish_reason="reasoning") for e in examples]}
    assert [f.check for f in run_checks(examples, given, [Bleu("de")])] == [
        "reasoning without an answer"
    ]
    given = {
        "it": [
            Prediction(e.id, "", finish_reason="stop" if i else "reasoning")
            for i, e in enumerate(examples)
        ]
    }
    found = {f.check: f.words for f in run_checks(examples, given, [Bleu("de")])}
    assert found["empty outputs"].startswith("39 of 40")
    russian = [
        Example(str(i), "", (f"это {word} слово",), "ru")
        for i, word in enumerate(["один", "два", "три", "пять", "шесть"] * 6)
    ]
    found = run_checks(
        russian, {"it": [Prediction(e.id, e.references[0]) for e in russian]}, [Rouge("1", "en")]
    )
    assert [f.where for f in found if f.check == "dropped characters"] == ["evaluation set"]


def test_findings_are_in_the_order_of_systems_those_of_the_evaluation_set_first():
    found = [
        Finding("a", "second", ""),
        Finding("b", "first", ""),
        Finding("c", "", ""),
        Finding("d", "second", ""),
    ]
    assert [f.check for f in in_systems_order(found, ["first", "second"])] == ["c", "b", "a", "d"]


@pytest.mark.parametrize(
    "written", ["<think>why</think>", "why</think>", "<|channel|>analysis<|message|>why<|end|>"]
)
def test_reasoning_in_outputs_is_found(written):
    examples = examples_in()
    assert ("reasoning in outputs", "it") in checks(
        examples, [written + e.references[0] for e in examples]
    )
    quoting = [Example(e.id, e.source, (written + e.references[0],), "de", "en") for e in examples]
    assert ("reasoning in outputs", "it") not in checks(quoting, [e.references[0] for e in quoting])


def test_settings_that_a_server_did_not_take_are_told():
    assert left_out("it", {}) is None
    assert left_out("it", {"temperature": 0.0, "seed": 3}).words.startswith(
        "temperature=0.0, seed=3 were left out, because the server"
    )


TEXTS = {
    "ru": "{i}: правительство {word} объявило новый план",
    "ar": "{i}: أعلنت الحكومة {word} خطة جديدة",
    "el": "{i}: η κυβέρνηση {word} ανακοίνωσε",
    "ka": "{i}: მთავრობამ დღეს {word} გეგმა",
    "hi": "{i}: सरकार ने {word} योजना",
    "am": "{i}: መንግስት ዛሬ {word} እቅድ",
    "he": "{i}: הממשלה היום {word} תוכנית",
}
UNSPACED = {
    "th": "รัฐบาลประกาศแผนใหม่{word}สำหรับเมืองใหญ่",
    "lo": "ສະບາຍດີປະເທດລາວ{word}ພາສາ",
    "km": "ភាសាខ្មែរប្រទេស{word}កម្ពុជា",
    "my": "မြန်မာဘာသာစကား{word}ကျွန်တော်",
    "bo": "བོད་སྐད་ཡིག་གཞན་{word}ཡིན་མི་",
    "ja": "東京タワーへ{word}行く天気がよい",
    "zh": "苹果公司今天{word}发布新手机",
}


def written(form, n=24):
    """Different texts of one form."""
    letters = [character for character in form if character.isalpha() and not character.isascii()]
    return [
        form.format(i=i, word=letters[i % len(letters)] + letters[-1 - i // 2 % len(letters)])
        for i in range(n)
    ]


def found_in(texts, stated, *metrics, outputs=None):
    examples = [
        Example(str(i), f"source {i}", (text,), stated, stated) for i, text in enumerate(texts)
    ]
    return checks(examples, outputs or texts, *metrics)


def examples_of(references):
    return [Example(str(i), "", (text,)) for i, text in enumerate(references)]


@pytest.mark.parametrize("language", TEXTS)
def test_rouge_for_english_cannot_tell_other_letters_apart(language):
    texts = [text.partition(": ")[2] for text in written(TEXTS[language])]
    for kind in ("1", "2", "L"):
        assert is_blind(Rouge(kind, "en"), examples_of(texts))
        assert not is_blind(Rouge(kind, language), examples_of(texts))
    assert {("constant metric", ""), ("dropped characters", "")} <= found_in(
        texts, "en", Rouge("1", "en")
    )
    assert (
        found_in(
            texts, language, Rouge("1", language), Bleu(language), Ter(language), TokenF1(language)
        )
        == set()
    )


@pytest.mark.parametrize(
    "text",
    [
        "Die Füße tragen uns {i} Meter weit",
        "Près de l'été, {i} élèves ont été là",
        "Żółw ma {i} łąkę i wąż też",
    ],
)
def test_letters_with_marks_that_rouge_for_english_drops_are_named(text):
    texts = [text.format(i=i) for i in range(24)]
    assert ("dropped characters", "") in found_in(texts, "en", Rouge("1", "en"))
    assert ("dropped characters", "") not in found_in(texts, "de", Rouge("1", "de"))


def test_a_few_letters_with_marks_in_english_are_no_finding():
    texts = [
        f"The café sold {i} cups of tea to the people of this old town"
        if i < 2
        else f"They sold {i} cups"
        for i in range(40)
    ]
    assert found_in(texts, "en", Rouge("1", "en")) == set()


@pytest.mark.parametrize("language", UNSPACED)
def test_lines_taken_for_words_are_found_in_every_script_without_spaces(language):
    texts = written(UNSPACED[language])
    for metric in (Bleu("en"), WordErrorRate("en"), TokenF1("ru"), Bleu("de")):
        assert ("unsegmented text", "") in found_in(texts, "en", metric), metric.name
    for metric in (
        Bleu(language),
        WordErrorRate(language),
        TokenF1(language),
        Rouge("1", language),
        Ter(language),
    ):
        assert found_in(texts, language, metric) == set(), metric.name


@pytest.mark.parametrize("kind", ["1", "2", "L"])
def test_a_metric_with_one_score_for_many_outputs_is_told(kind):
    texts = [f"the cat number {i} sat on a mat" for i in range(24)]
    outputs = [f"zq{i} xv{i}" for i in range(24)]
    assert ("constant metric", "it") in found_in(texts, "en", Rouge(kind), outputs=outputs)
    assert ("constant metric", "it") not in found_in(texts, "en", Rouge(kind), outputs=texts)
    assert ("constant metric", "it") not in found_in(texts, "en", ExactMatch(), outputs=outputs), (
        "all or nothing is its nature"
    )
    some = [*outputs[:-1], texts[-1]]
    assert ("constant metric", "it") not in found_in(texts, "en", Rouge(kind), outputs=some)


def test_metrics_that_tell_answers_apart_are_not_blind():
    texts = ["yes", "Yes.", "no", "No!", "maybe", "15", "3.5"]
    for metric in (
        Rouge("1"),
        Bleu(),
        Chrf(),
        Ter(),
        WordErrorRate(),
        CharacterErrorRate(),
        TokenF1(),
        ExactMatch(),
        BitsPerByte(),
    ):
        assert not is_blind(metric, examples_of(texts)), metric.name
    assert not is_blind(Rouge("1"), examples_of(["yes", "Yes.", "yes!"])), "one answer only"
    assert not is_blind(Rouge("1"), [])
    assert is_blind(Rouge("2"), examples_of(["one", "two", "three"])), "a single word has no pairs"


class WithoutMarks(WordErrorRate):
    """A normalization that some recipes of speech recognition do: all marks are taken out, and with
    them the vowels of Hindi.
    """

    name = "wer_without_marks"

    def counted(self, text):
        return regex.sub(r"\p{M}", " ", text).split()


@pytest.mark.parametrize(
    "text", ["सरकार ने नई योजना की {i}", "അരസ് പുതിയ തിട്ടം {i}", "แม่ แม้ น้ำ ใหม่ {i}"]
)
def test_a_scorer_that_drops_vowel_signs_is_named(text):
    texts = [text.format(i=i) for i in range(24)]
    assert ("dropped characters", "") in found_in(texts, "hi", WithoutMarks("hi"))
    assert ("dropped characters", "") not in found_in(texts, "hi", WordErrorRate("hi"))


def test_emoji_have_no_letters_to_drop():
    texts = [f"I love it ❤️ number {i} 1️⃣" for i in range(30)]
    assert ("dropped characters", "") not in found_in(texts, "en", Rouge("1", "en"))


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize(
    "text", ["Größe {} der Häuser", "서울 {} 박물관", "ＡＢＣ{}サーバー", "tiếng Việt {}"]
)
def test_right_answers_in_another_form_are_no_constant_metric(text, form):
    texts = [text.format(i) for i in range(30)]
    outputs = [unicodedata.normalize(form, each) for each in texts]
    assert ("constant metric", "it") not in found_in(
        texts, "und", Rouge("1", "und"), WordErrorRate(), Bleu("und"), outputs=outputs
    )


@pytest.mark.parametrize(
    ("text", "told"), [("eine rote Katze", True), ("eine rote Katze schläft", False)]
)
def test_bleu_of_texts_without_four_words_is_told(text, told):
    """sacreBLEU gives such a corpus 0, also where all of it is right."""
    references = [text, text.upper(), text.title()]
    metrics = [Bleu("de"), Chrf(), Ter("de"), Rouge("L", "de")]
    examples = [
        Example(str(i), f"s{i}", (reference,), "de", "en") for i, reference in enumerate(references)
    ]
    answers = {"it": [Prediction(e.id, e.references[0]) for e in examples]}
    found = [
        each.words
        for each in run_checks(examples, answers, metrics)
        if each.check == "constant metric"
    ]
    assert bool(found) == told
    assert all(words.startswith("BLEU is 0 for the references themselves") for words in found)
