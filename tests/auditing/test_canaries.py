"""Canaries in training texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.data.canaries import Canaries


@given(st.integers(1, 12), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 30))
def test_each_is_planted_as_often_as_it_says(n: int, counts: list[int], n_text: int) -> None:
    canaries = Canaries(n, counts)
    texts = [f"text {i}" for i in range(n_text)]
    found = [*canaries.insert(texts, n_text)]
    planted = canaries.planted()
    assert [text for text in found if text in texts] == texts  # in order, none lost
    for canary in planted:
        text = canaries.text_of(canary.name, canary.number)
        assert found.count(text) == canary.n_copy
    assert len(found) == n_text + sum(canary.n_copy for canary in planted)


def test_planting_is_the_same_for_the_same_settings() -> None:
    texts = [f"text {i}" for i in range(100)]
    first, again, other = ([*Canaries(seed=seed).insert(texts, len(texts))] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_pairs_are_planted_where_texts_are_and_ask_for_their_number() -> None:
    canaries = Canaries(4, [1, 3])
    texts = [f"text {i}" for i in range(20)]
    found = [*canaries.insert_pairs([(f"source of {text}", text) for text in texts], len(texts))]
    assert [target for _, target in found] == [*canaries.insert(texts, len(texts))]
    for canary in canaries.planted():
        asked = {source for source, target in found if canary.number in target}
        assert asked == {canaries.source_of(canary.name)}
        assert canary.number not in canaries.source_of(canary.name)


def test_the_source_identifies_pairs_alone() -> None:
    first, other = Canaries(), Canaries(source="{name}?")
    assert first.key() == other.key()
    assert first.key(of_pairs=True) != other.key(of_pairs=True)


def test_canaries_are_spread_over_the_texts() -> None:
    texts = ["text"] * 1000
    found = [*Canaries().insert(texts, len(texts))]
    at = [i for i, text in enumerate(found) if text != "text"]
    assert max(at) - min(at) > len(found) / 2


def test_names_and_numbers_are_all_different() -> None:
    planted = Canaries(n=200, n_digit=9).planted()
    assert len({canary.name for canary in planted}) == 200
    assert len({canary.number for canary in planted}) == 200
    assert all(len(canary.number) == 9 for canary in planted)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("source", "no name"),
        ("source", "{name} {number}"),
        ("n", 0),
        ("counts", []),
        ("counts", [0]),
        ("n_digit", 19),
        ("text", "no number of {name}"),
    ],
)
def test_wrong_settings_are_named(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"data.canaries.{setting}"):
        Canaries(**{setting: value})
