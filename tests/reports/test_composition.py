import math
from dataclasses import replace

import numpy as np
import pytest

from lslm_lightning.contracts import Example, Prediction, Score
from lslm_lightning.evaluation.results import Entry, compute_results
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.reports import (
    Code,
    Folded,
    Histogram,
    Report,
    Section,
    Text,
    compose_report,
    details_section,
    learning_curves,
    length_section,
    model_section,
    render_html,
    render_markdown,
)
from lslm_lightning.reports.conclusion import NOTHING, Conclusion, score_sentence
from lslm_lightning.reports.trained import Trained, training_sections
from tests.reports.recorded import recorded


def row(step, name, value):
    return {"step": step, "name": name, "value": value}


def test_splits_of_a_quantity_share_a_figure_and_validation_leads():
    rows = [
        row(s, name, 1.0)
        for name in ("train/lr", "val/bleu", "train/loss", "val/loss")
        for s in (1, 2)
    ]
    shown, folded = learning_curves([*rows, row(2, "test/bleu", 3.0)])
    assert [
        (figure.caption, [series.name for series in figure.series]) for figure in shown.blocks
    ] == [
        ("loss", ["val", "train"]),
        ("BLEU", ["val"]),
    ]
    assert isinstance(folded, Folded)
    assert [figure.caption for figure in folded.blocks[0].blocks] == ["lr"]


def test_of_a_step_logged_twice_the_last_value_counts_and_null_is_nan():
    [columns] = learning_curves(
        [row(1, "val/loss", 9.0), row(2, "val/loss", None), row(1, "val/loss", 5.0)]
    )
    [series] = columns.blocks[0].series
    assert series.x == [1, 2]
    assert series.y[0] == 5.0
    assert math.isnan(series.y[1])


def test_the_only_validation_stands_beside_the_curve_of_training():
    rows = [
        row(1, "train/loss", 3.0),
        row(2, "train/loss", 2.0),
        row(2, "val/loss", 2.5),
        row(2, "test/loss", 2.4),
    ]
    [columns] = learning_curves(rows)
    assert [series.name for series in columns.blocks[0].series] == ["val", "train"]
    assert learning_curves([row(1, "model/parameters", 9.0), row(1, "val/loss", 1.0)]) == []


def test_nothing_logged_is_no_curve():
    assert learning_curves([]) == learning_curves([row(1, "val/loss", 1.0)]) == []


def test_lengths_are_compared_with_the_references():
    [columns] = length_section({"output": [0, 4]}, [4, 4], "words").blocks
    histogram, facts = columns.blocks
    assert isinstance(histogram, Histogram)
    assert list(length_section({"a": [1], "b": [1]}, [1]).blocks[0].blocks[0].values) == [
        "a",
        "reference",
        "b",
    ]
    assert facts.facts == {
        "Mean of output": 2,
        "Mean of reference": 4,
        "Ratio of output to reference": 0.5,
        "Empty in output": 1,
    }
    render_html(Report("n", [length_section({"output": []}, [])]))


EXAMPLES = [
    Example(f"s{i}", f"ROMEO: {i}", ("a dog runs" + " far" * (i % 8) + " home",)) for i in range(40)
]


def entry(name, n_right):
    """Return a system that answers the first `n_right` examples with the reference."""
    outputs = [e.references[0] if i < n_right else f"To be {i}" for i, e in enumerate(EXAMPLES)]
    predictions = [Prediction(e.id, text) for e, text in zip(EXAMPLES, outputs, strict=True)]
    return Entry(name, predictions, facts={"seconds_per_example": 0.01, "n_parameter": 1234567})


def report(*entries, **sections):
    results = compute_results(EXAMPLES, entries, [Bleu("en")], "bleu", n_resample=20)
    facts = {"Digest of the data": Code("sha256:abc"), "Uncommitted changes": True, "Seed": "7"}
    details = details_section(facts, "lslm run --config a.yaml", {"torch": "2.13.0"}, kind="run")
    conclusion = Conclusion("better", "It is better.", ("BLEU 50.",))
    return compose_report(
        "shakespeare",
        "language_modeling",
        conclusion,
        results,
        details,
        EXAMPLES,
        [Bleu("en")],
        **sections,
    )


def whole():
    rows = [row(step, "val/loss", 3.0 / step) for step in (1, 2)]
    about = model_section({"Architecture": "LSTM: d_model 8"}, 1234567)
    return report(
        entry("this run", 20),
        entry("copy", 5),
        beside_scores=[Section("Over seeds", [Text("none")])],
        lengths=length_section({"this run": [2]}, [3]),
        training=[about, *training_sections([Trained("this run", {}, rows)], "bleu")],
        of_task=[Section("Hard passages", [Text("none")])],
    )


ORDER = [
    "Scores",
    "Over seeds",
    "Sanity checks",
    "Quality vs cost",
    "Breakdown by BLEU",
    "Lengths",
    "Model and training",
    "Learning curves",
    "Hard passages",
    "Samples",
    "Run details",
]


def test_all_reports_have_their_sections_in_one_order():
    made = whole()
    assert [section.title for section in made.sections] == ORDER
    assert made.kicker == "Language modeling"
    assert (made.lead, made.details) == ("It is better.", ("BLEU 50.",))
    alone = [section.title for section in report(entry("this run", 20)).sections]
    assert alone == [
        title.replace("Quality vs cost", "Costs")
        for title in ORDER
        if title not in ("Over seeds", "Lengths", "Model and training", "Learning curves")
        and title != "Hard passages"
    ]


def test_a_task_without_metrics_has_a_page():
    results = replace(recorded({"this run": []}), entries={"this run": entry("this run", 20)})
    made = compose_report("n", "t", NOTHING, results, details_section({}, "", {}), EXAMPLES, [])
    assert "Samples" not in [section.title for section in made.sections]
    assert made.sections[-1].title == "Run details"


def test_scores_that_were_recorded_have_no_checks_and_no_outputs():
    score = Score("bleu", 20.0, "", True, "", 10)
    made = compose_report(
        "a against b",
        "translation",
        NOTHING,
        recorded({"a": [score], "b": [score]}, "bleu"),
        details_section({}, "", {}),
    )
    assert [section.title for section in made.sections] == ["Scores", "Run details"]
    assert made.lead == ""
    nothing = compose_report("n", "t", NOTHING, recorded({}), details_section({}, "", {}))
    assert [section.title for section in nothing.sections] == ["Run details"]


def test_run_details_say_how_to_repeat_the_run():
    facts, code, versions = whole().sections[-1].blocks
    assert facts.facts["Uncommitted changes"] is True
    assert code == Code("lslm run --config a.yaml", "To repeat this run")
    assert versions.title == "Versions of 1 package"


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_both_formats_say_the_same(render):
    page = render(whole())
    for words in [
        "shakespeare",
        "this run",
        "Comparison with baselines by BLEU",
        "sha256:abc",
        "1,234,567",
        "lslm run --config a.yaml",
        "2.13.0",
        "To be",
        "ROMEO:",
        "Hard passages",
        "Length in tokens",
        "loss",
    ]:
        assert words in page, words


def test_the_sentence_of_a_score_has_interval_unit_and_corpus():
    score = Score("bits/byte", 2.0831, "bits/byte", False, "stride:64", 1, 2.05, 2.11)
    assert score_sentence(score, "tinyshakespeare") == (
        "bits/byte 2.083 (95 % interval 2.050 to 2.110) on tinyshakespeare, 1 example."
    )
    assert score_sentence(Score("bleu", np.nan, "", True, "", 1), None) == ""


def test_one_trained_run_shows_all_it_logged_and_several_what_they_share():
    rows = [row(step, name, 3.0) for name in ("val/loss", "train/lr") for step in (1, 2)]
    one, other = (Trained(name, {"lr": name}, rows) for name in "ab")
    [curves] = training_sections([one], "bleu")
    assert [type(block).__name__ for block in curves.blocks] == ["Columns", "Folded"]
    both = training_sections([one, other], "bleu")
    assert [section.title for section in both] == ["Learning curves", "Config differences"]
    assert training_sections([], "bleu") == training_sections([Trained("a", {}, [])], "bleu") == []
