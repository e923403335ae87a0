"""The end of a job: a run that does not beat a baseline says so before any table."""

import math

import pytest

from lslm_lightning.commands.finish import unbeaten
from lslm_lightning.contracts import Score
from lslm_lightning.evaluation.scoring import Scores
from lslm_lightning.reports import RunFacts, ScoreTable, render_html, render_markdown, run_report


def scored(value: float, higher_is_better: bool = True) -> Scores:
    return Scores([Score("other", 1.0, "", True, "", 9), Score("m", value, "", higher_is_better, "", 9)], [], {})


def beside(higher_is_better: bool = True, **values: float) -> dict[str, Scores]:
    return {name: scored(value, higher_is_better) for name, value in values.items()}


@pytest.mark.parametrize(
    ("own", "higher_is_better", "values", "named"),
    [
        (20.8, True, {"name": 21.97, "first": 17.4}, ["name"]),
        (27.0, True, {"name": 21.97, "first": 17.4}, []),
        (2.154, False, {"xz": 2.033}, ["xz"]),
        (1.739, False, {"xz": 2.033}, []),
        (5.0, True, {"equal": 5.0}, ["equal"]),
        (5.0, False, {"equal": 5.0}, ["equal"]),
        (math.nan, True, {"name": 1.0}, ["name"]),
        (1.0, True, {"name": math.nan}, []),
        (math.nan, True, {"name": math.nan}, []),
        (1.0, True, {"a": 2.0, "b": 3.0, "c": 0.5}, ["a", "b"]),
        (1.0, True, {}, []),
    ],
)
def test_baselines_that_are_not_beaten_are_named(own, higher_is_better, values, named):
    words = unbeaten("m", scored(own, higher_is_better), beside(higher_is_better, **values))
    assert bool(words) == bool(named)
    assert [name for name in values if f"{name} has " in words] == named
    if len(named) > 1:
        assert f"does not beat {len(named)} baselines" in words


def test_a_run_without_baselines_is_compared_with_none():
    assert unbeaten("no such metric", scored(1.0), {}) == ""


def test_the_page_opens_with_it():
    words = unbeaten("m", scored(20.8), beside(name=21.97))
    table = ScoreTable({"run": scored(20.8).scores, "name": scored(21.97).scores})
    report = run_report(RunFacts("summarization", "run"), table, [], warning=words)
    for page in (render_html(report), render_markdown(report)):
        assert words in page
        assert page.index(words) < page.index("other 1.0") < page.index("Scores"), "before the score that leads the page"
