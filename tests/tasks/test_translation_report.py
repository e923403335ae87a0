"""Sections of an evaluation of translations."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.reports.blocks import Table
from tasks.translation import report

WORDS = {"haus": "house", "buch": "book", "das": "the", "rot": "red", "steht": "stands"}
N = 40


def examples() -> list[Example]:
    chance = random.Random(0)
    texts = [chance.choices(list(WORDS), k=6) for _ in range(N)]
    return [
        Example(f"{i}", " ".join(own), (" ".join(WORDS[word] for word in own),), "en", "de")
        for i, own in enumerate(texts)
    ]


def table_of(asked: list[Example], outputs: list[str]) -> Table:
    """Return the table of coverage."""
    given = [Prediction(e.id, output=text) for e, text in zip(asked, outputs, strict=True)]
    section = next(
        each
        for each in report.compared(asked, {"system": given})
        if each.title == "Coverage of the source"
    )
    [table] = section.blocks
    assert isinstance(table, Table)
    return table


def test_words_of_a_large_set_are_aligned_in_evenly_spaced_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = examples()
    outputs = [" ".join(e.references[0].split()[i % 4 :]) for i, e in enumerate(asked)]
    whole = table_of(asked, outputs)
    some = table_of(asked[::4], outputs[::4])
    assert whole.rows != some.rows
    monkeypatch.setattr(report, "N_ALIGNED", N // 4)
    sampled = table_of(asked, outputs)
    *notes, note = sampled.notes
    assert sampled == replace(some, notes=[*notes, note])
    assert [str(each) for each in notes] == [str(each) for each in some.notes]
    assert f"{N // 4} of {N}" in str(note)


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11, 19, 20, 1000])
def test_evenly_spaced_items_differ_and_cover_the_whole(n: int) -> None:
    found = report.evenly_spaced(n, 10)
    assert len(found) == min(n, 10)
    assert sorted(set(found)) == found
    assert all(0 <= i < n for i in found)
    steps = [b - a for a, b in pairwise(found)]
    assert not steps or max(steps) - min(steps) <= 1
