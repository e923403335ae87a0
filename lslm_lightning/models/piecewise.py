"""Cross-entropy of a linear head computed in pieces, so that the scores of all tokens never exist
at once.

Axes: N tokens, D d_model, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# that live at once: more fall out of a processor's cache, and of fewer each product of matrices is
# small
N_SCORE = 2**21
N_ROW = 256  # tokens that a piece has at least: each costs a pass over the gradient of all vectors


def piecewise_nats(
    y: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Return the sum over N tokens of minus log softmax(W y + b) at `target` (N,) int64, for y (N,
    D), weight (V, D), bias (V,).

    Equals F.cross_entropy of F.linear up to rounding. The gradients are computed with the loss,
    piece by piece, and no scores are kept for the backward pass. Source: Hsu et al. 2024, "Liger
    Kernel", fused linear cross-entropy.

    Args:
        label_smoothing: as in `Head.nats`.
    """
    return PiecewiseNats.apply(y, weight, bias, target, label_smoothing, torch.is_grad_enabled())


class PiecewiseNats(torch.autograd.Function):
    """Autograd function of `piecewise_nats`: matrix products are in the precision of autocast, all
    else in float32 or higher.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        label_smoothing: float,
        with_gradients: bool,
    ) -> Tensor:
        kind = y.device.type
        low = (
            torch.get_autocast_dtype(kind)
            if torch.is_autocast_enabled(kind) and y.dtype != torch.float64
            else weight.dtype
        )
        high = torch.promote_types(weight.dtype, torch.float32)
        with torch.autocast(kind, enabled=False):
            rows = y.to(low)
            vectors = weight.to(low)
            n_word = len(weight)
            total = y.new_zeros((), dtype=torch.float64)
            learns = with_gradients and weight.requires_grad  # a pretrained one may be frozen
            of_y = torch.empty_like(rows)
            of_weight = torch.zeros_like(weight, dtype=high) if learns else weight.new_zeros(())
            of_bias = y.new_zeros(n_word, dtype=high)
            for begin in range(0, len(rows), n_row := max(N_ROW, N_SCORE // n_word)):
                piece = rows[begin : begin + n_row]
                words = target[begin : begin + n_row, None]
                scores = (piece @ vectors.T).to(high)  # (n, V)
                log_p = torch.log_softmax(scores if bias is None else scores.add_(bias), -1)
                total -= (1 - label_smoothing) * log_p.gather(-1, words).sum(dtype=torch.float64)
                if label_smoothing:
                    total -= label_smoothing * log_p.mean(-1).sum(dtype=torch.float64)
                if with_gradients:
                    slope = log_p.exp_().sub_(label_smoothing / n_word)
                    slope.scatter_add_(-1, words, slope.new_full(words.shape, label_smoothing - 1))
                    if bias is not None:
                        of_bias += slope.sum(0)
                    slope = slope.to(low)
                    torch.mm(slope, vectors, out=of_y[begin : begin + n_row])
                    if not learns:
                        continue
                    if low == high:
                        torch.addmm(of_weight, slope.T, piece, out=of_weight)
                    else:
                        of_weight += slope.T @ piece
        ctx.learns = learns
        ctx.save_for_backward(
            of_y.to(y.dtype),
            of_weight.to(weight.dtype),
            None if bias is None else of_bias.to(bias.dtype),
        )
        return total.to(high)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_y, of_weight, of_bias = ctx.saved_tensors
        of_bias = None if of_bias is None else of_bias * gradient
        of_weight = of_weight * gradient.to(of_weight.dtype) if ctx.learns else None
        return of_y * gradient.to(of_y.dtype), of_weight, of_bias, None, None, None
