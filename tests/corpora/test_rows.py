"""Records become rows: columns chosen, lists joined or kept, empty fields never passed over in
silence.
"""

import logging

import pytest

from lslm_lightning.corpora.rows import required_fields, task_of, to_row, without_empty

RECORD = {
    "id": "f:1",
    "title": "T",
    "body": ["a", "b"],
    "ann1": "x",
    "n": 3,
    "none": None,
    "translation": {"en": "hi", "zh": "嗨"},
}
SUMMARIZATION = required_fields("summarization", ("en",))


def test_columns() -> None:
    row = to_row(
        RECORD,
        {"document": "body", "summary": ["title", "ann0", "ann1"], "name": "n"},
        SUMMARIZATION,
        join="|",
    )
    assert row == {"id": "f:1", "document": "a|b", "summary": ["T", "x"], "name": "3"}
    assert to_row(
        RECORD, {"en": "translation.en", "zh": "translation.zh", "id": "n"}, ("en", "zh")
    ) == {"id": "3", "en": "hi", "zh": "嗨"}


def test_a_missing_column_is_named_with_those_there() -> None:
    with pytest.raises(
        ValueError, match=r"^f:1: no column 'text' for text; it has title, body, .*: set columns"
    ):
        to_row(RECORD, {}, ("text",))


def test_a_value_that_is_no_text() -> None:
    with pytest.raises(
        ValueError, match=r"^f:1: text must be text, not dict; name an inner column"
    ):
        to_row(RECORD, {"text": "translation"}, ("text",))


def test_tasks_are_known_by_their_fields() -> None:
    assert task_of({"text": 0}, "c") == ("language_modeling", ())
    assert task_of({"document": 0, "summary": 1, "id": 2}, "c") == ("summarization", ())
    assert task_of({"en": 0, "zh-Hant": 1}, "c") == ("translation", ("en", "zh-Hant"))
    with pytest.raises(
        ValueError,
        match=(
            r"^corpus c: columns=\{'en': 0\} must name text, or document and summary, or two "
            r"languages"
        ),
    ):
        task_of({"en": 0}, "c")


EMPTY = [
    {"id": "1", "en": "a", "de": "b"},
    {"id": "2", "en": " ", "de": "b"},
    {"id": "3", "en": "", "de": ""},
]


def test_empty_fields_are_refused_by_name_and_number() -> None:
    with pytest.raises(
        ValueError,
        match=r"^c: 2: en empty \(2 of 3 rows .*\); .* set empty: keep or empty: drop",
    ):
        without_empty("c", EMPTY, ("en", "de"), "refuse")
    with pytest.raises(ValueError, match=r"^c: 1: text 2 of the 2 in summary is empty"):
        without_empty(
            "c", [{"id": "1", "document": "a", "summary": ["b", ""]}], SUMMARIZATION, "refuse"
        )


@pytest.mark.parametrize(
    ("policy", "left", "said"),
    [("keep", 3, "2 of 3 rows with an empty field kept"), ("drop", 1, "left out")],
)
def test_empty_fields_kept_or_dropped_are_counted(
    policy: str, left: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(without_empty("c", EMPTY, ("en", "de"), policy)) == left
    assert said in caplog.text


def test_nothing_is_left() -> None:
    with pytest.raises(ValueError, match=r"^c: is empty; it needs at least one row"):
        without_empty("c", EMPTY[1:], ("en", "de"), "drop")


def test_no_answer_is_nothing_missing() -> None:
    rows = [{"id": "1", "question": "Why?", "answers": [], "starts": []}]
    assert without_empty("c", rows, ("question", "answers", "starts"), "refuse") == rows
