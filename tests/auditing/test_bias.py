"""A model of skewed texts is called skewed, and one of even texts is not."""

import math
from itertools import product

import numpy as np
import pytest
import yaml

from lslm_lightning import audit
from lslm_lightning.auditing.bias import PACKAGED, association, read_topics
from lslm_lightning.auditing.paired import sign_flip_test
from lslm_lightning.contracts import Prediction, Scorer
from tests.auditing.toy_runs import WORDS, said_of_groups, trained_ngram

TOPIC = read_topics(PACKAGED)[0]
CLEAR = 0.01


def corrected_p(finding) -> dict[str, float]:
    [table] = finding.tables
    return {row[0]: row[-1] for row in table.rows}


@pytest.mark.slow
def test_a_skewed_corpus_makes_a_skewed_model_and_an_even_one_does_not(project):
    findings = {}
    for name, share in (("skewed", 0.8), ("even", 0.5), ("against", 0.2)):
        texts = said_of_groups(TOPIC, share, 6_000, seed=1)
        run = trained_ngram(project / name, texts, 7, WORDS)
        [findings[name]] = audit(run, parts=["bias"]).findings
    p = {name: corrected_p(finding)[TOPIC.name] for name, finding in findings.items()}
    assert p["skewed"] < CLEAR
    assert p["against"] < CLEAR
    assert p["even"] >= CLEAR
    assert [findings[name].severity for name in findings] == ["look", "ok", "look"]
    means = {name: finding.figures[0] for name, finding in findings.items()}
    assert means["skewed"].low > 0 > means["against"].high
    assert means["even"].low < 0 < means["even"].high


class Table(Scorer):
    """Scores texts by additive costs of words, and those of chosen pairs of words."""

    name = "table"

    def __init__(self, costs: dict[str, float], together: dict[tuple[str, str], float]) -> None:
        self.costs = costs
        self.together = together

    def log_prob(self, examples, answers=None):
        for example in reversed(examples):
            text = example.references[0]
            nats = sum(cost for word, cost in self.costs.items() if word in text)
            pairs = self.together.items()
            nats -= sum(gain for words, gain in pairs if all(word in text for word in words))
            yield Prediction(example.id, nats=nats)


def test_how_common_groups_and_attributes_are_cancels_out():
    """By hand: the association is what the pairs gain, whatever the words cost alone."""
    topic = TOPIC
    one, other = topic.groups[0]
    costs = {one: 0.5, other: 7.0, "nurse": 9.0, "engineer": 1.0, "surgeon": 30.0}
    found = association(Table(costs, {}), topic)
    assert np.allclose(found.test.values, 0)
    gains = {("nurse", "My mother"): 2.0, ("engineer", "My mother"): -3.0}
    found = association(Table(costs, gains), topic)
    by_pair = dict(zip(found.pairs, found.test.values, strict=True))
    # one of the three names of the groups gains 2 as the stereotype says, and loses 3 against it
    assert by_pair["an engineer", "a nurse"] == pytest.approx((2 + 3) / 3)
    assert sum(abs(value) > 1e-9 for value in by_pair.values()) == 1


def test_pairs_with_unknown_words_are_left_out():
    class Unsure(Table):
        def log_prob(self, examples, answers=None):
            for example in examples:
                unknown = int("midwife" in example.references[0])
                yield Prediction(example.id, nats=1.0, unknown=unknown)

    found = association(Unsure({}, {}), TOPIC)
    assert len(found.pairs) == len(TOPIC.attributes) - 1
    assert all("midwife" not in pair[1] for pair in found.pairs)


@pytest.mark.parametrize("n", [3, 8, 14, 40])
def test_the_p_value_is_that_of_all_signs(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    found = sign_flip_test(values)
    if n <= 14:
        means = [np.dot(signs, values) / n for signs in product((1, -1), repeat=n)]
        exact = np.mean([abs(mean) >= abs(values.mean()) - 1e-12 for mean in means])
        assert found.p == pytest.approx(exact)
    else:  # close to the test of the normal distribution
        z = values.sum() / math.sqrt((values**2).sum())
        assert found.p == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=0.03)
    assert found.low <= found.mean <= found.high


def test_values_without_an_effect_are_called_one_as_often_as_stated():
    draws = np.random.default_rng(5)
    n_false = sum(sign_flip_test(draws.normal(0, 1, 12)).p < 0.05 for _ in range(400))
    assert n_false <= 33  # the 99 % quantile of 400 draws with probability 0.05 is 31


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda topics: {"topics": topics}, "list of topics"),
        (lambda topics: [*topics, {"topic": "x"}], "topic 7"),
        (lambda topics: [topics[0] | {"sentences": ["{group} sleeps."]}], "{attribute}"),
        (lambda topics: [topics[0] | {"groups": [["He"]]}], "groups"),
        (lambda topics: [topics[0] | {"attributes": "nurse"}], "attributes"),
        (lambda topics: [topics[0] | {"language": ["en"]}], "language"),
    ],
)
def test_a_file_of_another_form_is_refused_by_its_place(change, said, tmp_path):
    topics = yaml.safe_load(PACKAGED.read_text("utf-8"))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(change(topics), allow_unicode=True), encoding="utf-8")
    with pytest.raises(ValueError, match="--pairs") as refused:
        read_topics(path)
    assert said in str(refused.value)


def test_the_packaged_topics_can_be_tested():
    for topic in read_topics(PACKAGED):
        assert len(set(topic.attributes)) >= 12
        assert len(set(topic.sentences)) >= 3
