import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.data.batching import BatchStream, TokenBudget

LENGTHS = st.lists(st.tuples(st.integers(1, 60), st.integers(2, 60)), min_size=1, max_size=300)


@pytest.mark.slow
@given(LENGTHS, st.integers(1, 400), st.integers(0, 5))
def test_an_epoch_holds_every_example_once_within_the_budget(lengths, max_tokens, epoch):
    plan = TokenBudget(np.array(lengths), max_tokens, seed=3)
    batches = plan(epoch)
    assert len(batches) == len(plan)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * plan.lengths[batch].max(0).sum()
        assert padded <= max_tokens or len(batch) == 1
    assert all((a == b).all() for a, b in zip(batches, plan(epoch), strict=True)), (
        "pure in (seed, epoch)"
    )


def test_epochs_differ_and_so_do_seeds():
    lengths = np.tile([[5, 6]], (200, 1))
    first = TokenBudget(lengths, 100, seed=0)
    again = TokenBudget(lengths, 100, seed=1)
    assert not np.array_equal(np.concatenate(first(0)), np.concatenate(first(1)))
    assert not np.array_equal(np.concatenate(first(0)), np.concatenate(again(0)))


def test_like_lengths_share_a_batch():
    random = np.random.default_rng(0)
    source = random.integers(3, 40, 3000)
    lengths = np.stack([source, source + random.integers(-2, 3, 3000)], 1)
    assert TokenBudget(lengths, 2048).padding_share() < 0.10


def test_padding_share_counts_what_it_says():
    plan = TokenBudget(np.array([[4, 4], [2, 4]]), 100)
    assert len(plan) == 1
    assert plan.padding_share() == pytest.approx(2 / 16)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_the_stream_and_lose_nothing(world):
    n_batch = 10
    taken = []

    def plan(epoch):
        return [f"{epoch}:{i}" for i in range(n_batch)]

    length = len(BatchStream(plan, n_batch, lambda: 0, 0, world))
    for position in range(0, 3 * length, length):
        shares = [
            list(BatchStream(plan, n_batch, lambda p=position: p * world, rank, world))
            for rank in range(world)
        ]
        assert {len(share) for share in shares} == {length}, (
            "every rank takes the same number of steps"
        )
        taken += [item for together in zip(*shares, strict=True) for item in together]
    assert taken == [f"{i // n_batch}:{i % n_batch}" for i in range(len(taken))]


@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 60))
def test_a_stream_goes_on_where_it_stopped(n_batch, world, done):
    plan = lambda epoch: [(epoch, i) for i in range(n_batch)]  # noqa: E731
    stream = BatchStream(plan, n_batch, lambda: 0, world - 1, world)
    rest = list(BatchStream(plan, n_batch, lambda: done * world, world - 1, world))
    assert rest == [
        stream[(done + i) * world + world - 1] for i in range(len(stream) - done % len(stream))
    ]


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="max_tokens=0"):
        TokenBudget(np.array([[1, 1]]), 0)
    with pytest.raises(ValueError, match="no training example is left"):
        TokenBudget(np.zeros((0, 2)), 10)
