import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.contracts import Example, Prediction, Token
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.systems.baselines import CopySource, Xz, most_frequent, random_answer
from tasks.language_modeling.copies import longest_copy, searchable
from tasks.language_modeling.data import PASSAGE, LanguageModelingData, passages
from tasks.language_modeling.report import END, by_position, byte_offsets, pieces, scored


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
    total = sum(
        metric.statistics(e, p) for p, e in zip(Xz().log_prob(examples), examples, strict=True)
    )
    whole = "".join(texts).encode()
    assert metric.score(total) == pytest.approx(
        8 * len(lzma.compress(whole, preset=9)) / len(whole)
    )


def test_baselines_answer_as_their_names_say():
    examples = [Example(str(i), f"source {i}", ("r",)) for i in range(200)]
    assert [p.output for p in CopySource().generate(examples)] == [e.source for e in examples]
    assert {p.output for p in most_frequent(["a", "b", "b"]).generate(examples)} == {"b"}
    drawn = [p.output for p in random_answer(["a", "b"]).generate(examples)]
    assert 60 < drawn.count("a") < 140
    assert drawn == [p.output for p in random_answer(["a", "b"]).generate(examples)]
    again = {p.id: p.output for p in random_answer(["a", "b"]).generate(examples[::-1])}
    assert drawn == [again[e.id] for e in examples]


# The report


def scorer(examples, n_context):
    """Every character one token, costing as many bits as its place in the window, which starts anew
    after `n_context`.
    """
    for example in examples:
        text = example.references[0]
        contexts = [1 + i % n_context for i in range(len(text))]
        tokens = tuple(Token(i, c * math.log(2), c) for i, c in enumerate(contexts))
        yield Prediction(
            example.id, nats=sum(t.nats for t in tokens), n_token=len(tokens), tokens=tokens
        )


def test_bits_by_position_in_the_window_add_up():
    examples = [Example(f"a#{i}", "", ("红" * 24,), "zh") for i in range(3)]
    table = by_position(examples, {"model": list(scorer(examples, 8))})
    rows = {row[0]: row[2] for row in table.rows}
    assert {row[0]: row[1] for row in table.rows} == {
        "1": 9,
        "2 to 3": 18,
        "4 to 7": 36,
        "8 to 15": 9,
    }
    assert rows == pytest.approx(
        {"1": 1 / 3, "2 to 3": 2.5 / 3, "4 to 7": 5.5 / 3, "8 to 15": 8 / 3}
    )


@given(st.text(max_size=50))
def test_bytes_before_each_character(text):
    assert byte_offsets(text).tolist() == [len(text[:i].encode()) for i in range(len(text) + 1)]


@given(st.lists(st.integers(0, 12), max_size=12))
def test_pieces_of_a_passage_are_the_passage(starts):
    """Whatever tokens begin where, several at one character included; the end of the text is a sign
    of its own.
    """
    text = "明月几时有,把酒问青天"
    inside = sorted(s for s in starts if s < len(text))
    prediction = Prediction(
        "a", nats=1.0, tokens=tuple(Token(s, 0.5, 1) for s in [*inside, len(text)])
    )
    found = pieces(text, prediction)
    assert "".join(piece for piece, _ in found) == text + END
    assert sum(value or 0 for _, value in found) == pytest.approx(
        0.5 * (len(inside) + 1) / math.log(2)
    )


@given(st.text(alphabet="ab月 ", max_size=40), st.text(alphabet="ab月 ", max_size=60))
def test_the_longest_copy_against_trying_all(text, known):
    every = [
        text[i:j]
        for i in range(len(text))
        for j in range(i + 1, len(text) + 1)
        if text[i:j] in known
    ]
    assert len(longest_copy(text, known)) == max(map(len, every), default=0)
    assert longest_copy(text, known) in known


def test_copies_do_not_run_over_the_end_of_a_text():
    assert longest_copy("abcd", searchable(["xab", "cdx"]).text) == "ab"


def test_prompts_are_beginnings_of_the_exam(tmp_path):
    text = "".join(f"Sentence number {i} of a long story.\n" for i in range(400))
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.txt").write_text(text)
    data = LanguageModelingData(str(tmp_path))
    prompts = data.prompts("test")
    assert len(prompts) == 4
    assert len({p.id for p in prompts} | {e.id for e in data.examples("test")}) == 4 + len(
        data.examples("test")
    )
    for prompt in prompts:
        assert 0 < len(prompt.source) <= 200
        assert prompt.source + prompt.references[0] in text


def test_what_was_not_paid_for_as_a_whole_is_in_no_picture_beside_what_was():
    examples = [Example("1", "", ("red caterpillar",))]
    answers = {
        "dash": [Prediction("1", nats=1.0, n_token=3, unknown=1)],
        "spelled": [Prediction("1", nats=1.0, unknown=1, spelling=7.0)],
    }
    [curves, *_] = scored(examples, {"dash": answers["dash"]})[0].blocks
    assert [series.name for series in curves.series] == ["dash"], "alone it can be looked at"
    [curves, *_] = scored(examples, answers)[0].blocks
    assert [(series.name, series.y) for series in curves.series] == [
        ("spelled", [pytest.approx(8 / math.log(2) / 15)])
    ]
