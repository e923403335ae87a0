"""Conclusions of tests in words: worse, no sure difference, or better, in this order,
everywhere.
"""

import math

import numpy as np
import pytest

from lslm_lightning.contracts import Example, Metric, Prediction, Score, metric_label
from lslm_lightning.evaluation.comparison import Pair, compare_with_others
from lslm_lightning.evaluation.results import Entry
from lslm_lightning.evaluation.results import compute_results as results_of
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.metrics.error_rate import WordErrorRate
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.metrics.significance import SEED, holm, paired_randomization
from lslm_lightning.reports.conclusion import (
    NOTHING,
    Conclusion,
    draw_conclusion,
    p_value_text,
    qualified,
)
from lslm_lightning.reports.evaluation import lead
from tests.metrics.test_significance import mean_rows

N = 60
RNG = np.random.default_rng(3)
NOISE = RNG.normal(0, 1, N)
OWN = NOISE + 10
CLEAR = NOISE + RNG.normal(0, 0.5, N)
SAME = RNG.normal(0, 3, N)


class Higher(Metric):
    name = "bleu"
    unit = ""
    higher_is_better = True
    signature = ""

    def statistics(self, example, prediction):
        raise NotImplementedError

    def score(self, total):
        return total[0] / total[1]


class Lower(Higher):
    name = "wer"
    higher_is_better = False


def concluded(metric, **others):
    """Return the conclusion on OWN beside others, all as values of N examples."""
    rows = {name: mean_rows(values) for name, values in others.items()}
    pairs = compare_with_others(metric, mean_rows(OWN), rows, 500)
    scores = {
        name: Score(
            metric.name, metric.score(own.sum(0)), metric.unit, metric.higher_is_better, "", N
        )
        for name, own in rows.items()
    }
    own = Score(
        metric.name, metric.score(mean_rows(OWN).sum(0)), "", metric.higher_is_better, "", N
    )
    return draw_conclusion(own, scores, pairs)


@pytest.mark.parametrize(("metric", "label"), [(Higher(), "BLEU"), (Lower(), "WER")])
@pytest.mark.parametrize(
    ("other", "outcome", "words"),
    [
        (
            CLEAR + 9,
            {"BLEU": "better", "WER": "worse"},
            'This run is {} than the baseline "it" in {}.',
        ),
        (
            CLEAR + 11,
            {"BLEU": "worse", "WER": "better"},
            'This run is {} than the baseline "it" in {}.',
        ),
        (
            SAME + 10,
            {"BLEU": "unsure", "WER": "unsure"},
            (
                'There is no sure difference between this run and the baseline "it" in {1}: chance '
                "could explain it."
            ),
        ),
        (
            OWN,
            {"BLEU": "unsure", "WER": "unsure"},
            (
                'There is no sure difference between this run and the baseline "it" in {1}: the '
                "scores are equal."
            ),
        ),
    ],
)
def test_each_outcome_is_said_for_either_direction(metric, label, other, outcome, words):
    found = concluded(metric, it=other)
    assert found.outcome == outcome[label]
    assert found.summary == words.format(outcome[label], label)
    assert len(found.details) == 1
    assert f"({label} " in found.details[0]


def test_worse_comes_first_whatever_the_order():
    found = concluded(Higher(), a=CLEAR + 9, b=SAME + 10, c=CLEAR + 11, d=CLEAR + 12)
    assert found.outcome == "worse"
    assert found.summary == (
        'This run is worse than the baselines "c" and "d" in BLEU.'
        ' There is no sure difference from the baseline "b": chance could explain it.'
        ' It is better than the baseline "a".'
    )
    assert [line.split(" (")[0] for line in found.details] == [
        'Better than "a"',
        'No sure difference from "b"',
        'Worse than "c"',
        'Worse than "d"',
    ]


def test_all_of_several_are_counted():
    assert (
        concluded(Higher(), a=CLEAR, b=CLEAR + 1, c=CLEAR + 2).summary
        == "This run is better than all 3 baselines in BLEU."
    )
    found = concluded(Higher(), a=SAME + 10, b=SAME[::-1] + 10, c=OWN + RNG.normal(0, 9, N))
    assert found.summary == (
        "There is no sure difference from any of the 3 baselines in BLEU: chance could explain it."
    )


def test_what_is_told_are_the_numbers_of_the_paired_test():
    """The p-value is that of paired randomization, corrected by Holm's method for the baselines
    alone.
    """
    others = {"a": SAME + 10, "b": CLEAR + 9.9, "c": CLEAR + 9.95}
    rows = {name: mean_rows(values) for name, values in others.items()}
    pairs = compare_with_others(Higher(), mean_rows(OWN), rows, 500)
    alone = [
        paired_randomization(Higher(), mean_rows(OWN), own, 500, SEED) for own in rows.values()
    ]
    assert [pair.p for pair in pairs] == pytest.approx(holm([each.p for each in alone]))
    for pair, each in zip(pairs, alone, strict=True):
        assert (pair.difference, pair.low, pair.high) == pytest.approx(
            (each.difference, each.low, each.high)
        )
    for pair, line in zip(pairs, concluded(Higher(), **others).details, strict=True):
        assert line.endswith(f"{p_value_text(pair.p)}.")
        assert f"{abs(pair.difference):.3g}"[:3] in line


def test_a_score_that_is_missing_loses_and_a_missing_baseline_is_left_out():
    def score(value):
        return Score("bits_per_byte", value, "bits/byte", False, "", N)

    found = draw_conclusion(score(math.nan), {"xz -9": score(2.033), "b": score(math.nan)}, [])
    assert (found.outcome, found.summary) == (
        "worse",
        'This run has no bits per byte, and "xz -9" has 2.033.',
    )
    assert draw_conclusion(score(1.0), {"b": score(math.nan)}, []) == NOTHING
    assert draw_conclusion(score(1.0), {}, []) == NOTHING
    assert NOTHING.sentences == []
    assert NOTHING.markdown() == ""


@pytest.mark.parametrize("p", [0.05, 0.0500001, 1.0, math.nan])
def test_p_that_is_not_below_the_level_is_no_sure_difference(p):
    own, other = (Score("bleu", value, "", True, "", N) for value in (12.0, 10.0))
    found = draw_conclusion(
        own, {"b": other}, [Pair("this run", "b", "bleu", 2.0, 0.1, 3.9, 0.01, p, p, 0.6)]
    )
    assert found.outcome == "unsure"


def test_of_one_example_no_test_is_claimed():
    own, other = (Score("bits_per_byte", value, "", False, "", 1) for value in (4.2, 5.1))
    pairs = [
        Pair(
            "this run",
            "xz -9",
            "bits_per_byte",
            -0.9,
            math.nan,
            math.nan,
            math.nan,
            math.nan,
            math.nan,
            1.0,
        )
    ]
    found = draw_conclusion(own, {"xz -9": other}, pairs)
    assert found.outcome == "unsure"
    assert "sure" not in " ".join(found.sentences)
    for sentence in found.sentences:
        assert sentence.endswith(": the test set has only one example.")


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.00001, "p < 0.001"),
        (0.0312, "p = 0.0312"),
        (0.049996, "p < 0.05"),
        (0.05, "p = 0.05"),
        (1.0, "p = 1"),
    ],
)
def test_p_is_not_rounded_over_the_level(p, words):
    assert p_value_text(p) == words


def test_markdown_shows_names_as_they_are():
    own, other = (Score("bleu", value, "", True, "", N) for value in (12.0, 10.0))
    name = "<img src=x>*a*_b_\x1b[31m"
    text = draw_conclusion(
        own, {name: other}, [Pair("x", name, "bleu", 2.0, 0.1, 3.9, 0.01, 0.01, 0.01, 0.6)]
    ).markdown()
    assert text.startswith("**This run is better than")
    assert "<img" not in text
    assert "*a*" not in text.replace("\\*", "")
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("bleu", "BLEU"),
        ("test/bleu", "test/BLEU"),
        ("chrf", "chrF"),
        ("chrf++", "chrF++"),
        ("ter", "TER"),
        ("wer", "WER"),
        ("cer", "CER"),
        ("rouge1", "ROUGE-1"),
        ("rougeL", "ROUGE-L"),
        ("rougeLsum", "ROUGE-Lsum"),
        ("rouge2-jieba", "ROUGE-2 (jieba)"),
        ("bits_per_byte", "bits per byte"),
        ("f1", "F1"),
        ("exact_match", "exact match"),
        ("perplexity", "perplexity"),
        ("my_own", "my_own"),
        ("BLEU", "BLEU"),
        ("loss", "loss"),
    ],
)
def test_metrics_are_written_as_papers_write_them(name, label):
    assert metric_label(name) == label


TEXTS = [f"the small dog number {i} runs over the green hill" for i in range(40)]
WRONG = [text.replace("dog", "cat").replace("green", "blue") for text in TEXTS]


@pytest.mark.parametrize(
    "metric", [Bleu(), Rouge("L"), WordErrorRate("en")], ids=["BLEU", "ROUGE-L", "WER"]
)
def test_an_evaluation_says_first_which_system_loses_to_a_baseline(metric):
    asked = [Example(f"e{i}", "source", (text,)) for i, text in enumerate(TEXTS)]

    def entry(name, texts):
        return Entry(name, [Prediction(e.id, text) for e, text in zip(asked, texts, strict=True)])

    entries = [entry("copy", TEXTS[:30] + WRONG[30:]), entry("mine", WRONG), entry("good", TEXTS)]
    found = lead(
        results_of(asked, entries, [metric], metric.name, n_resample=300), [metric], ["copy"]
    )
    label = metric_label(metric.name)
    assert found.outcome == "worse"
    assert found.summary.startswith(
        f'"mine" is worse than the baseline "copy" in {label}. "good" leads with {label} '
    )
    assert 'It is better than the system "copy"' in found.summary
    assert [line.split(" (")[0] for line in found.details] == [
        '"mine": worse than "copy"',
        '"good": better than "copy"',
    ]
    assert found.pairs == {frozenset(("mine", "copy")), frozenset(("good", "copy"))}
    entries = [entry("copy", WRONG), entry("mine", TEXTS)]
    found = lead(
        results_of(asked, entries, [metric], metric.name, n_resample=300), [metric], ["copy"]
    )
    assert found.outcome == "better"
    assert found.summary.startswith(f'"mine" leads with {label} ')
    found = lead(
        results_of(asked, [entry("mine", TEXTS)], [metric], metric.name, n_resample=300), [metric]
    )
    assert found.summary.startswith(f'"mine" has {label} '), "nothing leads that is alone"


@pytest.mark.parametrize(
    "metric", [Bleu(), Rouge("L"), WordErrorRate("en")], ids=["BLEU", "ROUGE-L", "WER"]
)
@pytest.mark.parametrize("names", [("copy", "mine"), ("mine", "copy")])
def test_a_system_that_equals_its_baseline_does_not_lead(metric, names):
    asked = [Example(f"e{i}", "source", (text,)) for i, text in enumerate(TEXTS)]
    entries = [
        Entry(name, [Prediction(e.id, text) for e, text in zip(asked, WRONG, strict=True)])
        for name in names
    ]
    found = lead(
        results_of(asked, entries, [metric], metric.name, n_resample=300), [metric], ["copy"]
    )
    label = metric_label(metric.name)
    words = (
        f'There is no sure difference between "mine" and the baseline "copy" in {label}: the '
        "scores are equal."
    )
    assert found.summary == words
    assert found.outcome == "unsure"


def pair_of(metric, difference, p, first="this run", second="copy"):
    return Pair(first, second, metric, difference, difference - 1, difference + 1, p, p, p, 0.5)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (pair_of("chrf", -2.5, 0.001), "in chrF (17.28 against 19.80)"),
        (pair_of("chrf", 2.5, 0.001, "copy", "this run"), "in chrF (17.28 against 19.80)"),
        (pair_of("ter", 9.0, 0.01), "in TER (90.00 against 81.00)"),
        (pair_of("chrf", -2.5, 0.2), ""),
        (pair_of("chrf", 2.5, 0.001), ""),
        (pair_of("ter", -9.0, 0.01), ""),
        (pair_of("chrf", -2.5, math.nan), ""),
        (pair_of("chrf", -2.5, 0.001, second="another"), ""),
    ],
)
def test_a_better_run_is_told_in_which_metrics_it_is_worse(pair, said):
    own = [score_of("bleu", 11.5), score_of("chrf", 17.28), score_of("ter", 90.0, False)]
    others = {"copy": [score_of("chrf", 19.8), score_of("ter", 81.0, False)]}
    better = Conclusion("better", "This run is better.")
    told = f" But it is worse {said}." if said else ""
    assert qualified(better, own, others, [pair]).summary == f"This run is better.{told}"
    several = others | {"third": [score_of("bleu", 1.0)]}
    told = f' But it is worse than "copy" {said}.' if said else ""
    assert qualified(better, own, several, [pair]).summary == f"This run is better.{told}"
    for other in (Conclusion("worse", "It is worse."), Conclusion("unsure", "?"), NOTHING):
        assert qualified(other, own, others, [pair]) == other


def score_of(metric, value, higher=True):
    return Score(metric, value, "", higher, "signature", 60)
