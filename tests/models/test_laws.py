"""Laws of backbones, which hold for every family."""

import copy

import pytest
import torch
from torch import Tensor

from lslm_lightning.models.backbone import Backbone
from tests.models.families import D_MODEL, EVERY_POSITION, FAMILIES, RECURRENT, Family

EXACT = {"rtol": 0, "atol": 1e-11}  # float64, sums in another order


def vectors(*shape: int) -> Tensor:
    return torch.randn(*shape, D_MODEL, dtype=torch.double)


def pad_after(lengths: list[int], n: int) -> Tensor:
    return torch.arange(n) >= torch.tensor(lengths)[:, None]


def reorder(nested, index: Tensor):
    """Return the rows `index` of a state, as a search may do."""
    return (
        nested.index_select(0, index)
        if isinstance(nested, Tensor)
        else tuple(reorder(item, index) for item in nested)
    )


def in_pieces(model: Backbone, x: Tensor, sizes: list[int], **memory) -> Tensor:
    """Decode piece by piece; return the outputs."""
    state = None
    pieces = []
    for piece in x.split(sizes, 1):
        y, state = model.decode(piece, state=state, **memory)
        pieces.append(y)
    return torch.cat(pieces, 1)


@pytest.mark.parametrize("family", FAMILIES + RECURRENT)
@torch.no_grad()
def test_stepping_equals_reading(family: Family):
    model = family()
    x = vectors(2, 6)
    memory = vectors(2, 4)
    whole, _ = model.decode(x, memory=memory)
    torch.testing.assert_close(in_pieces(model, x, [1] * 6, memory=memory), whole, **EXACT)
    torch.testing.assert_close(in_pieces(model, x, [3, 1, 2], memory=memory), whole, **EXACT)


@pytest.mark.parametrize("family", FAMILIES + RECURRENT)
@torch.no_grad()
def test_the_future_is_invisible(family: Family):
    model = family()
    x = vectors(2, 6)
    memory = vectors(2, 4)
    before, _ = model.decode(x, memory=memory)
    x[:, 4:] = vectors(2, 2)
    after, _ = model.decode(x, memory=memory)
    torch.testing.assert_close(after[:, :4], before[:, :4], **EXACT)
    assert not torch.isclose(after[:, 4:], before[:, 4:]).all(-1).any()


@pytest.mark.parametrize("family", FAMILIES + RECURRENT)
@torch.no_grad()
def test_padding_changes_nothing(family: Family):
    model = family()
    source = vectors(3, 6)
    x = vectors(3, 5)
    lengths = [6, 2, 4]
    pad = pad_after(lengths, 6)
    memory = model.encode(source, pad)
    y, _ = model.decode(x, memory=memory, memory_pad=pad)
    for i, n in enumerate(lengths):
        alone = model.encode(source[i : i + 1, :n])
        torch.testing.assert_close(memory[i : i + 1, :n], alone, **EXACT)
        torch.testing.assert_close(
            y[i : i + 1], model.decode(x[i : i + 1], memory=alone)[0], **EXACT
        )


@pytest.mark.parametrize("family", FAMILIES + RECURRENT)
@torch.no_grad()
def test_beams_share_a_source_and_may_be_reordered(family: Family):
    """Three beams a source, reordered twice on the way, equal whole histories with copied
    memories.
    """
    model = family()
    source = vectors(2, 5)
    pad = pad_after([5, 3], 5)
    memory = model.encode(source, pad)
    shared = model.precompute_cross_attention(memory)
    copied = memory.repeat_interleave(3, 0)
    copied_pad = pad.repeat_interleave(3, 0)
    history = vectors(6, 2)
    state = None
    y, state = model.decode(history, memory=shared, memory_pad=pad, state=state)
    for index in ([2, 2, 0, 3, 5, 4], [1, 0, 0, 5, 5, 5]):
        index = torch.tensor(index)
        history = history[index]
        state = reorder(state, index)
        x = vectors(6, 1)
        history = torch.cat([history, x], 1)
        y, state = model.decode(x, memory=shared, memory_pad=pad, state=state)
        whole, _ = model.decode(history, memory=copied, memory_pad=copied_pad)
        torch.testing.assert_close(y, whole[:, -1:], **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES + RECURRENT)
@torch.no_grad()
def test_saving_and_loading_changes_nothing(family: Family, tmp_path):
    model = family()
    fresh = family()
    source = vectors(2, 4)
    x = vectors(2, 3)
    for parameter in fresh.parameters():
        parameter.data.normal_()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    fresh.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    expected, _ = model.decode(x, memory=model.encode(source))
    assert torch.equal(fresh.decode(x, memory=fresh.encode(source))[0], expected)
    again = copy.deepcopy(model)
    assert torch.equal(again.decode(x, memory=again.encode(source))[0], expected)


@pytest.mark.parametrize("family", EVERY_POSITION + RECURRENT)
@torch.no_grad()
def test_rows_of_different_lengths_go_on_where_they_ended(family: Family):
    """Prompts padded on the right, a padded piece after them, then single steps: each row as if it
    were alone.
    """
    model = family(n_encoder_layer=0)
    lengths = [[4, 2, 1], [1, 3, 3], [1, 1, 1], [2, 2, 2]]
    state = None
    seen = [[], [], []]
    outputs = [[], [], []]
    for step in lengths:
        x = vectors(3, max(step))
        y, state = model.decode(x, pad_after(step, max(step)), state=state)
        for i, n in enumerate(step):
            seen[i].append(x[i : i + 1, :n])
            outputs[i].append(y[i : i + 1, :n])
    for i in range(3):
        torch.testing.assert_close(
            torch.cat(outputs[i], 1), model.decode(torch.cat(seen[i], 1))[0], **EXACT
        )


@pytest.mark.parametrize("family", EVERY_POSITION + RECURRENT)
@torch.no_grad()
def test_remembering_changes_nothing(family: Family):
    model = family()
    memory = vectors(2, 5)
    x = vectors(4, 3)
    torch.testing.assert_close(
        model.decode(x, memory=model.precompute_cross_attention(memory))[0],
        model.decode(x, memory=memory)[0],
        **EXACT,
    )


@pytest.mark.parametrize("family", EVERY_POSITION + RECURRENT)
def test_gradients_flow_through_a_state(family: Family):
    model = family(n_encoder_layer=0)
    x = vectors(2, 6)
    gradients = []
    for sizes in ([6], [2, 1, 1, 2]):
        model.zero_grad()
        in_pieces(model, x, sizes).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", EVERY_POSITION + RECURRENT)
def test_a_source_that_is_all_padding_gives_numbers(family: Family):
    model = family().train()
    pad = pad_after([3, 0], 3)
    for context in (torch.enable_grad(), torch.autocast("cpu", dtype=torch.bfloat16)):
        model.zero_grad()
        with context:
            y, _ = model.float().decode(
                vectors(2, 4).float(),
                memory=model.encode(vectors(2, 3).float(), pad),
                memory_pad=pad,
            )
        y[0].float().sum().backward()
        assert y.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("family", EVERY_POSITION + RECURRENT)
def test_bfloat16_stays_near_float64(family: Family):
    """Angles and distances must not be rounded with the weights: at position 30 a rounded one would
    be off by far more.
    """
    model = family(n_encoder_layer=0)
    x = vectors(1, 32)
    expected, _ = model.decode(x)
    y, _ = model.bfloat16().decode(x.bfloat16())
    assert (y.double() - expected).square().mean() < 2e-3 * expected.square().mean()
