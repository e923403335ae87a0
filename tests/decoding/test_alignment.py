"""Forced alignment against the best of all paths."""

import itertools

import pytest
import torch

from lslm_lightning.decoding.alignment import forced_alignment, frames_needed
from tests.decoding.frames import random_frames, spelled


@pytest.mark.parametrize("ids", [(), (1,), (1, 2), (1, 1), (2, 1, 2), (2, 2, 2)])
def test_it_is_the_best_path_that_spells_the_sequence(ids):
    torch.manual_seed(0)
    for log_probs in random_frames(10, 6, 3):
        paths = [path for path in itertools.product(range(3), repeat=6) if spelled(path, 0) == ids]
        best = max(
            paths,
            key=lambda path: sum(log_probs[t, symbol].item() for t, symbol in enumerate(path)),
        )
        expected = []
        t = 0
        for symbol, run in itertools.groupby(best):
            n = len(list(run))
            expected += [(t, t + n)] if symbol else []
            t += n
        assert forced_alignment(log_probs, ids, 0) == expected


@pytest.mark.parametrize("ids", [(), (1,), (1, 1), (1, 2, 1), (1, 2, 2, 1)])
def test_frames_needed_are_the_fewest_that_spell_it(ids):
    n = frames_needed(ids)
    assert len(forced_alignment(random_frames(1, n, 3)[0], ids, 0)) == len(ids)
    if n:
        with pytest.raises(ValueError, match=f"at least {n} are needed"):
            forced_alignment(random_frames(1, n - 1, 3)[0], ids, 0)
