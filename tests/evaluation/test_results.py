"""Results from predictions: which systems are ranked, which are not and why, and scores without
contaminated examples.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.results import Entry, compute_results, write_results
from lslm_lightning.evaluation.scoring import score
from lslm_lightning.metrics.bleu import Bleu, Chrf
from lslm_lightning.metrics.likelihood import BitsPerByte, NatsPerToken
from lslm_lightning.reports.evaluation import lead

EXAMPLES = [
    Example(str(i), f"source {i}", (f"the reference number {i} is here",)) for i in range(30)
]


def writer(name, wrong, signature=""):
    """A system that has `wrong` of the 30 answers wrong."""
    outputs = [f"nothing {e.id}" if i < wrong else e.references[0] for i, e in enumerate(EXAMPLES)]
    return Entry(
        name,
        [Prediction(e.id, text) for e, text in zip(EXAMPLES, outputs, strict=True)],
        signature=signature,
    )


def results(*entries, **settings):
    return compute_results(
        EXAMPLES, entries, [Bleu(), Chrf(), BitsPerByte()], "bleu", n_resample=200, **settings
    )


def test_every_pair_once_for_each_metric_that_both_have():
    found = results(writer("a", 0), writer("b", 3), writer("c", 20))
    assert [(p.first, p.second, p.metric) for p in found.pairs] == [
        (first, second, metric)
        for metric in ("bleu", "chrf")
        for first, second in (("a", "b"), ("a", "c"), ("b", "c"))
    ]
    assert not found.refusals
    assert np.isnan(found.scores["a"]["bits_per_byte"].value)


def test_scores_of_other_signatures_are_not_ranked_and_the_part_is_named():
    found = results(
        writer("a", 0, "|context:256"),
        writer("b", 3, "|context:256"),
        writer("c", 1, "|context:512"),
        writer("d", 5),
    )
    assert {(p.first, p.second) for p in found.pairs} == {
        ("a", "b"),
        ("a", "d"),
        ("b", "d"),
        ("c", "d"),
    }, "one without a window"
    assert found.refusals == [
        "BLEU and chrF of a and b cannot be ranked against c: context is 256 and 512"
    ]


def test_a_system_that_cannot_is_a_reason_and_no_zero():
    found = results(writer("a", 0), Entry("b", reason="gives no text"))
    assert found.scores["b"] is None
    assert found.reasons(["bleu"]) == {("b", "bleu"): "gives no text"}
    assert not found.pairs


def test_scores_on_what_is_not_in_the_training_text():
    mask = np.array([i < 10 for i in range(30)])
    found = results(writer("a", 10), contaminated=mask)
    assert found.clean == {"a": pytest.approx(100)}
    assert found.scores["a"]["bleu"].value < 90
    assert any(f.check == "contamination" and "10 of 30" in f.words for f in found.findings)
    assert not results(writer("a", 10), contaminated=np.zeros(30, dtype=bool)).clean


def test_what_is_written_is_json_without_nan(tmp_path):
    found = results(writer("a", 0), writer("b", 3), Entry("c", reason="no text"))
    write_results(tmp_path / "metrics.json", found, {"corpus": "x"})
    record = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert record["systems"]["c"] == {"scores": [], "reason": "no text", "facts": {}, "clean": None}
    assert [s["value"] for s in record["systems"]["a"]["scores"]][2] is None
    assert {p["metric"] for p in record["pairs"]} == {"bleu", "chrf"}


def test_of_two_equal_systems_none_leads():
    metrics = [Bleu()]
    found = compute_results(
        EXAMPLES, [writer("a", 3), writer("b", 3), writer("c", 9)], metrics, "bleu", n_resample=50
    )
    assert lead(found, metrics).summary.startswith('"a" and "b" lead with the same BLEU, ')
    found = compute_results(
        EXAMPLES, [writer("a", 3), writer("c", 9)], metrics, "bleu", n_resample=50
    )
    assert lead(found, metrics).summary.startswith('"a" leads with BLEU ')


def scorer(name, tokenizer):
    return Entry(
        name,
        [Prediction(e.id, nats=10.0 + len(name), n_token=5) for e in EXAMPLES],
        signature=f"|context:64|tokens:{tokenizer}",
    )


def test_only_systems_with_one_tokenizer_compare_by_token():
    metrics = [BitsPerByte(), NatsPerToken()]
    found = compute_results(
        EXAMPLES,
        [scorer("a", "1"), scorer("bb", "1"), scorer("c", "2")],
        metrics,
        "bits_per_byte",
        n_resample=50,
    )
    pairs = {
        metric: {(p.first, p.second) for p in found.pairs if p.metric == metric}
        for metric in ("bits_per_byte", "nats_per_token")
    }
    assert pairs == {
        "bits_per_byte": {("a", "bb"), ("a", "c"), ("bb", "c")},
        "nats_per_token": {("a", "bb")},
    }
    assert found.refusals == [
        "nats per token of a and bb cannot be ranked against c: tokens is 1 and 2"
    ]
    assert "tokens" not in found.scores["a"]["bits_per_byte"].signature
    assert found.scores["a"]["nats_per_token"].signature.endswith("|context:64|tokens:1")


def test_a_score_on_record_stands_and_is_ranked_only_where_it_would_be_the_same_now():
    """Two runs tested with another version of a metric: what is computed now is no test of what is
    on record.
    """
    old = []
    for entry in (writer("a", 0), writer("b", 3)):
        scores = score(EXAMPLES, entry.predictions, [Bleu(), Chrf(), BitsPerByte()], 50)
        recorded = {
            s.metric: replace(s, value=12.5, signature=s.signature.replace("tok:13a", "tok:char"))
            for s in scores.scores
        }
        old.append(replace(entry, recorded=recorded))
    found = results(*old)
    assert found.scores["a"]["bleu"].value == 12.5
    assert {p.metric for p in found.pairs} == {"chrf"}
    assert found.refusals == [
        (f"BLEU of {n} cannot be ranked: recorded and now tok is char and 13a; run lslm test again")
        for n in "ab"
    ]
