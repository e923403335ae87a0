"""Linear maps that meet few numbers of rows in half precision on a CPU.

There, oneDNN compiles kernels for each new shape of a matrix product. On a processor with AMX, one
takes 2 ms and 0.8 MB, and with 6,000 words 20 ms and 3 MB. Hardly any batch of sentences has as
many tokens as another. Rows of zeros up to a round number let the same kernels serve again.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SMALL = 16  # rows that are not rounded: searches meet these numbers again and again
MEDIUM = 256  # rows that are rounded to SMALL; more are rounded to 4 times as many
HALF = (torch.bfloat16, torch.float16)


def rounded(n_row: int) -> int:
    """Return the number of rows that a product of `n_row` rows is given."""
    if n_row <= SMALL:
        return n_row
    step = SMALL if n_row <= MEDIUM else 4 * SMALL
    return -(-n_row // step) * step


def padded_rows(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Return rows (N, D) in a precision. In half precision on a CPU, rows of zeros follow up to
    `rounded(N)`.
    """
    n = rounded(len(rows))
    if rows.device.type != "cpu" or dtype not in HALF or n == len(rows):
        return rows.to(dtype)
    padded = rows.new_empty((n, rows.size(1)), dtype=dtype)
    padded[: len(rows)] = rows
    padded[len(rows) :] = 0
    return padded


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b (..., D') for x (..., D), as F.linear does, by a product of few shapes.

    Args:
        weight: (D', D) matrix W.
        bias: (D',) bias b; None for none.
    """
    low = half_precision(x, weight)
    if (
        low is None
        or type(weight) not in (Tensor, nn.Parameter)  # of a process's own, not sharded
        or rounded(n := x.shape[:-1].numel()) == n
        or torch.compiler.is_compiling()
    ):
        return F.linear(x, weight, bias)
    y: Tensor = PaddedProduct.apply(  # type: ignore[no-untyped-call]  # so it is in torch
        x, weight, bias, low
    )
    return y


def half_precision(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return the half precision in which a CPU computes x W^T; None for another precision or
    device, and for a product that torch refuses.
    """
    if x.device.type != "cpu":
        return None
    if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
        return torch.get_autocast_dtype("cpu")
    return x.dtype if x.dtype in HALF and x.dtype == weight.dtype else None


class PaddedLinear(nn.Linear):
    """Layer as nn.Linear, computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class SavedRows(Protocol):
    """Values that a forward pass saves for the backward pass."""

    saved_tensors: tuple[Tensor | None, Tensor | None]
    needs_input_grad: tuple[bool, ...]
    shape: torch.Size
    low: torch.dtype
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype | None]

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Save tensors."""


class PaddedProduct(torch.autograd.Function):
    """Autograd function of `linear` whose products have padded rows, forward and backward."""

    @staticmethod
    def forward(
        ctx: SavedRows, x: Tensor, weight: Tensor, bias: Tensor | None, low: torch.dtype
    ) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            rows = padded_rows(x.flatten(0, -2), low)
            matrix = weight.to(low)
            y = F.linear(rows, matrix, None if bias is None else bias.to(low))
        of_x, of_weight, *_ = ctx.needs_input_grad
        ctx.save_for_backward(rows if of_weight else None, matrix if of_x else None)
        ctx.shape = x.shape
        ctx.low = low
        ctx.dtypes = (x.dtype, weight.dtype, None if bias is None else bias.dtype)
        # a tensor of its own: torch refuses changes in place of views that a function returns
        return y[: x.shape[:-1].numel()].view(*x.shape[:-1], -1).data

    @staticmethod
    @once_differentiable
    def backward(ctx: SavedRows, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, matrix = ctx.saved_tensors
        x_dtype, weight_dtype, bias_dtype = ctx.dtypes
        x_grad = weight_grad = bias_grad = None
        with torch.autocast("cpu", enabled=False):
            flat = gradient.flatten(0, -2)
            padded = padded_rows(flat, ctx.low)
            if matrix is not None:
                x_grad = (padded @ matrix)[: len(flat)].view(ctx.shape).to(x_dtype)
            if rows is not None:
                weight_grad = (padded.T @ rows).to(weight_dtype)
            if ctx.needs_input_grad[2]:
                bias_grad = padded.sum(0).to(bias_dtype)
        return x_grad, weight_grad, bias_grad, None
