"""Numbers on the page of an audit."""

import pytest

from lslm_lightning.auditing.finding import AuditFigure, AuditTable
from lslm_lightning.auditing.page import figure_table, shown_table
from lslm_lightning.auditing.shares import share_figure


@pytest.mark.parametrize("n_found", [0, 1, 2, 120, 256])
def test_a_figure_and_its_interval_have_the_same_decimals(n_found: int) -> None:
    other = AuditFigure("longest", "longest copy", 812, "characters")
    shown = figure_table([other, share_figure("copied", "texts with a copy", n_found, 256)])
    _, value, interval = shown.rows[1]
    texts = [str(value), *str(interval).split(" to ")]
    exact = [text for text in texts if text not in ("0", "100")]
    assert len({len(text.partition(".")[2]) for text in exact}) == 1, texts


def test_a_column_has_no_more_decimals_than_its_numbers_need() -> None:
    rows = (
        ("perplexity", 18, 91.2, None),
        ("window", 17, 88.0, 0.0015),
        ("chance", 9.4, 46.9, 0.5),
    )
    shown = shown_table(AuditTable("caption", ("ranking", "copies", "precision", "p"), rows))
    columns = list(zip(*shown.rows, strict=True))
    assert list(map(str, columns[1])) == ["18", "17", "9.4"]
    assert list(map(str, columns[2])) == ["91.2", "88.0", "46.9"]
    assert columns[3][0] is None, "a dash without a note: the unchanged inputs have no difference"
    assert not shown.reasons()
