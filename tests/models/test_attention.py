"""Attention against its formula, torch.nn, and its own unfused form."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lslm_lightning.models.attention import (
    AttentionContext,
    CrossAttention,
    SelfAttention,
    fused_attention,
    prefers_unfused,
    record_attention,
    unfused_attention,
)
from tests.models.convert import split_projections
from tests.models.families import build

EXACT = {"rtol": 0, "atol": 1e-12}


def context_of(n: int, mask: Tensor | None = None, causal: bool = False) -> AttentionContext:
    return AttentionContext(torch.arange(n), n, None, mask, causal)


def pad_after(lengths: list[int], n: int) -> Tensor:
    return torch.arange(n) >= torch.tensor(lengths)[:, None]


def test_it_is_the_formula_head_by_head():
    """W_q, W_k map to n_head * d_k, W_v to n_head * d_v, output from n_head * d_v, scores over
    sqrt(d_k); d_k, d_v and d_model all differ.
    """
    n_head = 4
    n_kv_head = 2
    d_k = 3
    d_v = 5
    attention = SelfAttention(8, n_head, n_kv_head, d_k, d_v).double()
    x = torch.randn(6, 8, dtype=torch.double)
    projections = (attention.query, attention.key, attention.value)
    (w_q, w_k, w_v) = [p.weight for p in projections]
    (b_q, b_k, b_v) = [p.bias for p in projections]
    heads = []
    for h in range(n_head):
        g = h // (n_head // n_kv_head)
        q = x @ w_q[h * d_k : (h + 1) * d_k].T + b_q[h * d_k : (h + 1) * d_k]
        k = x @ w_k[g * d_k : (g + 1) * d_k].T + b_k[g * d_k : (g + 1) * d_k]
        v = x @ w_v[g * d_v : (g + 1) * d_v].T + b_v[g * d_v : (g + 1) * d_v]
        heads.append((q @ k.T / d_k**0.5).softmax(-1) @ v)
    expected = torch.cat(heads, -1) @ attention.output.weight.T + attention.output.bias
    torch.testing.assert_close(attention(x[None], context_of(6))[0][0], expected, **EXACT)


@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_against_torch(causal: bool):
    ours = SelfAttention(16, 4, 4, 4, 4).double()
    theirs = nn.MultiheadAttention(16, 4, batch_first=True, dtype=torch.double)
    theirs.in_proj_bias.data.normal_()
    split_projections(ours, theirs)
    ours.output.weight.data = theirs.out_proj.weight.data
    ours.output.bias.data = theirs.out_proj.bias.data.normal_()
    x = torch.randn(3, 6, 16, dtype=torch.double)
    pad = pad_after([6, 4, 1], 6)
    if causal:
        expected, _ = theirs(x, x, x, attn_mask=torch.ones(6, 6, dtype=torch.bool).triu(1))
        torch.testing.assert_close(ours(x, context_of(6, causal=True))[0], expected, **EXACT)
    else:
        expected, _ = theirs(x, x, x, key_padding_mask=pad)
        torch.testing.assert_close(
            ours(x, context_of(6, ~pad[:, None, None]))[0][~pad], expected[~pad], **EXACT
        )


def test_cross_attention_against_torch():
    ours = CrossAttention(16, 4, 4, 4, 4).double()
    theirs = nn.MultiheadAttention(16, 4, batch_first=True, dtype=torch.double)
    theirs.in_proj_bias.data.normal_()
    split_projections(ours, theirs)
    ours.output.weight.data = theirs.out_proj.weight.data
    ours.output.bias.data = theirs.out_proj.bias.data.normal_()
    x = torch.randn(3, 4, 16, dtype=torch.double)
    memory = torch.randn(3, 6, 16, dtype=torch.double)
    pad = pad_after([6, 4, 1], 6)
    expected, weights = theirs(x, memory, memory, key_padding_mask=pad, average_attn_weights=False)
    torch.testing.assert_close(ours(x, memory, ~pad[:, None, None]), expected, **EXACT)
    with record_attention() as record:
        ours(x, memory, ~pad[:, None, None])
    torch.testing.assert_close(record.cross[0], weights, **EXACT)


@pytest.mark.parametrize("kind", ["none", "causal", "bool", "float"])
@pytest.mark.parametrize("n_kv_head", [4, 2, 1])
def test_spelled_out_equals_fused(kind: str, n_kv_head: int):
    """Outputs and gradients of the unfused form equal those of the fused kernel."""
    shapes = [(2, 4, 5, 3), (2, n_kv_head, 5, 3), (2, n_kv_head, 5, 6)]
    inputs = [torch.randn(*shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    mask = {
        "bool": ~pad_after([5, 2], 5)[:, None, None],
        "float": torch.randn(1, 4, 5, 5, dtype=torch.double),
    }.get(kind)
    ours, weights = unfused_attention(*inputs, mask, kind == "causal")
    theirs = F.scaled_dot_product_attention(
        *inputs, attn_mask=mask, is_causal=kind == "causal", enable_gqa=True
    )
    torch.testing.assert_close(ours, theirs, **EXACT)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 5, dtype=torch.double), **EXACT)
    target = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs, target),
        torch.autograd.grad(theirs, inputs, target),
        **EXACT,
    )


def test_it_is_spelled_out_only_where_that_is_faster():
    query = torch.randn(1, 1, 4, 8, dtype=torch.bfloat16)
    some, many = (torch.randn(1, 1, n, 8, dtype=torch.bfloat16) for n in (100, 1000))
    assert prefers_unfused(query, some)
    assert not prefers_unfused(query, query)
    assert not prefers_unfused(query.float(), some.float())
    assert not prefers_unfused(query, many)


@pytest.mark.parametrize("kind", ["none", "causal", "bool", "float"])
@pytest.mark.parametrize("n_key", [1, 5, 64, 100])
@pytest.mark.parametrize("is_autocast", [True, False])
def test_in_bfloat16_attention_is_right_up_to_the_rounding_of_its_inputs(
    kind: str, n_key: int, is_autocast: bool
):
    n_query = n_key if kind == "causal" else 3
    shapes = [(2, 4, n_query, 3), (2, 2, n_key, 3), (2, 2, n_key, 6)]
    inputs = [torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for shape in shapes]
    exact = [each.detach().double().requires_grad_() for each in inputs]
    mask = {
        "bool": (torch.rand(2, 1, n_query, n_key) > 0.3) | (torch.arange(n_key) == 0),
        "float": torch.randn(1, 4, n_query, n_key).bfloat16(),
    }.get(kind)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
        ours = fused_attention(*inputs, mask, kind == "causal")
    theirs, _ = unfused_attention(
        *exact, mask.double() if kind == "float" else mask, kind == "causal"
    )
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), theirs, rtol=0.02, atol=0.02)
    target = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, target),
        torch.autograd.grad(theirs, exact, target.double()),
        strict=True,
    ):
        torch.testing.assert_close(a.double(), b, rtol=0.05, atol=0.05)


def test_recording_keeps_the_weights_and_changes_nothing():
    model = build(n_kv_head=2)
    x = torch.randn(3, 5, 16, dtype=torch.double)
    source = torch.randn(3, 6, 16, dtype=torch.double)
    pad = pad_after([6, 4, 1], 6)

    def run() -> Tensor:
        return model.decode(x, memory=model.encode(source, pad), memory_pad=pad)[0]

    expected = run()
    with record_attention() as record:
        torch.testing.assert_close(run(), expected, **EXACT)
    assert torch.equal(run(), expected)
    assert [len(record.encoder), len(record.self), len(record.cross)] == [2, 2, 2]
    for weights in record.encoder + record.self + record.cross:
        assert not weights.requires_grad
        torch.testing.assert_close(
            weights.sum(-1), torch.ones(weights.shape[:-1], dtype=torch.double), **EXACT
        )
    assert all(
        weights.shape == (3, 4, 5, 5) and weights.triu(1).eq(0).all() for weights in record.self
    )
    assert all(
        weights.shape == (3, 4, 5, 6) and weights.mT[pad[:, None].expand(3, 4, 6)].eq(0).all()
        for weights in record.cross
    )


def test_recording_ends_with_an_error_inside():
    with pytest.raises(RuntimeError, match="inside"), record_attention() as record:
        raise RuntimeError("inside")
    build(n_encoder_layer=0).decode(torch.randn(1, 2, 16, dtype=torch.double))
    assert record.self == []
