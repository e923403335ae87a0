from itertools import pairwise

import pytest

from lslm_lightning.reports import Sample, Samples
from lslm_lightning.reports.samples import LONG_SOURCE


@pytest.mark.parametrize(("n", "limit"), [(300, 40), (41, 40), (7, 40), (0, 40)])
def test_a_limit_takes_samples_evenly_and_keeps_count(n, limit):
    samples = Samples([Sample(str(i), {"output": "x"}) for i in range(n)]).limited(limit, 100)
    chosen = [int(sample.id) for sample in samples.samples]
    assert len(chosen) == min(n, limit)
    assert samples.total == n
    if chosen:
        gaps = {b - a for a, b in pairwise(chosen)}
        assert chosen[0] == 0
        assert not gaps or max(gaps) - min(gaps) <= 1
    assert samples.shown == (
        f"{limit} of {n} examples, evenly spaced." if n > limit else f"{n} examples."
    )


def test_limiting_again_remembers_how_many_there_were():
    samples = Samples([Sample(str(i), {}) for i in range(100)])
    assert samples.limited(50, 10).limited(5, 10).shown == "5 of 100 examples, evenly spaced."


def test_long_texts_are_cut_and_the_rest_is_counted():
    [sample] = (
        Samples([Sample("1", {"a": "y" * 130, "b": None, "c": ""}, "x" * 99, ["z" * 101])])
        .limited(1, 100)
        .samples
    )
    assert sample.outputs == {"a": "y" * 100 + " […30 more characters]", "b": None, "c": ""}
    assert sample.source == "x" * 99
    assert sample.references == ["z" * 100 + " […1 more characters]"]


@pytest.mark.parametrize("source", ["short", "word " * 1000, "长" * 1000])
def test_a_long_source_folds_between_words(source):
    head, rest = Sample("1", {}, source).source_parts()
    assert head + rest == source
    assert (rest == "") == (len(source) <= LONG_SOURCE)
    assert len(head) <= LONG_SOURCE
    assert not rest or rest[0] in " 长"


def test_references_are_marked_for_one_output_only():
    outputs, [reference] = Sample("1", {"a": "a red dog"}, references=["a blue dog"]).compared()
    assert [piece.text for piece in reference if piece.differs] == ["blue"]
    outputs, [reference] = Sample(
        "1", {"a": "a red dog", "b": None}, references=["a blue dog"]
    ).compared()
    assert [piece.text for piece in outputs["a"] if piece.differs] == ["red"]
    assert outputs["b"] is None
    assert not any(piece.differs for piece in reference)
