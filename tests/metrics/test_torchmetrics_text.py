"""Metrics of torchmetrics give here what they give there, whatever the batches."""

import itertools
import math

import numpy as np
import pytest
import torch
import torchmetrics
from torchmetrics import text

from lslm_lightning import score
from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.comparison import compare_systems
from lslm_lightning.evaluation.diagnostics import run_checks
from lslm_lightning.evaluation.results import Entry, compute_results
from lslm_lightning.evaluation.scoring import score as score_examples
from lslm_lightning.evaluation.texts import metrics_at
from lslm_lightning.metrics.names import as_metrics
from lslm_lightning.metrics.torchmetrics_text import metrics_of
from tests.support.bert import write_bert

OUTPUTS = [
    "the cat sat on the mat today",
    "dogs bark at noon",
    "a small bird sings in a tree",
    "rain",
    "it is a very long way to go home",
]
REFERENCES = [
    ["the cat sat on a mat today", "a cat was on the mat"],
    ["dogs bark at night", "the dogs are barking at noon"],
    ["a little bird sings in the old tree", "the bird sings"],
    ["it rains a little", "rain falls"],
    ["it is a long way to go home", "home is far away"],
]
FIRSTS = [wanted[0] for wanted in REFERENCES]
EXAMPLES = [Example(str(i), f"s {i}", tuple(wanted)) for i, wanted in enumerate(REFERENCES)]
PREDICTIONS = [Prediction(str(i), output) for i, output in enumerate(OUTPUTS)]
SINGLE = {
    "CharErrorRate": text.CharErrorRate,
    "WordErrorRate": text.WordErrorRate,
    "MatchErrorRate": text.MatchErrorRate,
    "WordInfoLost": text.WordInfoLost,
    "WordInfoPreserved": text.WordInfoPreserved,
    "EditDistance": text.EditDistance,
}
SEVERAL = {
    "BLEUScore": lambda: text.BLEUScore(n_gram=2, smooth=True),
    "SacreBLEUScore": lambda: text.SacreBLEUScore(n_gram=3, lowercase=True),
    "CHRFScore": text.CHRFScore,
    "TranslationEditRate": lambda: text.TranslationEditRate(normalize=True),
    "ExtendedEditDistance": text.ExtendedEditDistance,
}


def theirs(made, references):
    """Their number of the corpus in batches of 2 and 3."""
    metric = made()
    metric.update(OUTPUTS[:2], references[:2])
    metric.update(OUTPUTS[2:], references[2:])
    return metric.compute()


@pytest.mark.parametrize("name", [*SINGLE, *SEVERAL])
def test_against_torchmetrics(name):
    made = SINGLE.get(name) or SEVERAL[name]
    [metric] = metrics_of(made())
    found = score_examples(EXAMPLES, PREDICTIONS, [metric], n_resample=50)[name]
    wanted = float(theirs(made, FIRSTS if name in SINGLE else REFERENCES))
    assert found.value == pytest.approx(wanted, rel=1e-5)
    assert found.low <= found.value <= found.high
    assert found.higher_is_better == made().higher_is_better
    rows = metric.rows(EXAMPLES, PREDICTIONS)
    assert np.allclose(rows[:2].sum(0) + rows[2:].sum(0), rows.sum(0), rtol=1e-12)


def test_rouge_has_a_row_for_each_of_its_numbers():
    def made():
        return text.ROUGEScore(rouge_keys=("rouge1", "rougeL"), use_stemmer=True)

    metrics = metrics_of(made())
    found = score_examples(EXAMPLES, PREDICTIONS, metrics, n_resample=50)
    for name, wanted in theirs(made, REFERENCES).items():
        own = found[f"ROUGEScore_{name}"]
        assert own.value == pytest.approx(float(wanted), rel=1e-5)
        assert own.low < own.value < own.high
        assert "use_stemmer:True|" in own.signature
        assert f"output:{name}|" in own.signature
    assert len(metrics) == 6


def test_answers_of_squad():
    exact, f1 = metrics_of(text.SQuAD())
    examples = [Example("0", "q", ("in 1990", "1990")), Example("1", "q", ("the tower",))]
    predictions = [Prediction("0", "1990"), Prediction("1", "a red tower")]
    found = score_examples(examples, predictions, [exact, f1], n_resample=0)
    metric = text.SQuAD()
    metric.update(
        [{"prediction_text": p.output, "id": p.id} for p in predictions],
        [
            {"answers": {"answer_start": [0], "text": list(e.references)}, "id": e.id}
            for e in examples
        ],
    )
    wanted = metric.compute()
    assert {s.metric: s.value for s in found.scores} == {
        f"SQuAD_{name}": pytest.approx(float(value)) for name, value in wanted.items()
    }


def test_a_signature_has_class_arguments_and_version():
    [plain], [other] = metrics_of(text.CHRFScore()), metrics_of(text.CHRFScore(n_word_order=0))
    version = torchmetrics.__version__
    assert plain.signature == (
        "torchmetrics.text.CHRFScore|n_char_order:6|n_word_order:2|beta:2.0|lowercase:False|"
        f"whitespace:False|return_sentence_level_score:False|torchmetrics:{version}"
    )
    assert other.signature == plain.signature.replace("n_word_order:2", "n_word_order:0")
    [ter] = metrics_of(text.TranslationEditRate(asian_support=True))
    assert "asian_support:True" in ter.signature
    [bleu] = metrics_of(text.SacreBLEUScore(tokenize="char"))
    assert "char" in bleu.signature
    [cer] = metrics_of(text.CharErrorRate())
    assert (
        cer.signature == f"torchmetrics.text.CharErrorRate|reference:first|torchmetrics:{version}"
    )


def test_a_config_and_an_object_name_the_same_metric():
    spec = {"class_path": "torchmetrics.text.CHRFScore", "init_args": {"n_word_order": 0}}
    by_spec = score(OUTPUTS, REFERENCES, spec, "en", 20)
    by_object = score(OUTPUTS, REFERENCES, [text.CHRFScore(n_word_order=0)], "en", 20)
    assert by_spec.scores == by_object.scores
    both = score(OUTPUTS, REFERENCES, ["bleu", "torchmetrics.text.WordErrorRate"], "en", 20)
    assert [s.metric for s in both.scores] == ["bleu", "WordErrorRate"]


class Longest(torchmetrics.Metric):
    """Words of the longest output: no example has a part of its own."""

    higher_is_better = True

    def __init__(self, factor: int = 1) -> None:
        super().__init__()
        self.factor = factor
        self.add_state("longest", torch.tensor(0), dist_reduce_fx="max")

    def update(self, preds, target):
        longest = max(len(each.split()) for each in preds)
        self.longest = torch.maximum(self.longest, torch.tensor(longest))

    def compute(self):
        return self.factor * self.longest


def test_a_metric_of_the_whole_corpus_claims_no_interval_and_no_test():
    metrics = metrics_of(Longest(factor=2))
    found = score_examples(EXAMPLES, PREDICTIONS, metrics)
    [own] = found.scores
    assert (own.value, own.low, own.high, own.n_example) == (18, None, None, 5)
    assert (
        compare_systems(metrics[0], {"a": found.rows["Longest"], "b": found.rows["Longest"]}) == []
    )
    entries = [Entry("one", PREDICTIONS), Entry("two", PREDICTIONS[::-1])]
    results = compute_results(EXAMPLES, entries, metrics, "Longest", n_resample=20)
    assert not results.pairs
    assert {name: scores["Longest"].value for name, scores in results.scores.items()} == {
        "one": 18,
        "two": 18,
    }
    assert run_checks(EXAMPLES, {"one": PREDICTIONS}, metrics) == []
    unwritten = [Prediction(p.id, nats=1.0) for p in PREDICTIONS]
    assert math.isnan(score_examples(EXAMPLES, unwritten, metrics)["Longest"].value)


@pytest.mark.parametrize("made", [text.CharErrorRate, lambda: text.ROUGEScore(rouge_keys="rouge1")])
def test_predictions_without_text_have_no_number(made):
    unwritten = [Prediction(p.id, nats=1.0) for p in PREDICTIONS]
    found = score_examples(EXAMPLES, unwritten, metrics_of(made()))
    assert all(math.isnan(each.value) and each.low is None for each in found.scores)


class Forgetful(text.CharErrorRate):
    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (text.Perplexity, r"Perplexity reads logits, .* lslm_lightning.metrics.likelihood"),
        (lambda: text.CHRFScore(return_sentence_level_score=True), "must be false"),
        (Forgetful, r"does not keep its argument weight, .* set self.weight"),
        (torchmetrics.SumMetric, "higher_is_better=None must be true or false"),
    ],
)
def test_what_scores_no_text_is_refused_with_a_reason(made, reason):
    with pytest.raises(ValueError, match=reason):
        metrics_of(made())


def test_what_is_no_metric_is_refused():
    with pytest.raises(TypeError, match="is no metric"):
        as_metrics([3])
    with pytest.raises(ValueError, match=r"there is no CharErrorRat in torchmetrics\.text"):
        metrics_at("torchmetrics.text.CharErrorRat")
    with pytest.raises(ValueError, match=r"metric torchmetrics\.text\.CHRFScore: .*n_word"):
        metrics_at("torchmetrics.text.CHRFScore", {"n_word_order": -1})
    with pytest.raises(ValueError, match=r"metric torchmetrics\.text\.CHRFScore: .*n_words"):
        metrics_at("torchmetrics.text.CHRFScore", {"n_words": 1})


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    words = [word for t in [*OUTPUTS, *itertools.chain(*REFERENCES)] for word in t.split()]
    return write_bert(tmp_path_factory.mktemp("bert"), words)


def bert_score(path, idf=False):
    return text.BERTScore(
        model_name_or_path=path, num_layers=2, max_length=32, batch_size=2, idf=idf, truncation=True
    )


def f1_of(path, output, reference):
    """The definition (Zhang et al. 2020, equation 1), by transformers alone."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    vectors = []
    for each in (output, reference):
        with torch.no_grad():
            hidden = model(**tokenizer(each, return_tensors="pt")).last_hidden_state[0, 1:-1]
        vectors.append(torch.nn.functional.normalize(hidden, dim=-1))
    likeness = (vectors[0] @ vectors[1].T).clamp(min=0)  # theirs is 0 with padding, and it counts
    precision, recall = likeness.amax(1).mean(), likeness.amax(0).mean()
    return float(2 * precision * recall / (precision + recall))


@pytest.mark.slow
def test_bert_score_is_a_mean_over_examples(bert):
    metrics = metrics_of(bert_score(bert))
    assert [m.name for m in metrics] == [f"BERTScore_{n}" for n in ("precision", "recall", "f1")]
    singles = [Example(e.id, e.source, e.references[:1]) for e in EXAMPLES]
    found = score_examples(singles, PREDICTIONS, metrics, n_resample=50)
    own = found["BERTScore_f1"]
    wanted = [f1_of(bert, output, first) for output, first in zip(OUTPUTS, FIRSTS, strict=True)]
    assert own.value == pytest.approx(np.mean(wanted), rel=1e-4)
    assert found.rows["BERTScore_f1"][:, 0] == pytest.approx(wanted, rel=1e-4)
    assert own.low < own.value < own.high
    assert f"model_name_or_path:{bert}|" in own.signature
    assert "idf:False" in own.signature
    reference = bert_score(bert)
    reference.update(OUTPUTS[:1] * 2, FIRSTS[:1] * 2)
    assert found.rows["BERTScore_f1"][0, 0] == pytest.approx(float(reference.compute()["f1"][0]))


def test_an_empty_output_has_no_likeness_and_fails_nothing(bert):
    metrics = metrics_of(bert_score(bert))
    emptied = [Prediction("0", ""), *PREDICTIONS[1:]]
    found = score_examples(EXAMPLES, emptied, metrics, n_resample=20)
    assert [found.rows[m.name][0].tolist() for m in metrics] == [[0, 1]] * 3
    assert all(0 < each.value < 1 for each in found.scores)


def test_bert_score_by_idf_is_of_the_corpus_or_refused(bert):
    """Not a mean: how rare a word is, all references say. Some releases mix up the pairs."""
    reference = bert_score(bert, idf=True)
    values = []
    for order in (slice(None), slice(None, None, -1)):
        reference.reset()
        reference.update(OUTPUTS[order], FIRSTS[order])
        values.append(float(reference.compute()["f1"].mean()))
    if abs(values[0] - values[1]) > 1e-3:
        with pytest.raises(ValueError, match=r"in another order .* set idf to false"):
            metrics_of(reference)
    else:
        found = score_examples(EXAMPLES, PREDICTIONS, metrics_of(reference))
        assert all(each.low is None and math.isfinite(each.value) for each in found.scores)
