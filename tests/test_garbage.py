"""Searches for garbage, rare while modules are imported and as usual afterwards."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from lslm_lightning.garbage import IMPORTING, RARELY, collect_as_usual, collect_rarely


@pytest.fixture(autouse=True)
def usual() -> Iterator[tuple[int, int, int]]:
    """Thresholds of this process, which are restored, as its callbacks are."""
    before = gc.get_threshold()
    callbacks = list(gc.callbacks)
    yield before
    gc.set_threshold(*before)
    gc.callbacks[:] = callbacks


def searches(n: int) -> int:
    """Return how many searches begin while so many objects are made."""
    began: list[str] = []
    gc.callbacks.append(lambda phase, info: began.append(phase))
    try:
        kept = [[] for _ in range(n)]
    finally:
        gc.callbacks.pop()
    assert len(kept) == n
    return began.count("start")


def test_searches_are_rare_until_all_is_imported(usual: tuple[int, int, int]) -> None:
    n = 20 * usual[0]
    often = searches(n)
    assert often >= 10
    collect_rarely()
    assert gc.get_threshold() == IMPORTING
    assert searches(n) == 0
    collect_as_usual()
    assert gc.get_threshold() == usual
    assert searches(n) >= 10


def test_the_first_search_leaves_what_was_imported_out_of_later_ones(
    usual: tuple[int, int, int],
) -> None:
    callbacks = list(gc.callbacks)
    collect_rarely()
    kept = [[] for _ in range(1000)]
    n_frozen = gc.get_freeze_count()
    gc.collect()
    assert gc.get_freeze_count() >= n_frozen + len(kept)
    assert gc.get_threshold() == RARELY
    assert gc.callbacks == callbacks
    collect_as_usual()
    assert gc.get_threshold() == usual


def test_a_process_of_somebody_else_keeps_its_thresholds() -> None:
    gc.set_threshold(12_345, 6, 7)
    n_frozen = gc.get_freeze_count()
    collect_as_usual()
    assert gc.get_threshold() == (12_345, 6, 7)
    assert gc.get_freeze_count() == n_frozen


class Part:
    """Part of a network, which refers to it."""

    whole: "Part"


def test_garbage_of_a_training_is_found_again(usual: tuple[int, int, int]) -> None:
    collect_rarely()
    collect_as_usual()
    part = Part()
    part.whole = part
    found = weakref.ref(part)
    del part
    kept = [[] for _ in range(20 * usual[0])]
    assert found() is None, f"after {len(kept)} new objects"
