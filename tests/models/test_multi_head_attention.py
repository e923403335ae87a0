"""Multi-head attention against torch.nn, its own formula, and the attention of a backbone."""

import pytest
import torch
from torch import Tensor, nn

from lslm_lightning.models import MultiHeadAttention
from lslm_lightning.models.attention import AttentionContext, CrossAttention, SelfAttention

EXACT = {"rtol": 0, "atol": 1e-12}


def inputs(n_query: int = 5, n_key: int = 6, d_model: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    sizes = (n_query, n_key, n_key)
    return tuple(torch.randn(3, n, d_model, dtype=torch.double) for n in sizes)


def as_torch(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    """Return torch.nn's module with the same weights."""
    theirs = nn.MultiheadAttention(ours.d_model, ours.num_heads, batch_first=True).double()
    parts = (ours.W_q, ours.W_k, ours.W_v)
    theirs.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
    theirs.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
    theirs.out_proj.load_state_dict(ours.linear.state_dict())
    return theirs.eval()


@pytest.mark.parametrize("num_heads", [1, 3, 4])
@pytest.mark.parametrize("masked", [None, "keys", "causal"])
def test_it_equals_torch_where_widths_divide(num_heads: int, masked: str | None) -> None:
    ours = MultiHeadAttention(num_heads, 12, 12 // num_heads, 12 // num_heads).double().eval()
    query, key, value = inputs(6, 6)
    allowed = torch.ones(3, 6, dtype=torch.bool)
    allowed[1, 4:] = False
    masks = {
        None: (None, {}),
        "keys": (allowed[:, None, None], {"key_padding_mask": ~allowed}),
        "causal": (
            torch.ones(6, 6).tril(),
            {"attn_mask": torch.ones(6, 6, dtype=torch.bool).triu(1)},
        ),
    }
    mask, theirs_mask = masks[masked]
    found = ours(query, key, value, mask)
    settings = {"average_attn_weights": False, **theirs_mask}
    expected, weights = as_torch(ours)(query, key, value, **settings)
    torch.testing.assert_close(found, expected, **EXACT)
    torch.testing.assert_close(ours.attn, weights, **EXACT)


def test_widths_of_keys_and_values_are_free() -> None:
    ours = MultiHeadAttention(num_heads=4, d_model=12, d_k=3, d_v=5).double().eval()
    query, key, value = inputs()
    heads = []
    for h in range(4):
        q = query @ ours.W_q.weight[3 * h : 3 * h + 3].T + ours.W_q.bias[3 * h : 3 * h + 3]
        k = key @ ours.W_k.weight[3 * h : 3 * h + 3].T + ours.W_k.bias[3 * h : 3 * h + 3]
        v = value @ ours.W_v.weight[5 * h : 5 * h + 5].T + ours.W_v.bias[5 * h : 5 * h + 5]
        heads.append((q @ k.mT / 3**0.5).softmax(-1) @ v)
    expected = torch.cat(heads, -1) @ ours.linear.weight.T + ours.linear.bias
    torch.testing.assert_close(ours(query, key, value), expected, **EXACT)
    assert ours.attn.shape == (3, 4, 5, 6)


@pytest.mark.parametrize("shape", [(5, 6), (3, 1, 1, 6), (1, 4, 5, 6), (3, 4, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.double])
def test_a_mask_of_any_broadcastable_shape_forbids(shape: tuple[int, ...], dtype) -> None:
    ours = MultiHeadAttention(4, 12, 3, 5).double().eval()
    torch.manual_seed(1)
    mask = (torch.rand(shape) < 0.6).to(dtype)
    ours(*inputs(), mask)
    allowed = torch.broadcast_to(mask != 0, (3, 4, 5, 6))
    assert (ours.attn[~allowed] == 0).all()
    sums = ours.attn.sum(-1)
    torch.testing.assert_close(sums, allowed.any(-1).double(), **EXACT)


def test_what_may_attend_to_nothing_has_a_finite_output_and_gradient() -> None:
    ours = MultiHeadAttention(2, 12, 3, 5).double()
    query, key, value = (x.requires_grad_() for x in inputs())
    found = ours(query, key, value, torch.zeros(5, 6))
    torch.testing.assert_close(found, ours.linear.bias.expand_as(found), **EXACT)
    found.sum().backward()
    assert all(x.grad.isfinite().all() for x in (query, key, value))


@pytest.mark.slow
def test_dropout_takes_weights_in_training_alone() -> None:
    ours = MultiHeadAttention(2, 12, 3, 5, dropout=0.5).double()
    given = inputs()
    plain = ours.eval()(*given)
    torch.manual_seed(0)
    mean = sum(ours.train()(*given) for _ in range(3000)) / 3000
    assert not torch.equal(ours(*given), plain)
    torch.testing.assert_close(mean, plain, rtol=0, atol=0.03)  # dropout keeps the mean
    assert ours.attn.sum(-1).allclose(torch.ones(()).double()), "weights are kept before dropout"
    without = MultiHeadAttention(2, 12, 3, 5, dropout=0).double().train()
    assert torch.equal(without(*given), without.eval()(*given))


def test_its_weights_work_in_a_backbone_and_come_back() -> None:
    ours = MultiHeadAttention(4, 12, 3, 5).double().eval()
    query, memory, _ = inputs()
    allowed = torch.ones(3, 1, 1, 6, dtype=torch.bool)
    allowed[2, ..., 3:] = False
    cross = ours.to_attention(CrossAttention)
    expected = ours(query, memory, memory, allowed)
    torch.testing.assert_close(cross(query, memory, allowed), expected, **EXACT)
    context = AttentionContext(torch.arange(5), 5, None, None, causal=True)
    alone = ours(query, query, query, torch.ones(5, 5).tril())
    torch.testing.assert_close(ours.to_attention()(query, context)[0], alone, **EXACT)
    back = MultiHeadAttention.from_attention(cross)
    torch.testing.assert_close(back(query, memory, memory, allowed), expected, **EXACT)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
def test_shared_keys_of_a_backbone_are_repeated(n_kv_head: int, bias: bool) -> None:
    attention = SelfAttention(12, 4, n_kv_head, 3, 5, bias).double().eval()
    x, _, _ = inputs()
    context = AttentionContext(torch.arange(5), 5, None, None, causal=False)
    found = MultiHeadAttention.from_attention(attention)(x, x, x)
    torch.testing.assert_close(found, attention(x, context)[0], **EXACT)


@pytest.mark.parametrize("name", ["num_heads", "d_model", "d_k", "d_v"])
def test_a_size_below_one_is_refused_by_name(name: str) -> None:
    sizes = {"num_heads": 2, "d_model": 8, "d_k": 3, "d_v": 5}
    with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
        MultiHeadAttention(**(sizes | {name: 0}))
