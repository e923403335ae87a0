"""Groups of comparable scores: as their definition says, in one look at each."""

import random

import pytest

from lslm_lightning.evaluation.comparison import without_windows
from lslm_lightning.experiments import leaderboard
from lslm_lightning.experiments.leaderboard import Group, ranked_in

SIGNATURES = (
    "tok:13a",
    "tok:zh",
    "tok:13a|context:64|stride:32",
    "tok:13a|context:128",
    "context:9",
)


def some_groups(n: int) -> list[Group]:
    chance = random.Random(0)
    return [
        Group((str(chance.randrange(n // 3)),), chance.choice(SIGNATURES), "", str(i))
        for i in range(n)
    ]


def by_definition(group: Group, groups: list[Group]) -> set[Group]:
    """Itself or, if the scores have no windows, those that differ in nothing but their windows."""
    if group.signature != without_windows(group.signature):
        return {group}
    return {
        other
        for other in groups
        if other.key == group.key
        and other.signature != group.signature == without_windows(other.signature)
    } or {group}


def test_groups_are_ranked_as_their_definition_says() -> None:
    groups = some_groups(60)
    found = ranked_in(dict.fromkeys(groups))
    assert found.keys() == set(groups)
    for group, members in found.items():
        assert set(members) == by_definition(group, groups)
        assert len(members) == len(set(members))
    assert any(len(members) > 1 for members in found.values())


def test_the_work_grows_as_the_groups_do(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(signature: str) -> str:
        nonlocal looks
        looks += 1
        return without_windows(signature)

    monkeypatch.setattr(leaderboard, "without_windows", counted)
    groups = dict.fromkeys(some_groups(300))
    ranked_in(groups)
    assert looks <= len(groups)
