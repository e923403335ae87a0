"""Cross-entropy of a linear head, computed in pieces so that the scores of all tokens are never in
memory at once.

Axes: N tokens, D d_model, V vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

from lslm_lightning.models.linear import padded_rows

# scores in memory at once: more do not fit a processor's cache, fewer make small matrix products
N_SCORE = 2**21
N_ROW = 256  # fewest tokens of a piece: each piece costs a pass over the gradient of the weight


def piecewise_nats(
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    label_smoothing: float = 0.0,
    pad_id: int | None = None,
) -> Tensor:
    """Return minus log softmax(W y + b) at `target`, summed over N tokens except padding.

    The result equals F.cross_entropy of F.linear up to rounding. Gradients are computed together
    with the loss, piece by piece, and no scores are kept for the backward pass. Source: Hsu et al.
    2024, "Liger Kernel", fused linear cross-entropy.

    Args:
        y: (N, D) inputs.
        weight: (V, D) matrix W.
        bias: (V,) bias b; None for none.
        target: (N,) int64 ids of the target tokens.
        label_smoothing: as in `Head.nats`.
        pad_id: id of padding in `target`; None for no padding.
    """
    total: Tensor = PiecewiseNats.apply(  # type: ignore[no-untyped-call]  # so it is in torch
        y, weight, bias, target, label_smoothing, pad_id, torch.is_grad_enabled()
    )
    return total


class Saved(Protocol):
    """Values that a forward pass saves for the backward pass."""

    trains_weight: bool
    has_bias: bool
    saved_tensors: tuple[Tensor, Tensor, Tensor]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Save tensors."""


class PiecewiseNats(torch.autograd.Function):
    """Autograd function of `piecewise_nats`. Matrix products have the precision of autocast,
    everything else float32 or higher.
    """

    @staticmethod
    def forward(
        ctx: Saved,
        y: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        label_smoothing: float,
        pad_id: int | None,
        with_gradients: bool,
    ) -> Tensor:
        device_type = y.device.type
        low = (
            torch.get_autocast_dtype(device_type)
            if torch.is_autocast_enabled(device_type) and y.dtype != torch.float64
            else weight.dtype
        )
        ctx.trains_weight = with_gradients and weight.requires_grad
        ctx.has_bias = bias is not None
        total: Tensor
        total, *gradients = _nats_and_gradients(
            y,
            weight,
            bias,
            target,
            label_smoothing,
            pad_id,
            low,
            with_gradients,
            ctx.trains_weight,
        )
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Saved, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y_grad, weight_grad, bias_grad = ctx.saved_tensors
        return (
            y_grad * gradient.to(y_grad.dtype),
            weight_grad * gradient.to(weight_grad.dtype) if ctx.trains_weight else None,
            bias_grad * gradient if ctx.has_bias else None,
            None,
            None,
            None,
            None,
        )


@torch.library.custom_op("lslm_lightning::nats_and_gradients", mutates_args=())
def _nats_and_gradients(
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    label_smoothing: float,
    pad_id: int | None,
    low: torch.dtype,
    with_gradients: bool,
    trains_weight: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sum of `piecewise_nats` and its gradients for y, weight and bias.

    An operator of torch, so that `torch.compile` calls it as a whole within one graph.

    Args:
        low: precision of matrix products.
        with_gradients: False to leave all gradients undefined.
        trains_weight: False to return a scalar in place of the gradient of the weight.
    """
    high = torch.promote_types(weight.dtype, torch.float32)
    n_word = len(weight)
    real = None if pad_id is None else target != pad_id
    if real is not None and not real.all():
        inputs, target = y[real], target[real]
    else:
        inputs, real = y, None
    with torch.autocast(y.device.type, enabled=False):
        rows = padded_rows(inputs, low)
        target = F.pad(target, (0, len(rows) - len(inputs)))
        vectors = weight.to(low)
        total = y.new_zeros((), dtype=torch.float64)
        y_grad = torch.empty_like(rows)
        weight_grad = (
            torch.zeros_like(weight, dtype=high) if trains_weight else weight.new_zeros(())
        )
        bias_grad = y.new_zeros(n_word, dtype=high)
        for i in range(0, len(rows), n_row := max(N_ROW, N_SCORE // n_word // N_ROW * N_ROW)):
            piece = rows[i : i + n_row]
            ids = target[i : i + n_row, None]
            n = len(inputs) - i  # tokens that are no padding
            scores = (piece @ vectors.T).to(high)  # (n, V)
            log_p = torch.log_softmax(scores if bias is None else scores.add_(bias), -1)
            total -= (1 - label_smoothing) * log_p.gather(-1, ids)[:n].sum(dtype=torch.float64)
            if label_smoothing:
                total -= label_smoothing * log_p.mean(-1)[:n].sum(dtype=torch.float64)
            if with_gradients:
                score_grad = log_p.exp_().sub_(label_smoothing / n_word)
                score_grad.scatter_add_(
                    -1, ids, score_grad.new_full(ids.shape, label_smoothing - 1)
                )
                score_grad[n:] = 0
                if bias is not None:
                    bias_grad += score_grad.sum(0)
                score_grad = score_grad.to(low)
                torch.mm(score_grad, vectors, out=y_grad[i : i + n_row])
                if not trains_weight:
                    continue
                if low == high:
                    torch.addmm(weight_grad, score_grad.T, piece, out=weight_grad)
                else:
                    weight_grad += score_grad.T @ piece
    y_grad = y_grad[: len(inputs)].to(y.dtype)
    if real is not None:
        y_grad = torch.zeros_like(y).index_put_((real,), y_grad)
    bias_grad = bias_grad.to(weight.dtype if bias is None else bias.dtype)
    return total.to(high), y_grad, weight_grad.to(weight.dtype), bias_grad


@_nats_and_gradients.register_fake
def _fake_nats_and_gradients(
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    label_smoothing: float,
    pad_id: int | None,
    low: torch.dtype,
    with_gradients: bool,
    trains_weight: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tensors of the shapes and types that `_nats_and_gradients` returns, for
    `torch.compile`.
    """
    return (
        y.new_empty((), dtype=torch.promote_types(weight.dtype, torch.float32)),
        torch.empty_like(y, memory_format=torch.contiguous_format),
        torch.empty_like(weight) if trains_weight else weight.new_empty(()),
        weight.new_empty(len(weight), dtype=weight.dtype if bias is None else bias.dtype),
    )


def _operations(
    y_shape: Sequence[int],
    weight_shape: Sequence[int],
    bias_shape: Sequence[int] | None,
    target_shape: Sequence[int],
    label_smoothing: float,
    pad_id: int | None,
    low: torch.dtype,
    with_gradients: bool,
    trains_weight: bool,
    **_: object,
) -> int:
    """Return the number of operations of the matrix products, for counters such as
    `torch.utils.flop_counter.FlopCounterMode`; padding counts as if it were scored.
    """
    n_product = 1 + with_gradients * (1 + trains_weight)
    return 2 * n_product * math.prod(y_shape) * weight_shape[0]


register_flop_formula(torch.ops.lslm_lightning.nats_and_gradients)(_operations)
