import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from lslm_lightning.models.embedding import TokenEmbedding
from lslm_lightning.optim import (
    Constant,
    Cosine,
    InverseSquareRoot,
    Linear,
    WarmupStableDecay,
    decay_groups,
    n_parameter,
)

SCHEDULES = [
    Constant(10),
    Linear(10, floor=0.1),
    Cosine(10, floor=0.1),
    WarmupStableDecay(10, floor=0.1),
    InverseSquareRoot(10),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_schedules_rise_to_one_and_never_again_above(schedule):
    factors = [schedule(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert max(factors) == pytest.approx(1.0)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(factors[9:]))


def test_schedules_with_an_end_come_to_their_floor_a_step_after_the_last_and_stay_there():
    for schedule in (
        Linear(5, floor=0.2),
        Cosine(5, floor=0.2),
        WarmupStableDecay(5, decay_share=0.9, floor=0.2),
    ):
        assert 0.2 < schedule(99, 100) < 0.21
        assert schedule(100, 100) == pytest.approx(0.2)
        assert schedule(150, 100) == pytest.approx(0.2)


def test_a_trapezoid_knows_no_end_until_it_comes_down():
    schedule = WarmupStableDecay(10, decay_share=0.25)
    assert all(schedule(step, 100) == schedule(step, 10_000) for step in range(76))
    assert schedule(76, 100) < 1.0
    # it comes down after the warm-up, not within
    assert WarmupStableDecay(50, decay_share=0.8)(50, 100) == 1.0
    with pytest.raises(ValueError, match="decay_share=0"):
        WarmupStableDecay(decay_share=0)


def test_cosine_equals_torch():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    for step in range(50):
        assert Cosine(0, floor=0.1)(step, 50) == pytest.approx(
            optimizer.param_groups[0]["lr"], abs=1e-12
        )
        optimizer.step()
        reference.step()


def test_inverse_square_root_is_that_of_the_paper():
    schedule = InverseSquareRoot(400)
    for step in (400, 1000, 5000):
        assert schedule(step, 0) == pytest.approx(
            min((step + 1) ** -0.5, (step + 1) * 400**-1.5) / 400**-0.5
        )


def test_negative_warmup_is_refused_by_name():
    with pytest.raises(ValueError, match="warmup_steps=-1"):
        Cosine(-1)


def test_only_matrices_decay_and_each_parameter_has_one_group():
    module = nn.Sequential(TokenEmbedding(7, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    decayed, kept = decay_groups(module)
    assert [p.shape for p in decayed["params"]] == [(7, 4), (4, 4)]
    assert kept["weight_decay"] == 0.0
    assert len(decayed["params"]) + len(kept["params"]) == len(list(module.parameters()))


def test_tied_parameters_count_once():
    linear = nn.Linear(3, 3, bias=False)
    assert n_parameter([*linear.parameters(), *linear.parameters()]) == 9
    assert math.isclose(n_parameter([]), 0)
