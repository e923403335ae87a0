import math

from lslm_lightning.contracts import Score
from lslm_lightning.reports import Code, Heading, Missing, ScoreTable


def score(metric, value, higher=True, signature="tok:13a", n_example=1000, low=None, high=None):
    return Score(metric, value, "", higher, signature, n_example, low, high)


def test_one_system_is_a_row_a_metric_with_interval_and_signature():
    table = ScoreTable(
        {"run": [score("BLEU", 37.2412, low=36.1, high=38.349), score("TER", 45.7, False)]}
    ).table()
    assert table.columns == ["metric", "score", "95 % interval", "examples"]
    first, second = table.rows
    assert first[0] == Heading("BLEU", "", True)
    assert [str(first[1]), str(first[2]), first[3]] == ["37.24", "36.10 to 38.35", 1000]
    assert str(second[1]) == "45.70"
    assert second[2] is None
    assert table.notes == [Code("tok:13a", "BLEU"), Code("tok:13a", "TER")]


def test_without_intervals_there_is_no_column_for_them():
    assert ScoreTable({"run": [score("BLEU", 1.0)]}).table().columns == [
        "metric",
        "score",
        "examples",
    ]


def test_the_best_of_several_follows_the_direction():
    systems = {
        "a": [score("BLEU", 30.0), score("TER", 50.0, False)],
        "b": [score("BLEU", 31.0), score("TER", 40.0, False)],
    }
    a, b = ScoreTable(systems).table().rows
    assert [cell.best for cell in a[1:]] == [False, False]
    assert [cell.best for cell in b[1:]] == [True, True]


def test_scores_with_different_signatures_or_examples_are_not_ranked():
    for other in {"signature": "tok:zh"}, {"n_example": 5}:
        table = ScoreTable(
            {"a": [score("BLEU", 30.0)], "b": [score("BLEU", 31.0, **other)]}
        ).table()
        assert not any(row[1].best for row in table.rows)
        assert [note.caption.split("; ")[:3] for note in table.notes] == [
            ["BLEU", name, "not ranked"] for name in "ab"
        ]


def test_a_system_that_stands_apart_is_shown_and_never_the_best():
    """A system that answered another test set, even one of the same size, is not ranked."""
    systems = {
        "a": [score("BLEU", 30.0)],
        "b": [score("BLEU", 31.0)],
        "other": [score("BLEU", 99.0)],
    }
    rows = ScoreTable(systems, apart=["other"]).table().rows
    assert [(row[0], str(row[1]), row[1].best) for row in rows] == [
        ("a", "30.00", False),
        ("b", "31.00", True),
        ("other", "99.00", False),
    ]
    assert [note.caption for note in ScoreTable(systems, apart=["other"]).table().notes] == [
        "BLEU; a, b; 1,000 examples",
        "BLEU; other; not ranked; 1,000 examples",
    ]
    for apart in (["a", "other"], ["a", "b", "other"]):
        assert not any(row[1].best for row in ScoreTable(systems, apart=apart).table().rows)


def test_metrics_that_are_read_alike_share_a_note():
    row = [score("BLEU", 30.0), score("chrF", 50.0), score("TER", 2.0, False, "tok:none", 1)]
    assert ScoreTable({"a": row, "b": row}).table().notes == [
        Code("tok:13a", "BLEU, chrF; 1,000 examples"),
        Code("tok:none", "TER; 1 example"),
    ]


def test_what_is_missing_is_a_dash_with_a_reason():
    systems = {
        "a": [score("BLEU", 30.0), score("bits/byte", math.nan, False)],
        "b": [score("BLEU", 31.0)],
    }
    table = ScoreTable(systems, reasons={("a", "bits/byte"): "its vocabulary has <unk>"}).table()
    assert table.rows[0][2] == Missing("its vocabulary has <unk>")
    assert table.rows[1][2] == Missing("not defined for this system")
    assert table.reasons() == ["its vocabulary has <unk>", "not defined for this system"]
    assert table.numeric() == [False, True, True]
