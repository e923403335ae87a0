"""Positional encodings against their formulas."""

import math
from functools import partial

import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from lslm_lightning.models.positions import (
    ALiBi,
    Learned,
    RelativeBuckets,
    Rotary,
    Sinusoidal,
    _compiled_rotation,
    rotate,
)
from tests.models.families import build


def test_sinusoidal_is_the_formula():
    x = Sinusoidal(6, 2, 3).embed(torch.zeros(1, 2, 6, dtype=torch.double), torch.tensor([0, 7]))
    angle = [7 / 10_000 ** (2 * i / 6) for i in range(3)]
    expected = torch.tensor(
        [
            [0, 0, 0, 1, 1, 1],
            [*map(torch.sin, torch.tensor(angle)), *map(torch.cos, torch.tensor(angle))],
        ]
    )
    torch.testing.assert_close(x[0], expected.double(), rtol=0, atol=1e-6)


def test_rotary_scores_see_distances_only():
    rotary = Rotary(16, 1, 16)
    query = torch.randn(1, 1, 1, 16)
    key = torch.randn(1, 1, 1, 16)

    def score(i: int, j: int) -> torch.Tensor:
        return (
            rotate(query, rotary.rotation(torch.tensor([i])))
            * rotate(key, rotary.rotation(torch.tensor([j])))
        ).sum()

    torch.testing.assert_close(score(3, 1), score(40, 38), rtol=1e-4, atol=1e-5)
    assert not torch.isclose(score(3, 1), score(3, 2), rtol=1e-2)
    torch.testing.assert_close(score(0, 0), (query * key).sum())


def test_rotary_multiplies_complex_numbers():
    x = torch.randn(2, 5, 3, 8, dtype=torch.double)
    positions = torch.tensor([0, 1, 2, 300, 4000])
    rotated = rotate(x, Rotary(24, 3, 8, base=100.0).rotation(positions))
    angle = positions[:, None, None] * 100.0 ** (-torch.arange(0, 8, 2) / 8)
    expected = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(
        rotated, torch.cat([expected.real, expected.imag], -1), rtol=0, atol=2e-3
    )


@pytest.mark.parametrize("shape", [(5,), (2, 5)])
def test_rotation_is_an_operator_of_torch(shape: tuple[int, ...]):
    positions = torch.arange(math.prod(shape)).view(shape)
    torch.library.opcheck(_compiled_rotation, (positions, 8, 10_000.0))


def test_alibi_is_the_formula():
    bias = ALiBi(16, 8, 2).score_bias(torch.tensor([2, 5]), 7)
    assert bias.shape == (1, 8, 2, 7)
    for head, query, key in [(0, 0, 6), (3, 1, 0), (7, 1, 5)]:
        assert bias[0, head, query, key].item() == -abs([2, 5][query] - key) * 2.0 ** -(head + 1)


@pytest.mark.parametrize(("n_bucket", "max_distance"), [(32, 128), (8, 12), (4, 3), (20, 11)])
@pytest.mark.parametrize("is_causal", [True, False])
def test_buckets_are_those_of_t5(is_causal: bool, n_bucket: int, max_distance: int):
    position = RelativeBuckets(16, 4, 4, n_bucket, max_distance)
    position.is_causal = is_causal
    offset = torch.arange(-3 * max_distance, 3 * max_distance)
    theirs = T5Attention._relative_position_bucket(offset, not is_causal, n_bucket, max_distance)
    assert torch.equal(position.buckets(offset), theirs)
    bias = position.score_bias(torch.tensor([[3, 4], [0, 9]]), 7)
    assert bias.shape == (2, 4, 2, 7)
    [bucket] = position.buckets(torch.tensor([2 - 9]))
    assert torch.equal(bias[1, :, 1, 2], position.weight[bucket])


def test_only_the_encoder_looks_ahead():
    model = build(position=RelativeBuckets)
    assert [stack.position.is_causal for stack in (model.encoder, model.decoder)] == [False, True]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"n_bucket": 5}, "must be even and at least 4"), ({"max_distance": 16}, "must be above")],
)
def test_wrong_buckets_are_refused(settings: dict[str, int], expected: str):
    with pytest.raises(ValueError, match=expected):
        RelativeBuckets(16, 4, 4, **settings)


def test_learned_positions_refuse_what_has_no_vector():
    model = build(position=partial(Learned, max_length=4), n_encoder_layer=0)
    x = torch.randn(1, 5, 16, dtype=torch.double)
    _, state = model.decode(x[:, :4])
    for piece, before in ((x, None), (x[:, 4:], state)):
        with pytest.raises(ValueError, match=r"max_length=4 must be at least the 5 tokens"):
            model.decode(piece, state=before)


def test_odd_widths_are_refused():
    with pytest.raises(ValueError, match="d_k=5 must be even"):
        Rotary(10, 2, 5)
    with pytest.raises(ValueError, match="d_model=5 must be even"):
        Sinusoidal(5, 1, 5)
