"""MLflow description of a run: sentences first, then scores with intervals, the command and links
to the report.
"""

import math

from lslm_lightning.contracts import Score
from lslm_lightning.reports.description import (
    MOST_COLUMNS,
    bounds,
    describe,
    ranking_table,
    score_table,
)

BLEU = Score("bleu", 43.214, "", True, "sig", 10, 41.8, 44.6)
TER = Score("ter", 50.0, "%", False, "sig", 10, 48.0, 52.0)


def other(value: float, metric: str = "bleu") -> Score:
    return Score(metric, value, "", True, "sig", 10)


def test_parts_come_in_order_and_only_those_that_are_there() -> None:
    text = describe(
        score_table({"this run": [BLEU], "copy": [other(4.5)]}),
        "**Better than copy.**",
        {"Model": "LSTM", "Sanity checks": ""},
        "lslm run --config a.yaml",
        {"report": "#/experiments/1/runs/ab/artifacts/report/index.html", "folder": "/runs/a"},
    )
    parts = [
        "**Better than copy.**",
        "43.21",
        "- Model: LSTM",
        "lslm run --config a.yaml",
        "[report](#/experiments/1",
        "`/runs/a`",
    ]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert text.startswith(parts[0])
    assert "Sanity" not in text
    assert describe() == ""


def test_a_row_for_each_metric_with_the_interval_of_the_run_and_the_baselines() -> None:
    lines = score_table({"this run": [BLEU, TER], "copy": [other(4.5)]}).splitlines()
    assert lines[0] == "| metric | this run | 95 % interval | copy |"
    assert lines[2:] == [
        "| BLEU ↑ | **43.21** | 41.8 to 44.6 | 4.5 |",
        "| TER ↓ % | **50** | 48 to 52 | – |",
    ]


def test_a_table_without_intervals_has_no_column_for_them() -> None:
    assert "interval" not in score_table({"mean": [other(1.0)]})
    assert bounds(other(1.0)) == ""
    assert bounds(BLEU) == "41.8 to 44.6"


def test_systems_are_ranked_by_the_headline_whichever_way_it_goes() -> None:
    scores = {"a": [other(1.0)], "none": [], "undefined": [other(math.nan)], "b": [BLEU, TER]}
    assert [line.split(" | ")[0] for line in ranking_table(scores, "bleu").splitlines()[2:]] == [
        "| b",
        "| a",
        "| undefined",
    ]
    assert "| b | **43.21** | 41.8 to 44.6 |" in ranking_table(scores, "bleu")
    wer = {
        name: [Score("wer", value, "%", False, "", 1)]
        for name, value in (("bad", 90.0), ("good", 10.0))
    }
    assert ranking_table(wer, "wer").index("good") < ranking_table(wer, "wer").index("bad")
    assert ranking_table({}, "bleu") == ""


def test_what_has_no_number_is_a_dash() -> None:
    assert "**–**" in score_table({"this run": [other(math.nan)]})


def test_many_systems_are_left_to_the_report() -> None:
    scores = {f"system {i}": [other(float(i))] for i in range(40)}
    assert len(score_table(scores).splitlines()[0].split("|")) == MOST_COLUMNS + 4


def test_names_and_commands_are_text_whatever_is_in_them() -> None:
    text = describe(
        score_table({"<b>|a": [BLEU]}),
        facts={"Model": "<script>[x](y)"},
        command="lslm run --job.name='```\n# x'",
    )
    assert "<script>" not in text
    assert "<b>" not in text
    assert "\\|a" in text
    assert "````" in text
