"""Cross-entropy of a linear head, computed in pieces so that the scores of all tokens are never in
memory at once.

Axes: N tokens, D d_model, V vocabulary.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# scores in memory at once: more do not fit a processor's cache, fewer make small matrix products
N_SCORE = 2**21
N_ROW = 256  # fewest tokens of a piece: each piece costs a pass over the gradient of the weight


def piecewise_nats(
    y: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Return minus log softmax(W y + b) at `target`, summed over N tokens.

    The result equals F.cross_entropy of F.linear up to rounding. Gradients are computed together
    with the loss, piece by piece, and no scores are kept for the backward pass. Source: Hsu et al.
    2024, "Liger Kernel", fused linear cross-entropy.

    Args:
        y: (N, D) inputs.
        weight: (V, D) matrix W.
        bias: (V,) bias b; None for none.
        target: (N,) int64 ids of the target tokens.
        label_smoothing: as in `Head.nats`.
    """
    total: Tensor = PiecewiseNats.apply(  # type: ignore[no-untyped-call]  # so it is in torch
        y, weight, bias, target, label_smoothing, torch.is_grad_enabled()
    )
    return total


class Saved(Protocol):
    """Values that a forward pass saves for the backward pass."""

    trains_weight: bool
    saved_tensors: tuple[Tensor, Tensor, Tensor | None]

    def save_for_backward(self, *tensors: Tensor | None) -> None:
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
        with_gradients: bool,
    ) -> Tensor:
        device_type = y.device.type
        low = (
            torch.get_autocast_dtype(device_type)
            if torch.is_autocast_enabled(device_type) and y.dtype != torch.float64
            else weight.dtype
        )
        high = torch.promote_types(weight.dtype, torch.float32)
        with torch.autocast(device_type, enabled=False):
            rows = y.to(low)
            vectors = weight.to(low)
            n_word = len(weight)
            total = y.new_zeros((), dtype=torch.float64)
            trains_weight = with_gradients and weight.requires_grad
            y_grad = torch.empty_like(rows)
            weight_grad = (
                torch.zeros_like(weight, dtype=high) if trains_weight else weight.new_zeros(())
            )
            bias_grad = y.new_zeros(n_word, dtype=high)
            for i in range(0, len(rows), n_row := max(N_ROW, N_SCORE // n_word)):
                piece = rows[i : i + n_row]
                ids = target[i : i + n_row, None]
                scores = (piece @ vectors.T).to(high)  # (n, V)
                log_p = torch.log_softmax(scores if bias is None else scores.add_(bias), -1)
                total -= (1 - label_smoothing) * log_p.gather(-1, ids).sum(dtype=torch.float64)
                if label_smoothing:
                    total -= label_smoothing * log_p.mean(-1).sum(dtype=torch.float64)
                if with_gradients:
                    score_grad = log_p.exp_().sub_(label_smoothing / n_word)
                    score_grad.scatter_add_(
                        -1, ids, score_grad.new_full(ids.shape, label_smoothing - 1)
                    )
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
        ctx.trains_weight = trains_weight
        ctx.save_for_backward(
            y_grad.to(y.dtype),
            weight_grad.to(weight.dtype),
            None if bias is None else bias_grad.to(bias.dtype),
        )
        return total.to(high)

    @staticmethod
    @once_differentiable
    def backward(ctx: Saved, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y_grad, weight_grad, bias_grad = ctx.saved_tensors
        return (
            y_grad * gradient.to(y_grad.dtype),
            weight_grad * gradient.to(weight_grad.dtype) if ctx.trains_weight else None,
            None if bias_grad is None else bias_grad * gradient,
            None,
            None,
            None,
        )
