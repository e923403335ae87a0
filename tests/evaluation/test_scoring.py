import json
import math
import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from lslm_lightning.contracts import Example, Metric, Prediction, Score
from lslm_lightning.evaluation.comparison import differing_parts
from lslm_lightning.evaluation.predictions import read_predictions, write_predictions
from lslm_lightning.evaluation.scoring import read_scores, score, with_signature_parts, write_scores
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.metrics.likelihood import BitsPerByte, Perplexity, WordPerplexity
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.metrics.significance import paired_bootstrap

RNG = random.Random(0)
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "rug", "fast", "slowly"]
EXAMPLES = [
    Example(f"e{i}", "", (" ".join(RNG.choices(WORDS, k=9)), " ".join(RNG.choices(WORDS, k=8))))
    for i in range(60)
]
OUTPUTS = [
    Prediction(example.id, output=" ".join(example.references[0].split()[: RNG.randint(2, 9)]))
    for example in EXAMPLES
]
METRICS = [Bleu(), Chrf(), Ter(), Rouge("L")]


def test_scores_are_those_of_the_libraries_with_their_signature():
    scores = score(EXAMPLES, OUTPUTS, METRICS)
    theirs = BLEU()
    expected = theirs.corpus_score(
        [p.output for p in OUTPUTS], [[e.references[k] for e in EXAMPLES] for k in (0, 1)]
    )
    bleu = scores["bleu"]
    assert bleu.value == expected.score
    assert bleu.signature == str(theirs.get_signature())
    assert (bleu.n_example, bleu.unit, bleu.higher_is_better) == (60, "", True)
    assert [s.metric for s in scores.scores] == ["bleu", "chrf", "ter", "rougeL"]
    assert all(s.low < s.value < s.high for s in scores.scores)


def test_the_order_of_predictions_does_not_matter(tmp_path):
    write_predictions(tmp_path / "p.jsonl", RNG.sample(OUTPUTS, len(OUTPUTS)))
    direct = score(EXAMPLES, OUTPUTS, METRICS)
    shuffled = score(EXAMPLES, read_predictions(tmp_path / "p.jsonl"), METRICS)
    assert direct.scores == shuffled.scores
    assert all((direct.rows[name] == shuffled.rows[name]).all() for name in direct.rows)


def test_intervals_do_not_depend_on_the_other_metrics():
    assert score(EXAMPLES, OUTPUTS, [Chrf()])["chrf"] == score(EXAMPLES, OUTPUTS, METRICS)["chrf"]
    assert score(EXAMPLES, OUTPUTS, [Bleu()], n_resample=0)["bleu"].low is None


@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_example_has_no_interval(n):
    found = score(EXAMPLES[:n], OUTPUTS[:n], METRICS)
    assert all((s.low is None) == (s.high is None) == (n == 1) for s in found.scores)


@pytest.mark.parametrize("n", [1, 2])
def test_a_recorded_interval_of_one_example_is_none(tmp_path, n):
    old = Score("bleu", 30.0, "", True, "signature", n, 30.0, 30.0)
    write_scores(tmp_path / "metrics.json", [old], {})
    [found] = read_scores(tmp_path / "metrics.json")
    assert (found.low, found.high) == ((None, None) if n == 1 else (30.0, 30.0))


def test_rows_serve_paired_tests():
    perfect = score(
        EXAMPLES, [Prediction(e.id, output=e.references[0]) for e in EXAMPLES], [Bleu()]
    )
    cut = score(EXAMPLES, OUTPUTS, [Bleu()])
    assert perfect.ids == cut.ids == [example.id for example in EXAMPLES]
    found = paired_bootstrap(Bleu(), perfect.rows["bleu"], cut.rows["bleu"], 500)
    assert found.difference == pytest.approx(perfect["bleu"].value - cut["bleu"].value)
    assert found.p < 0.01


@pytest.mark.parametrize(
    ("examples", "predictions", "message"),
    [
        (EXAMPLES, OUTPUTS[2:], "2 examples have no prediction: 'e0', 'e1'"),
        (EXAMPLES, OUTPUTS[9:], "9 examples have no prediction: 'e0', 'e1', 'e2', 'e3', 'e4', ..."),
        (EXAMPLES[1:], OUTPUTS, "1 predictions belong to no example: 'e0'"),
        (EXAMPLES, [*OUTPUTS, OUTPUTS[3]], "1 predictions occur twice: 'e3'"),
        ([*EXAMPLES, EXAMPLES[5]], OUTPUTS, "1 examples occur twice: 'e5'"),
        ([], [], "has no examples"),
        ([Example("a", "", ())], [Prediction("a", output="")], "1 examples have no reference: 'a'"),
        (
            EXAMPLES,
            [Prediction("e0", nats=1.0), *OUTPUTS[1:]],
            "1 predictions lack what bleu needs, while others have it: 'e0'",
        ),
    ],
)
def test_missing_and_surplus_answers_are_named(examples, predictions, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        score(examples, predictions, [Bleu()])


def test_metrics_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"different names, but got \['bleu', 'bleu'\]"):
        score(EXAMPLES, OUTPUTS, [Bleu(), Bleu("zh")])


def test_what_a_system_cannot_do_is_nan():
    """A scorer has no BLEU; a model of words with `<unk>` no bits per byte, but a perplexity."""
    predictions = [Prediction(example.id, nats=20.0, n_token=10, unknown=1) for example in EXAMPLES]
    scores = score(EXAMPLES, predictions, [Bleu(), BitsPerByte(), Perplexity()])
    assert math.isnan(scores["bleu"].value)
    assert math.isnan(scores["bits_per_byte"].value)
    assert scores["bits_per_byte"].low is None
    assert scores["perplexity"].value == pytest.approx(math.exp(2))
    assert scores["perplexity"].signature == "nrefs:2|reference:first"


def test_a_varying_number_of_references_is_said():
    examples = [Example("a", "", ("x y z w", "x")), Example("b", "", ("x y z v",))]
    predictions = [Prediction("a", output="x y z w"), Prediction("b", output="x y z v")]
    assert score(examples, predictions, [Bleu()])["bleu"].signature.startswith("nrefs:var|")


def test_files_of_scores(tmp_path):
    predictions = [
        Prediction(example.id, nats=math.inf if example.id == "e1" else 2.0, n_token=3)
        for example in EXAMPLES
    ]
    scores = score(EXAMPLES, predictions, [Bleu(), Perplexity(), BitsPerByte()]).scores
    write_scores(tmp_path / "run" / "metrics.json", scores, {"digest": "abc"})
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["metrics.json"]
    stored = json.loads(
        (tmp_path / "run" / "metrics.json").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
    )
    assert stored["data"] == {"digest": "abc"}
    assert [record["value"] for record in stored["scores"]] == [None, "inf", "inf"]
    again = read_scores(tmp_path / "run" / "metrics.json")
    assert again[1:] == scores[1:]
    assert math.isnan(again[0].value)
    np.testing.assert_equal([s.value for s in again], [s.value for s in scores])


@pytest.mark.parametrize("content", ["", "[]", '{"scores": [{"metric": "bleu"}]}', '{"scores": 3}'])
def test_what_holds_no_scores_is_refused(content, tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"metrics\.json holds no scores"):
        read_scores(path)


def test_the_tokenizer_signs_what_counts_tokens_and_the_spelling_what_counts_all():
    examples = [Example("1", "", ("red cat",))]
    metrics = [BitsPerByte(), Perplexity(), WordPerplexity()]
    found = with_signature_parts(
        score(examples, [Prediction("1", nats=2.0, n_token=3)], metrics, 0),
        metrics,
        "|context:8|spelling:bytes|tokens:ab",
    )
    parts = {each.metric: each.signature.split("|")[2:] for each in found.scores}
    assert parts["bits_per_byte"] == ["context:8", "spelling:bytes"]
    assert parts["perplexity"] == ["context:8", "tokens:ab"]
    assert parts["word_perplexity"][1:] == ["context:8", "spelling:bytes"]


def test_how_unknown_words_are_spelled_is_each_systems_own_affair():
    spelled, bytes_alone = (
        Score("bits_per_byte", 2.0, "", False, f"nrefs:1{part}", 3)
        for part in ("|spelling:bytes-6", "")
    )
    assert not differing_parts(spelled, bytes_alone)


class Odd(Metric):
    """Metric whose statistics may not fit its formula."""

    name, unit, higher_is_better, signature = "odd", "%", True, "version:1"

    def __init__(self, found: object) -> None:
        self.found = found

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        return self.found(prediction)

    def score(self, total: np.ndarray) -> float:
        count, right = total
        if not right:
            raise ZeroDivisionError("none are right")
        return right / count


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (lambda _: np.ones(3), "too many values to unpack"),
        (lambda _: np.ones(1), "not enough values to unpack"),
        (lambda _: 1.0, "a vector of numbers for each example"),
        (lambda each: np.ones(int(each.id) + 1), "must have the same shape"),
        (lambda each: each.nats + 1, "NoneType"),
        (lambda each: each.answer, "no attribute 'answer'"),
        (lambda each: {}[each.id], r"KeyError\('0'\)"),
        (lambda _: 1 // 0, "division"),
        (lambda each: np.array([1, each.id == "1"]), "none are right"),  # only when drawn twice
    ],
)
def test_a_metric_that_fails_is_named(found, reason):
    examples = [Example(str(i), "a", ("b",)) for i in range(2)]
    predictions = [Prediction(str(i), "b") for i in range(2)]
    with pytest.raises(ValueError, match=rf"^metric odd: .*{reason}"):
        score(examples, predictions, [Odd(found)])
