"""A metric sees the whole example; those of the last release are given what they were given."""

import warnings

import numpy as np
import pytest

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.evaluation.diagnostics import run_checks
from lslm_lightning.evaluation.scoring import score
from lslm_lightning.evaluation.texts import score_texts
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.metrics.error_rate import CharacterErrorRate
from lslm_lightning.metrics.rouge import Rouge

OUTPUTS = ["a cat sat on the mat", "dogs bark at noon", "the sea is wide"]
REFERENCES = [("a cat sat on a mat",), ("dogs bark at night", "a dog barks"), ("the sea is wide",)]
EXAMPLES = [
    Example(str(i), f"source {i}", wanted, language="en", source_language="de")
    for i, wanted in enumerate(REFERENCES)
]
PREDICTIONS = [Prediction(str(i), output) for i, output in enumerate(OUTPUTS)]


class Copied(Metric):
    """Share of answers that have the last word of their source."""

    name = "copied"
    unit = "%"
    higher_is_better = False
    signature = "words:last"

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        has_it = example.source.split()[-1] in prediction.output.split()
        return np.array([float(has_it), float(example.source_language == "de"), 1.0])

    def score(self, total: np.ndarray) -> float:
        return float(100 * total[0] / total[2])


@pytest.fixture
def old():
    with pytest.warns(FutureWarning, match=r"Old\.statistics\(answer, references\) is now statist"):

        class Old(Bleu):
            name = "old"

            def statistics(self, answer, references):
                assert isinstance(answer, Prediction)
                assert all(isinstance(text, str) for text in references)
                return super().statistics(answer, references)

    return Old


def test_a_metric_reads_the_source_and_the_languages():
    predictions = [Prediction("0", "it is 0"), Prediction("1", "0"), Prediction("2", "2")]
    scores = score(EXAMPLES, predictions, [Copied()])
    assert scores["copied"].value == pytest.approx(200 / 3)
    assert scores.rows["copied"].tolist() == [[1, 1, 1], [0, 1, 1], [1, 1, 1]]
    [blind] = run_checks(EXAMPLES, {}, [Copied()])
    assert (blind.check, blind.where) == ("constant metric", "evaluation set"), "none has a number"
    assert blind.words.startswith("copied ")


def test_a_metric_of_the_last_release_keeps_every_digit(old):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        ours, theirs = (score(EXAMPLES, PREDICTIONS, [m]).scores[0] for m in (Bleu(), old()))
        assert score_texts(OUTPUTS, REFERENCES, [old()], "en")["old"].value == ours.value
    assert (theirs.value, theirs.low, theirs.high) == (ours.value, ours.low, ours.high)
    assert theirs.signature == ours.signature


@pytest.mark.parametrize("metric", [Bleu(), Chrf(), Ter("th"), CharacterErrorRate(), Rouge("1")])
def test_a_call_of_the_last_release_gives_the_same_statistics(metric):
    for example, prediction in zip(EXAMPLES, PREDICTIONS, strict=True):
        now = metric.statistics(example, prediction)
        with pytest.warns(FutureWarning, match="example.references has the references"):
            then = metric.statistics(prediction, list(example.references))
        assert np.array_equal(now, then)


def test_a_metric_of_this_release_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Renamed(Copied):
            def statistics(self, given: Example, written: Prediction) -> np.ndarray:
                return super().statistics(given, written)

        assert score(EXAMPLES, PREDICTIONS, [Renamed()])["copied"].value == 0


def test_rows_in_a_batch_may_be_given_at_once():
    class Batched(Copied):
        def statistics(self, example, prediction):
            raise AssertionError("one by one")

        def rows(self, examples, predictions):
            return np.array([[i, 0, 1] for i in range(len(examples))], dtype=np.float64)

    assert score(EXAMPLES, PREDICTIONS, [Batched()])["copied"].value == 100
