"""Splits that are not official: nothing in two splits, nothing in none, nothing by chance."""

from random import Random

import pytest

from lslm_lightning.corpora.shares import (
    characters_share,
    group_positions,
    select_rows,
    without_empty_shares,
)


def rows(n: int = 400) -> list[dict]:
    random = Random(0)
    return [
        {"id": str(i), "en": f"e{random.randrange(n)}", "zh": f"z{random.randrange(n)}"}
        for i in range(n)
    ]


def test_rows_that_share_a_sentence_share_a_position() -> None:
    sample = rows()
    positions = group_positions(sample, ("en", "zh"), seed=1)
    for field in ("en", "zh"):
        by_value: dict[str, set[float]] = {}
        for row, position in zip(sample, positions, strict=True):
            by_value.setdefault(row[field], set()).add(position)
        assert all(len(found) == 1 for found in by_value.values())


def test_rows_linked_by_a_chain_share_a_position() -> None:
    chain = [
        {"en": "a", "zh": "1"},
        {"en": "b", "zh": "2"},
        {"en": "b", "zh": "1"},
        {"en": "c", "zh": "3"},
    ]
    a, b, c, other = group_positions(chain, ("en", "zh"), seed=1)
    assert a == b == c != other


SHARES = [(0.0, 0.9), (0.9, 0.95), (0.95, 1.0)]


@pytest.mark.parametrize(
    ("positions", "moved"),
    [
        ([0.1, 0.91, 0.99], [0.1, 0.91, 0.99]),
        ([0.1, 0.5, 0.8, 0.99], [0.1, 0.5, 0.9, 0.99]),
        ([0.1, 0.8, 0.8, 0.99], [0.1, 0.9, 0.9, 0.99]),
        ([0.1, 0.2, 0.3], [0.1, 0.95, 0.9]),
        ([0.96, 0.97, 0.98], [0.0, 0.9, 0.98]),
        ([0.1, 0.5], [0.1, 0.9]),
        ([0.5], [0.5]),
    ],
)
def test_no_share_is_empty_where_there_are_as_many_groups(positions, moved) -> None:
    assert without_empty_shares(positions, SHARES) == moved


def test_positions_stay_where_no_share_is_empty() -> None:
    for n in (3, 10, 60, 200):
        positions = group_positions([{"text": f"{n} {i}"} for i in range(n)], ("text",), seed=1)
        moved = without_empty_shares(positions, SHARES)
        counts = [
            [sum(low <= p < high for p in found) for low, high in SHARES]
            for found in (positions, moved)
        ]
        assert min(counts[1]) > 0
        assert moved == positions or min(counts[0]) == 0


def test_positions_are_uniform_and_follow_the_seed() -> None:
    sample = [{"text": str(i)} for i in range(5000)]
    positions = group_positions(sample, ("text",), seed=1)
    assert (
        positions
        == group_positions(sample, ("text",), seed=1)
        != group_positions(sample, ("text",), seed=2)
    )
    for low in (0, 0.25, 0.5, 0.75):
        assert sum(low <= p < low + 0.25 for p in positions) == pytest.approx(1250, abs=5 * 31)


def test_a_position_does_not_depend_on_other_groups() -> None:
    sample = [{"text": str(i)} for i in range(10)]
    assert group_positions(sample, ("text",), 1)[3:] == group_positions(sample[3:], ("text",), 1)


def test_shares_of_characters_join_to_the_text() -> None:
    row = {"id": "f", "text": "ab天地玄黄cde"}
    parts = [characters_share(row, low, high) for low, high in ((0, 0.3), (0.3, 0.9), (0.9, 1))]
    assert "".join(part["text"] for part in parts) == row["text"]
    assert len({part["id"] for part in parts}) == 3


def test_rows_are_chosen_by_what_their_fields_say() -> None:
    sample = [
        {"id": str(i), "title": title, "kind": kind}
        for i, (title, kind) in enumerate(["ax", "bx", "ay", "cy"])
    ]
    assert [row["id"] for row in select_rows(sample, {"title": ["c", "a"]}, "s")] == [
        "0",
        "2",
        "3",
    ], "in their order"
    assert [row["id"] for row in select_rows(sample, {"title": ["a"], "kind": ["y"]}, "s")] == [
        "2"
    ], "all fields must agree"
    with pytest.raises(ValueError, match=r"s\.title: no row has 'd'; it may be misspelt"):
        select_rows(sample, {"title": ["a", "d"]}, "s")
    with pytest.raises(
        ValueError, match="s: rows have no 'name', but id, title, kind; name it under columns"
    ):
        select_rows(sample, {"name": ["a"]}, "s")
