"""Short answers are scored as torchmetrics does it, and as the scripts of SQuAD 2.0 and CMRC 2018
say, worked by hand.
"""

import random

import numpy as np
import pytest
from torchmetrics.functional.text import squad

from lslm_lightning.contracts import Prediction
from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
from tests.support.metrics import statistics_of

WORDS = [
    "the",
    "The",
    "a",
    "an",
    "cat",
    "Cat",
    "cats",
    "dog",
    "U.S.",
    "U.S",
    "1,000",
    "1000",
    "naïve",
    "—",
    "'tis",
    "it's",
    "猫",
    "(x)",
]


def score(metric, pairs) -> float:
    return metric.score(
        sum(statistics_of(metric, Prediction("", given), wanted) for given, wanted in pairs)
    )


def drawn(n: int, seed: int) -> list[tuple[str, list[str]]]:
    """Answers and references of which something counts, often alike."""
    chance = random.Random(seed)
    pairs = []
    while len(pairs) < n:
        text = " ".join(chance.choices(WORDS, k=chance.randint(0, 6)))
        wanted = [
            " ".join(chance.choices(WORDS, k=chance.randint(1, 5)))
            for _ in range(chance.randint(1, 3))
        ]
        wanted = [w for w in wanted if ExactMatch().rules.plain(w)]
        if wanted:
            pairs.append((chance.choice([text, *wanted, wanted[0].lower() + "."]), wanted))
    return pairs


@pytest.mark.parametrize("seed", range(5))
def test_against_torchmetrics(seed):
    """One by one; they compute in single precision, whose last bit is what they round."""
    for given, wanted in drawn(200, seed):
        theirs = squad(
            [{"id": "1", "prediction_text": given}],
            [{"id": "1", "answers": {"text": wanted, "answer_start": [0] * len(wanted)}}],
        )
        for metric, name in ((ExactMatch(), "exact_match"), (TokenF1(), "f1")):
            assert score(metric, [(given, wanted)]) == pytest.approx(
                float(theirs[name]), rel=2**-22, abs=0
            ), (given, wanted)


def test_a_corpus_against_torchmetrics():
    pairs = drawn(1000, 9)
    predictions = [{"id": str(i), "prediction_text": given} for i, (given, _) in enumerate(pairs)]
    targets = [
        {"id": str(i), "answers": {"text": wanted, "answer_start": [0] * len(wanted)}}
        for i, (_, wanted) in enumerate(pairs)
    ]
    theirs = squad(predictions, targets)
    assert score(ExactMatch(), pairs) == pytest.approx(float(theirs["exact_match"]), abs=1e-4)
    assert score(TokenF1(), pairs) == pytest.approx(float(theirs["f1"]), abs=1e-4)
    assert 10 < score(ExactMatch(), pairs) < 90


@pytest.mark.parametrize(
    ("given", "wanted", "exact", "f1"),
    [
        ("", [""], 1, 1),  # "For unanswerable questions, only correct answer is empty string"
        ("France", [""], 0, 0),
        ("the", [""], 1, 1),  # nothing of it counts
        ("-", [""], 1, 1),
        ("", ["France"], 0, 0),
        ("", ["the", "France"], 0, 0),  # "gold_answers = [... if normalize_answer(a['text'])]"
        ("", ["The"], 1, 1),  # all of them are gone: as if unanswerable
        ("the Normans", ["Normans", "the Norse"], 1, 1),
        # 2 shared of 3 and 2 words
        ("in the 10th century", ["10th century", "the 10th and 11th centuries"], 0, 4 / 5),
        # a word counts as often as both have it: 1 of 3 and of 2
        ("red red red", ["red blue"], 0, 2 / 5),
        ("co-operate", ["cooperate"], 1, 1),  # punctuation is taken out, not replaced by a space
    ],
)
def test_squad_2_by_hand(given, wanted, exact, f1):
    assert score(ExactMatch(), [(given, wanted)]) == 100 * exact
    assert score(TokenF1(), [(given, wanted)]) == pytest.approx(100 * f1)


@pytest.mark.parametrize(
    ("given", "wanted", "exact", "f1"),
    [
        ("光荣和ω-force", ["光荣和ω-force"], 1, 1),
        ("《光荣》和ω－FORCE。", ["光荣和ω-force"], 1, 1),  # `remove_punctuation`, lower case
        ("4分钟", ["四分钟"], 0, 2 / 3),  # 分钟 of 3 segments each
        # the longest common run is 2, not 4: `find_lcs` finds no subsequence
        ("上海的北京", ["上海北京"], 0, 4 / 9),
        ("北京上海", ["上海", "北京上海市"], 0, 8 / 9),  # the best of the answers
        # iphone and 15 are words, 手 and 机 characters
        ("iPhone 15 手机", ["iphone 15"], 0, 4 / 6),
        ("iPhone15", ["iphone 15"], 0, 0),  # one word and two
        ("上海 ", ["上海"], 1, 1),
        # a space inside is no punctuation to exact match, and no segment to F1
        ("上 海", ["上海"], 0, 1),
        ("…", ["……"], 0, 0),  # an ellipsis is on the script's list as two characters, so it stays
        ("无", ["有"], 0, 0),
        ("。", [""], 1, 1),  # no such question in CMRC 2018: as SQuAD 2.0 has it
        ("北京", [""], 0, 0),
    ],
)
def test_cmrc_by_hand(given, wanted, exact, f1):
    assert score(ExactMatch("zh"), [(given, wanted)]) == 100 * exact
    assert score(TokenF1("zh"), [(given, wanted)]) == pytest.approx(100 * f1)


def test_what_was_not_answered_is_nan():
    assert np.isnan(statistics_of(TokenF1(), Prediction("1", nats=2.0), ["x"])).all()
    assert np.isnan(TokenF1().score(np.zeros(2)))


def test_signatures_tell_the_rules_apart():
    assert (
        len({TokenF1(code).signature for code in ("en", "de", "fr", "zh-Hans", "th", "bo", "ja")})
        == 7
    )
    assert (
        TokenF1().signature
        == TokenF1("en-GB").signature
        == "norm:lower,punctuation,articles|tok:spaces|match:words|rules:squad|best:max"
    )
    assert TokenF1("zh").signature == TokenF1("cmn").signature == TokenF1("yue").signature
    assert "articles-de" in ExactMatch("de").signature
    assert "articles" not in ExactMatch("hi").signature
    assert "squad" in ExactMatch().signature
    assert "cmrc2018" in ExactMatch("zh").signature


# Other languages than English and Chinese


@pytest.mark.parametrize(
    ("language", "given", "wanted", "exact", "f1"),
    [
        ("de", "das Haus", "Haus", 1, 1),
        ("de", "die Füße", "Fäße", 0, 0),
        ("de", "„Ja“", "Ja", 1, 1),
        ("de", "the Haus", "Haus", 0, 2 / 3),  # English articles are words elsewhere
        ("fr", "le chat", "chat", 0, 2 / 3),  # MLQA lists no French articles
        ("es", "¿la niña?", "niña", 1, 1),
        ("vi", "của Đà Nẵng", "đà nẵng", 1, 1),
        ("ar", "القاهرة", "قاهرة", 1, 1),
        ("hi", "दिल्ली।", "दिल्ली", 1, 1),
        ("ru", "«Москва»", "москва", 1, 1),
        # ที ม are shared of 5 and 4 clusters
        ("th", "ทีมชนะ", "ทีมแพ้", 0, 2 * (2 / 5) * (2 / 4) / (2 / 5 + 2 / 4)),
        ("lo", "ສະບາຍດີ", "ສະບາຍດີ", 1, 1),
        ("km", "ភាសា", "ភាសា។", 1, 1),
        ("ja", "東京タワー", "東京", 0, 2 * 0.4 / 1.4),  # 2 of 5 and of 2 characters
        ("bo", "བོད་སྐད", "བོད་", 0, 2 / 3),
        ("ko", "서울에", "서울", 0, 0),
        ("wuu", "上海的北京", "上海北京", 0, 4 / 9),  # as in CMRC
    ],
)
def test_other_languages_by_hand(language, given, wanted, exact, f1):
    assert score(ExactMatch(language), [(given, [wanted])]) == 100 * exact
    assert score(TokenF1(language), [(given, [wanted])]) == pytest.approx(100 * f1)
