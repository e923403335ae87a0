"""A corpus that other packages made is said so, in the terminal and on the page."""

from pathlib import Path

import pytest

from lslm_lightning.corpora.builtin import cldr

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs/translation/cldr_demo.yaml"


def test_scores_that_do_not_compare_are_said_so(
    lslm, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cldr, "PACKAGES", {"babel": "0.1"})
    monkeypatch.setattr(cldr, "SIZES", {"test": 8, "val": 8, "train": 600})
    cldr._splits.cache_clear()
    outcome = lslm(
        *("run", "--config", CONFIG, "--trainer.max_steps", "1", "--job.minutes", "null"),
        *("--trainer.val_check_interval", "1", "--trainer.precision", "32"),
    )
    cldr._splits.cache_clear()
    assert outcome.status == 0, outcome.err
    assert "do not compare" in outcome.out + outcome.err
    (page,) = project.glob("runs/*/*/report/index.html")
    assert "in place of 0.1" in page.read_text("utf-8")
    shown = lslm("data", "check", "cldr")
    cldr._splits.cache_clear()
    assert "in place of 0.1" in shown.out
