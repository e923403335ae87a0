import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.contracts import Example
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.systems.baselines import Xz, copy_source, most_frequent, random_answer
from tasks.language_modeling.data import PASSAGE, passages


@given(st.text(alphabet="ab \n。月", max_size=400), st.integers(0, 40))
def test_passages_joined_are_the_text(unit, repeat):
    text = unit * repeat
    pieces = list(passages(text))
    assert "".join(pieces) == text
    assert all(PASSAGE <= len(p) <= 2 * PASSAGE for p in pieces[:-1])
    assert len(pieces[-1]) <= 2 * PASSAGE


def test_passages_end_with_a_line_where_there_is_one():
    text = ("x" * 50 + "\n") * 500
    assert all(p.endswith("\n") for p in passages(text))


def test_xz_costs_what_the_file_costs():
    import lzma

    texts = ["a" * 1000, "红绿蓝" * 50, "some words, some more words"]
    examples = [Example(str(i), "", (t,)) for i, t in enumerate(texts)]
    metric = BitsPerByte()
    total = sum(metric.statistics(p, e.references) for p, e in zip(Xz().log_prob(examples), examples, strict=True))
    whole = "".join(texts).encode()
    assert metric.score(total) == pytest.approx(8 * len(lzma.compress(whole, preset=9)) / len(whole))


def test_baselines_answer_as_their_names_say():
    examples = [Example(str(i), f"source {i}", ("r",)) for i in range(200)]
    assert [p.output for p in copy_source().generate(examples)] == [e.source for e in examples]
    assert {p.output for p in most_frequent(["a", "b", "b"]).generate(examples)} == {"b"}
    drawn = [p.output for p in random_answer(["a", "b"]).generate(examples)]
    assert 60 < drawn.count("a") < 140
    assert drawn == [p.output for p in random_answer(["a", "b"]).generate(examples)]
    again = {p.id: p.output for p in random_answer(["a", "b"]).generate(examples[::-1])}
    assert drawn == [again[e.id] for e in examples]
