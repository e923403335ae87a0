"""The end of a job: a run that loses to a baseline says so first, and so do the two other
outcomes.
"""

import math

import numpy as np
import pytest

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.scoring import score
from lslm_lightning.experiments.run_evaluation import evaluate_run, headline_of
from lslm_lightning.experiments.run_page import opening
from lslm_lightning.metrics.error_rate import WordErrorRate
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.metrics.rouge import Rouge
from lslm_lightning.reports import (
    compose_report,
    details_section,
    render_html,
    render_markdown,
)
from lslm_lightning.reports.evaluation import pair_table
from lslm_lightning.reports.terminal import show_conclusion

EXAMPLES = [Example(f"e{i}", "source", (f"a dog of {i} years runs home",)) for i in range(40)]
RIGHT = [e.references[0] for e in EXAMPLES]
HALF = [text.replace("dog", "cat") if i % 2 else text for i, text in enumerate(RIGHT)]
OTHER_HALF = [text if i % 2 else text.replace("dog", "cat") for i, text in enumerate(RIGHT)]
WRONG = [text.replace("dog", "cat").replace("runs", "sleeps") for text in RIGHT]
OUTCOMES = {
    "worse": (WRONG, 'This run is worse than the baseline "copy" in {}.'),
    "unsure": (
        OTHER_HALF[:3] + HALF[3:],
        (
            'There is no sure difference between this run and the baseline "copy" in {}: chance '
            "could explain it."
        ),
    ),
    "better": (RIGHT, 'This run is better than the baseline "copy" in {}.'),
}


def scored(texts, metric):
    return score(
        EXAMPLES,
        [Prediction(e.id, text) for e, text in zip(EXAMPLES, texts, strict=True)],
        [metric],
        50,
    )


def concluded(texts, metric, **baselines):
    result = scored(texts, metric)
    beside = {name: scored(own, metric) for name, own in baselines.items()}
    return evaluate_run(result, beside, [metric], metric.name)


@pytest.mark.parametrize(
    ("metric", "label"),
    [(Rouge("L"), "ROUGE-L"), (WordErrorRate("en"), "WER")],
    ids=["ROUGE-L", "WER"],
)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_terminal_page_and_description_open_with_the_outcome(outcome, metric, label, capsys):
    texts, words = OUTCOMES[outcome]
    first = words.format(label)
    evaluation = concluded(texts, metric, copy=HALF)
    conclusion = evaluation.conclusion
    assert (conclusion.outcome, conclusion.summary) == (outcome, first)

    show_conclusion(conclusion.sentences)
    assert capsys.readouterr().out.startswith(f"{first}\n")

    report = compose_report(
        "run",
        "summarization",
        opening(evaluation, "dialogues"),
        evaluation.results,
        details_section({}, "", {}),
    )
    for page in (render_html(report), render_markdown(report)):
        page = page.replace("&#34;", '"')
        assert first in page
        assert (
            page.index(first)
            < page.index(f"{label} ")
            < page.index("95 % interval")
            < page.index("Scores")
        )

    assert conclusion.markdown().startswith(f"**{first}**\n\n- ")


def test_a_run_without_the_metric_loses_and_needs_no_test():
    metric = BitsPerByte()
    own = [Prediction(e.id, nats=9.0, n_token=5, unknown=1) for e in EXAMPLES]
    other = [Prediction(e.id, nats=8.0, n_token=5) for e in EXAMPLES]
    result, beside = (score(EXAMPLES, given, [metric], 0) for given in (own, other))
    assert math.isnan(result["bits_per_byte"].value)
    evaluation = evaluate_run(result, {"xz -9": beside}, [metric], metric.name)
    assert evaluation.results.pairs == []
    assert evaluation.conclusion.outcome == "worse"
    summary = evaluation.conclusion.summary
    assert summary.startswith('This run has no bits per byte, and "xz -9" has ')
    turned = evaluate_run(beside, {"none": result}, [metric], metric.name)
    assert turned.conclusion.outcome is None


def test_a_run_without_baselines_is_compared_with_none():
    evaluation = concluded(RIGHT, Rouge("L"))
    assert (evaluation.results.pairs, evaluation.conclusion.sentences) == ([], [])
    assert opening(evaluation, "dialogues").summary == (
        "ROUGE-L 100.0 (95 % interval 100.0 to 100.0) on dialogues, 40 examples."
    )


def test_the_table_of_tests_has_the_numbers_of_the_sentences():
    metric = Rouge("L")
    results = concluded(HALF, metric, a=WRONG, b=RIGHT).results
    pairs = results.pairs
    table = pair_table(results, metric.name)
    assert [row[0] for row in table.rows] == ["this run − a", "this run − b"]
    assert np.array([row[1].value for row in table.rows]) == pytest.approx(
        [p.difference for p in pairs]
    )
    assert all(row[3] >= row[4] for row in table.rows), "corrected p is not smaller"


def test_a_task_that_names_no_metric_of_its_own_is_compared_by_the_first():
    metrics = [Rouge("1"), Rouge("L")]
    assert headline_of(metrics, "rougeL") is metrics[1]
    for name in ("", "bleu"):
        assert headline_of(metrics, name) is metrics[0]
    assert headline_of([], "bleu") is None
