"""What changes to inputs cost, and to which of two models they cost more."""

import math
import random
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning import audit
from lslm_lightning.auditing.bias import PACKAGED, read_topics
from lslm_lightning.auditing.perturbations import full_width, perturbations, with_typos
from lslm_lightning.auditing.robustness import Robustness, compare_losses, drawn
from lslm_lightning.auditing.settings import AuditSettings
from lslm_lightning.contracts import Example
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.text.normalization import half_width
from tests.auditing.toy_runs import CHARACTERS, said_of_groups, trained_ngram

NAMES = ["Ann Lee", "Bo Smith", "李明", "王芳"]
CHANGES = {change.name: change.change for change in perturbations(NAMES)}
SURE = 0.05


@pytest.mark.slow
def test_a_model_of_noisy_texts_is_more_robust_to_their_noise(project):
    """And to the other changes neither of the two is called more robust in the wrong direction."""
    topics = [topic for topic in read_topics(PACKAGED) if topic.language == "en"]
    texts = [
        text for topic in topics for text in said_of_groups(topic, 0.5, 1_500, seed=len(topic.name))
    ]
    random.Random(0).shuffle(texts)
    draw = random.Random(1)
    noisy_texts = [with_typos(text, draw) for text in texts[:-300]] + texts[-300:]
    clean = trained_ngram(project / "clean", texts, 5, CHARACTERS)
    noisy = trained_ngram(project / "noisy", noisy_texts, 5, CHARACTERS)
    settings = AuditSettings(against=str(clean.path))
    [finding] = audit(noisy, settings, parts=["robustness"]).findings
    losses, compared = finding.tables
    score = {row[0]: row[1:] for row in losses.rows}
    assert score["typos"][1] > 0, "typos cost bits"
    assert score["typos"][2] < SURE
    _, mine, other, difference, p = next(row for row in compared.rows if row[0] == "typos")
    assert 0 < mine < other
    assert difference == pytest.approx(mine - other)
    assert p < SURE
    assert any(said.startswith("More robust") and "typos" in said for said in finding.summary)
    [reverse] = audit(clean, AuditSettings(against=str(noisy.path)), parts=["robustness"]).findings
    assert any(said.startswith("Less robust") and "typos" in said for said in reverse.summary)


def statistics(nats: np.ndarray) -> np.ndarray:
    """Statistics of `BitsPerByte` for texts of 10 bytes."""
    rows = np.zeros((len(nats), 6))
    rows[:, 0], rows[:, 3] = nats, 10
    return rows


def test_systems_with_equal_losses_are_called_different_as_often_as_stated():
    draws = np.random.default_rng(3)
    n_false = 0
    for _ in range(100):
        clean, changed = draws.normal(20, 3, (2, 40)), draws.normal(25, 3, (2, 40))
        one, other = (
            Robustness(BitsPerByte(), statistics(a), {"typos": statistics(b)})
            for a, b in zip(clean, changed, strict=True)
        )
        n_false += compare_losses(one, other, "typos").p < SURE
    assert n_false <= 11  # the 99 % quantile of 100 draws with probability 0.05


def test_the_difference_of_losses_is_that_of_the_scores():
    draws = np.random.default_rng(4)
    a, b, c, d = (draws.normal(20, 3, 30) for _ in range(4))
    one = Robustness(BitsPerByte(), statistics(a), {"x": statistics(b)})
    other = Robustness(BitsPerByte(), statistics(c), {"x": statistics(d)})
    found = compare_losses(one, other, "x")
    expected = ((b - a) - (d - c)).sum() / np.log(2) / 300
    assert found.difference == pytest.approx(expected)
    assert found.low < found.difference < found.high


def test_a_score_that_is_not_defined_is_compared_with_nothing():
    defined = statistics(np.full(10, 20.0))
    undefined = statistics(np.full(10, np.nan))
    one = Robustness(BitsPerByte(), defined, {"x": defined})
    other = Robustness(BitsPerByte(), undefined, {"x": undefined})
    assert all(math.isnan(value) for value in astuple(compare_losses(one, other, "x")))


@given(st.text(max_size=80), st.integers(0, 5))
def test_a_change_is_the_same_for_the_same_seed(text, seed):
    for change in CHANGES.values():
        assert change(text, random.Random(seed)) == change(text, random.Random(seed))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_full_width_is_undone_by_half_width(text):
    assert half_width(full_width(text), punctuation=True) == text


def test_typos_change_few_letters_and_no_numbers():
    text = "The engineers of 1998 were 12 people who talked about machines. " * 50
    changed = with_typos(text, random.Random(0))
    words = list(zip(text.split(), changed.split(), strict=True))
    share = sum(one != other for one, other in words) / len(words)
    assert 0.05 < share < 0.15
    assert all(one == other for one, other in words if one.strip(".").isdigit())
    assert all(one[0] == other[0] for one, other in words)
    chinese = "他从一九九八年起住在波士顿，在一所大学教化学。" * 50
    changed = with_typos(chinese, random.Random(0))
    assert 0 < len(chinese) - len(changed) < 0.05 * len(chinese)


def test_names_become_others_of_the_list_in_their_script():
    text = "Ann Lee met Bo Smith; Ann Lee left. 李明来了。"
    for seed in range(10):
        changed = CHANGES["other names"](text, random.Random(seed))
        assert changed == "Bo Smith met Ann Lee; Bo Smith left. 王芳来了。"


def test_punctuation_and_spaces_are_lost_and_nothing_else():
    text = "Well, no: 我说“好”！ (yes)"
    assert CHANGES["lost punctuation"](text, random.Random(0)) == "Well no 我说好 yes"
    spaced = "a b c d e f g h " * 20
    lost = CHANGES["lost spaces"](spaced, random.Random(0))
    assert lost.replace(" ", "") == spaced.replace(" ", "")
    assert 0 < spaced.count(" ") - lost.count(" ") < 0.2 * spaced.count(" ")


def test_texts_are_cut_and_answers_are_not():
    examples = [Example(f"e{i}", "s" * 900, ("r" * 900,), "en") for i in range(300)]
    scored = drawn(examples, 1, "log_prob", 400)
    assert len(scored) == 200
    assert all(example.references == ("r" * 400,) for example in scored)
    answered = drawn(examples, 1, "generate", 400)
    assert [example.source for example in answered] == ["s" * 900] * 200
