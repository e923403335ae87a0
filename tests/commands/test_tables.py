"""Tables in the terminal, and the notes below them."""

import pytest

from lslm_lightning.reports.blocks import Code, Missing, Table
from lslm_lightning.reports.formatting import DASH
from lslm_lightning.reports.terminal import show_table


@pytest.mark.parametrize("width", ["20", "80", "200"])
def test_notes_stay_whole_lines_however_narrow_the_output_is(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", width)
    signature = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
    reason = "it writes no text, and nothing of it can be scored in this metric"
    notes = [Code(signature, "BLEU"), "一条很长的注释，" * 20]
    show_table(Table(["system", "BLEU"], [["a", 1.5], ["b", Missing(reason)]], notes=notes))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [f"{DASH} (1) {reason}", f"BLEU: {signature}", "一条很长的注释，" * 20]


def test_texts_are_no_markup(capsys):
    show_table(Table(["[red]system"], [["[bold]a[/]"]], "[link=x]caption", notes=["[blink]note"]))
    shown = capsys.readouterr().out
    for text in ("[red]system", "[bold]a[/]", "[link=x]caption", "[blink]note"):
        assert text in shown
