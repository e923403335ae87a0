"""Bounds of a prompt cache, and copies of states in one buffer."""

import torch
from torch.utils import _pytree as pytree

from lslm_lightning.serving.prompt_cache import LEAST, PromptCache, in_one_piece

WIDTH = 8  # float32 numbers of a token


def prefix(state, n):
    return tuple(part[:, :n] for part in state)


def state_of(ids):
    """State of one row, in which the numbers of a token are its id."""
    return (torch.tensor(ids, dtype=torch.float32)[None, :, None].expand(1, -1, WIDTH),)


def prompt(number):
    return [number] * LEAST + [7]


def test_a_copy_in_one_buffer_has_equal_values():
    state = (
        (torch.randn(1, 2, 3), torch.arange(6).view(1, 6)[:, ::2]),
        None,
        torch.tensor([True, False, True]),
        (torch.zeros(1, 0, dtype=torch.float64), torch.randn(3).bfloat16()),
    )
    copy, n_byte = in_one_piece(state)
    (parts, structure), (copies, same) = pytree.tree_flatten(state), pytree.tree_flatten(copy)
    assert structure == same
    for part, own in zip(parts, copies, strict=True):
        assert (part is None) == (own is None)
        assert part is None or (own.dtype == part.dtype and torch.equal(own, part))
    buffers = {own.untyped_storage().data_ptr() for own in copies if own is not None}
    assert len(buffers) == 1
    [storage] = {own.untyped_storage().nbytes() for own in copies if own is not None}
    assert storage == n_byte
    parts[0].zero_()
    assert copies[0].any()


def test_the_prompts_used_last_fit_into_the_bound():
    n_byte_of_one = (LEAST + 1) * WIDTH * 4 // 64 * 64 + 64
    cache = PromptCache(prefix, 3 * n_byte_of_one)
    for number in range(3):
        cache.add(prompt(number), state_of(prompt(number)), 0)
    assert cache.find([*prompt(0), 1])[0] == LEAST + 1
    cache.add(prompt(3), state_of(prompt(3)), 0)
    kept = [number for number in range(4) if cache.find([*prompt(number), 1])[0]]
    assert kept == [0, 2, 3], "the prompt that was found is kept, the oldest other is dropped"
    n, (state,) = cache.find([2] * LEAST + [9])
    assert n == LEAST
    assert torch.equal(state, state_of([2] * LEAST)[0])
    assert len(cache) == 3


def test_a_state_that_is_too_large_drops_no_other():
    cache = PromptCache(prefix, 2000)
    cache.add(prompt(1), state_of(prompt(1)), 0)
    cache.add([2] * 500, state_of([2] * 500), 0)
    assert len(cache) == 1
