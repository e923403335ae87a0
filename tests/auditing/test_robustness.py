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
from lslm_lightning.auditing.input_changes import input_changes, name_change
from lslm_lightning.auditing.perturbations import full_width, perturbations, with_typos
from lslm_lightning.auditing.robustness import Robustness, compare_losses, drawn, robustness
from lslm_lightning.auditing.settings import AuditSettings
from lslm_lightning.auditing.wordings import (
    names_in,
    regional_names,
    with_other_contractions,
    with_other_spelling,
    with_similar_characters,
    wordings,
)
from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.metrics.error_rate import WordErrorRate
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.text.normalization import half_width
from tasks.question_answering.data import Question
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


def test_similar_characters_are_those_of_a_group():
    similar = wordings().similar
    text = "他在家里做作业，已经再次写得很好，己所不欲。" * 50
    changed = with_similar_characters(text, random.Random(0))
    pairs = [(one, other) for one, other in zip(text, changed, strict=True) if one != other]
    assert 0.05 < len(pairs) / sum(sign in similar for sign in text) < 0.15
    assert all(other in similar[one] and one in similar[other] for one, other in pairs)
    plain = "一二三四五六七八九十"
    assert with_similar_characters(plain, random.Random(0)) == plain


def test_the_other_spelling_of_the_other_spelling_is_the_first():
    spellings = wordings().spellings
    assert all(spellings[other] == one != other for one, other in spellings.items())
    for word in spellings:
        for shown in (word, word.upper(), word.capitalize()):
            assert with_other_spelling(with_other_spelling(f"{shown} is")) == f"{shown} is"


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("The colour of GREY theatres.", "The color of GRAY theaters."),
        ("Yes. Behavior of an organism in Pearl Harbor", None),
        ("They travelled to Pearl Harbor.", "They traveled to Pearl Harbor."),
        ("Analyses realistic", "Analyses realistic"),
    ],
)
def test_spelling(text, changed):
    wanted = "Yes. Behaviour of an organism in Pearl Harbor" if changed is None else changed
    assert with_other_spelling(text) == wanted


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("I don't know.", "I do not know."),
        ("I do not know.", "I don't know."),
        ("He can\u2019t; we cannot.", "He cannot; we can\u2019t."),
        ("They're late, and I'm not.", "They are late, and I am not."),
        ("IT IS NOT TRUE", "IT ISN'T TRUE"),
        ("It will not do. She won't.", "It won't do. She will not."),
        ("Let's go.", "Let us go."),
        *((kept, kept) for kept in ("Don't you see?", "It is late, isn't it?", "Why don't we go?")),
        *((kept, kept) for kept in ("John's hat", "I may not go.", "It's here.", "I am here.")),
        ("A donation note.", "A donation note."),
    ],
)
def test_contractions(text, changed):
    assert with_other_contractions(text) == changed


def test_rules_of_a_language_leave_others_as_they_are():
    draw = random.Random(0)
    for change in perturbations():
        if change.language:
            assert change.applied("colour 在 don't", "fr", draw) == "colour 在 don't"
    spelling = next(each for each in perturbations() if each.name == "other spelling")
    assert spelling.applied("colour", "en-GB", draw) == "color"
    assert spelling.applied("colour", "und", draw) == "color"


@pytest.mark.parametrize("region", wordings().names)
def test_names_become_those_of_a_region_in_inputs_and_references(region):
    """Of the same gender and script; in a translation, only those that it keeps."""
    names = wordings().names[region]
    asked = Example(
        "1", "Tom saw Mary. Tom left. 汤姆 saw 汤姆斯.", ("Tom",), "en", "en", "Who? Tom saw Mary."
    )
    found = name_change(region, "generate").changed(asked, random.Random(0))
    man, _, woman, again, *_ = found.source.replace(".", "").split()
    assert man == again in names["male"]
    assert woman in names["female"]
    assert found.references == (man,)
    assert found.question == f"Who? {man} saw {woman}."
    assert "汤姆斯" in found.source
    assert "汤姆 " not in found.source
    translated = Example("1", "Tom saw Mary.", ("Tom sah Maria.",), "de", "en")
    found = name_change(region, "generate").changed(translated, random.Random(0))
    man = found.source.split()[0]
    assert found.source == f"{man} saw Mary."
    assert found.references == (f"{man} sah Maria.",)
    assert man != "Tom"


def test_longer_names_are_not_cut_in_two():
    longer = wordings().longer_names
    assert all(
        any(name in each[:-1] or name in each[1:] for name in wordings().all_names)
        for each in longer
    )
    text = "约翰内斯堡的约翰逊在大卫营，玛丽莲·梦露和张伟丽在圣约翰斯，迈克尔逊和苏珊娜在爱丽丝泉"
    assert names_in(text) == []
    assert names_in(text.replace("约翰逊", "约翰")) == ["约翰"]


@pytest.mark.parametrize("region", wordings().names)
def test_different_people_keep_different_names(region):
    text = "Mary, Jane, Laura, John, Tom, Peter, Robert, Mike, 约翰、汤姆、大卫、迈克尔、玛丽、苏珊"
    for seed in range(20):
        names = regional_names([text], region, random.Random(seed))
        assert {"Mary", "John", "玛丽"} <= set(names)
        people = [names.get(name, name) for name in names_in(text)]
        assert len(set(people)) == len(people) == 14


def test_question_and_passage_are_changed_with_the_source():
    asked = Question("1", "Who?\nTom saw MARY.", ("Tom",), asked="Who?", passage="Tom saw MARY.")
    changes = {change.name: change for change in input_changes([asked], "generate", ())}
    found = changes["lower case"].changed(asked, random.Random(0))
    assert (found.asked, found.passage) == ("who?", "tom saw mary.")
    assert found.references == ("Tom",)
    found = changes["Chinese names"].changed(asked, random.Random(0))
    assert found.passage.startswith(found.references[0])
    assert found.references[0] in wordings().names["Chinese names"]["male"]
    assert found.source == f"{found.asked}\n{found.passage}"


class Echo:
    """System that answers with its source, and counts what it is asked."""

    def __init__(self):
        self.asked = []

    def generate(self, examples):
        self.asked.append(len(examples))
        return [Prediction(e.id, e.source) for e in examples]


def test_only_changed_inputs_are_asked_and_scored_by_their_references():
    examples = [
        Example("0", "Tom is here", ("Tom is here",)),
        Example("1", "the colour grey", ("the colour grey",)),
        *(Example(f"{i}", f"nobody {i}", (f"nobody {i}",)) for i in range(2, 5)),
    ]
    changes = {change.name: change for change in input_changes(examples, "generate", ())}
    chosen = [changes[name] for name in ("other spelling", "Arabic names", "contractions")]
    system = Echo()
    found = robustness(system, examples, "generate", WordErrorRate("en"), chosen)
    assert system.asked == [5, 1, 1]
    assert found.n_changed == {"other spelling": 1, "Arabic names": 1}, "none that changes nothing"
    assert found.score() == 0
    assert found.score("Arabic names") == 0, "the references have the other names"
    assert found.score("other spelling") > 0
