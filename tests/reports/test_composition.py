import math

import pytest

from lslm_lightning.contracts import Score
from lslm_lightning.reports import (
    Code,
    Columns,
    Folded,
    Histogram,
    RunFacts,
    Sample,
    Samples,
    ScoreTable,
    Section,
    Text,
    learning_curves,
    length_section,
    render_html,
    render_markdown,
    run_report,
)
from lslm_lightning.reports.blocks import Missing


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
    render_html(
        run_report(RunFacts("t", "n"), ScoreTable({}), [], length_section({"output": []}, []))
    )


def report():
    facts = RunFacts(
        "language_modeling",
        "shakespeare",
        "tinyshakespeare, test",
        corpus_digest="sha256:abc",
        n_parameter=1234567,
        seed=7,
        git_dirty=True,
        command="lslm run --config a.yaml",
        versions={"torch": "2.13.0"},
        seconds=723,
    )
    scores = ScoreTable(
        {"run": [Score("bits/byte", 2.0831, "bits/byte", False, "stride:64", 1, 2.05, 2.11)]}
    )
    rows = [row(step, "val/loss", 3.0 / step) for step in (1, 2)]
    samples = Samples([Sample("s1", {"output": "To be"}, "ROMEO:")], source_name="prompt")
    return run_report(
        facts,
        scores,
        rows,
        length_section({"output": [2]}, [3]),
        samples,
        [Section("Hard passages", [Text("none")])],
    )


def test_a_run_report_has_its_sections_in_order_and_leads_with_the_first_score():
    made = report()
    assert [section.title for section in made.sections] == [
        "Scores",
        "Run details",
        "Learning curves",
        "Lengths",
        "Samples",
        "Hard passages",
    ]
    assert made.kicker == "Language modeling"
    assert (
        made.lead
        == "bits/byte 2.083 (95 % interval 2.050 to 2.110) on tinyshakespeare, test, 1 example."
    )


def test_what_was_not_recorded_says_so():
    facts, code, versions = report().sections[1].blocks
    assert facts.facts["Licence"] == facts.facts["Git commit"] == Missing("not recorded")
    assert facts.facts["Wall time"] == "12 min 3 s"
    assert facts.facts["Seed"] == "7"
    assert facts.facts["Uncommitted changes"] is True
    assert code == Code("lslm run --config a.yaml", "To repeat this run")
    assert versions.title == "Versions of 1 package"


SCORES = ["shakespeare", "bits/byte", "2.083", "2.050 to 2.110", "stride:64"]
FACTS = [
    "sha256:abc",
    "1,234,567",
    "12 min 3 s",
    "lslm run --config a.yaml",
    "2.13.0",
    "not recorded",
    "yes",
]


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_both_formats_say_the_same(render):
    page = render(report())
    for words in [
        *SCORES,
        *FACTS,
        "To be",
        "ROMEO:",
        "prompt",
        "Hard passages",
        "Learning curves",
        "Length in tokens",
        "loss",
    ]:
        assert words in page, words


def test_a_run_without_scores_or_samples_has_no_empty_sections():
    made = run_report(RunFacts("t", "n"), ScoreTable({}), [], samples=Samples([]))
    assert [section.title for section in made.sections] == ["Run details"]
    assert made.lead == ""
    assert isinstance(Columns([]), Columns)
