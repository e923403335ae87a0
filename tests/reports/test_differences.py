import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.reports.differences import MAX_UNITS, compare, units

TEXT = st.text(alphabet="ab c,。中文\n", max_size=30)


def marked(pieces):
    return [piece.text for piece in pieces if piece.differs]


@given(TEXT, st.lists(TEXT, max_size=3))
def test_pieces_join_to_the_texts(answer, references):
    pieces, others = compare(answer, references)
    assert "".join(piece.text for piece in pieces) == answer
    assert ["".join(piece.text for piece in other) for other in others] == references


@given(TEXT)
def test_a_text_does_not_differ_from_itself(text):
    pieces, [other] = compare(text, [text])
    assert marked(pieces) == marked(other) == []


@given(st.text(alphabet="ab ", max_size=20), st.text(alphabet="yz ", max_size=20))
def test_everything_differs_from_a_text_without_a_common_word(answer, reference):
    pieces, [other] = compare(answer, [reference])
    assert " ".join(marked(pieces)).split() == answer.split()
    assert " ".join(marked(other)).split() == reference.split()


def test_english_differs_by_words_and_chinese_by_characters():
    pieces, [other] = compare("The cat sat down.", ["The cats sat down."])
    assert (marked(pieces), marked(other)) == (["cat"], ["cats"])
    pieces, [other] = compare("我想再呆一晚。", ["我想再住一晚。"])
    assert (marked(pieces), marked(other)) == (["呆"], ["住"])


def test_neighbours_are_one_mark_with_the_space_between():
    pieces, _ = compare("a big red dog", ["a dog"])
    assert marked(pieces) == ["big red"]


def test_the_closest_reference_is_compared_and_others_stay_plain():
    pieces, others = compare("a red dog", ["nothing like it", "a blue dog"])
    assert marked(pieces) == ["red"]
    assert [marked(other) for other in others] == [[], ["blue"]]


@pytest.mark.parametrize("references", [[], ["other " * (MAX_UNITS + 1)]])
def test_nothing_is_marked_without_a_reference_or_in_a_very_long_text(references):
    assert marked(compare("a b", references)[0]) == []


def test_units_are_words_marks_and_characters():
    text = "Don't go， 东京 for 12.5"
    assert [text[start:end] for start, end in units(text)] == [
        "Don",
        "'",
        "t",
        "go",
        "，",
        "东",
        "京",
        "for",
        "12",
        ".",
        "5",
    ]
