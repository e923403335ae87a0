"""Everything arrives once, or is said to be missing; whoever puts something in never waits and
never fails.
"""

import threading
from collections.abc import Sequence

import pytest

from lslm_lightning.tracking.curves import Point
from lslm_lightning.tracking.outbox import Outbox
from tests.support.waiting import PATIENCE, at_most


class Shop:
    """A store that can be away, slow, or against something."""

    def __init__(self) -> None:
        self.stored: list[Point] = []
        self.batches: list[int] = []
        self.told: list[str] = []
        self.tries = 0
        self.open = threading.Event()
        self.open.set()

    def send(self, points: Sequence[Point]) -> None:
        self.tries += 1
        if not self.open.is_set():
            raise ConnectionError("closed")
        if any(point.name == "poison" for point in points):
            raise ValueError("poison")
        self.stored += points
        self.batches.append(len(points))

    def outbox(self, **settings: float) -> Outbox:
        settings = {"interval": 0.02, "patience": 0.3, **settings}
        return Outbox(
            self.send,
            lambda error: isinstance(error, ConnectionError),
            self.told.append,
            **settings,
        )


def points(n: int, name: str = "a") -> list[Point]:
    return [Point(name, float(i), i, i) for i in range(n)]


def test_all_arrives_in_order_in_batches_that_mlflow_takes() -> None:
    shop = Shop()
    outbox = shop.outbox(interval=60)
    for point in points(2500):
        outbox.put([point])
    assert outbox.flush()
    assert shop.stored == points(2500)
    assert shop.batches == [1000, 1000, 500]


def test_an_outage_loses_nothing_and_is_told_once() -> None:
    shop = Shop()
    outbox = shop.outbox()
    outbox.put(points(10))
    outbox.flush()
    shop.open.clear()
    for i in range(10, 1500):
        outbox.put([Point("a", float(i), i, i)])
    assert not outbox.flush()
    assert not outbox.flush()
    shop.open.set()
    assert outbox.flush()
    assert shop.stored == points(1500)
    assert len(shop.told) == 2
    assert "closed" in shop.told[0]
    assert "again" in shop.told[1]


def test_what_the_store_refuses_does_not_hold_up_the_rest() -> None:
    shop = Shop()
    outbox = shop.outbox()
    outbox.put(points(1, "poison"))
    outbox.flush()
    outbox.put(points(3))
    done = []
    outbox.call(done.append, 1)
    outbox.call(int, "no number")
    outbox.call(done.append, 2)
    assert outbox.flush()
    assert shop.stored == points(3)
    assert done == [1, 2]
    assert len(shop.told) == 1


def test_close_says_what_is_left_after_its_patience() -> None:
    shop = Shop()
    outbox = shop.outbox()
    shop.open.clear()
    outbox.put(points(7))
    with at_most(2):
        outbox.close(lambda: shop.send(points(1)))
    assert shop.tries >= 3, "it goes on trying"
    assert shop.told[-1] == "not stored: 7 metric points, 1 other things"


def test_close_delivers_before_its_last_act() -> None:
    shop = Shop()
    outbox = shop.outbox(interval=60)
    outbox.put(points(5))
    outbox.close(lambda: shop.stored.append("end"))
    assert shop.stored == [*points(5), "end"]
    assert shop.told == []


@pytest.mark.parametrize("is_open", [True, False])
def test_putting_in_never_waits(is_open: bool) -> None:
    shop = Shop()
    outbox = shop.outbox()
    begun = threading.Event()
    go_on = threading.Event()
    outbox.call(lambda: (begun.set(), go_on.wait(PATIENCE)))
    assert begun.wait(PATIENCE)
    if not is_open:
        shop.open.clear()
    for point in points(1000):
        outbox.put([point])
    assert shop.stored == []
    go_on.set()
    assert outbox.flush() == is_open


def test_points_that_come_in_while_a_batch_is_on_its_way_gather() -> None:
    shop = Shop()
    begun = threading.Event()
    go_on = threading.Event()
    send, shop.send = shop.send, lambda batch: (begun.set(), go_on.wait(PATIENCE), send(batch))
    outbox = shop.outbox()
    outbox.put(points(500)[:1])
    assert begun.wait(PATIENCE)
    for point in points(500)[1:]:
        outbox.put([point])
    go_on.set()
    assert outbox.flush()
    assert shop.stored == points(500)
    assert shop.batches == [1, 499]
