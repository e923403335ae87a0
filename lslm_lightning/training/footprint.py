"""Memory and work of a training step, computed on torch's meta device, whose tensors have shapes
but no content.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from lslm_lightning.optim import decay_groups
from lslm_lightning.training.batches import Batch, total_tokens

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task

ROUNDED_TO = 512  # bytes, by CUDA's caching allocator

ValueT = TypeVar("ValueT")

# Functions that autocast computes in bfloat16, and in float32; others keep the precision of their
# inputs.
# Source: PyTorch's documentation of torch.amp, "CUDA Ops that can autocast".
HALF = {F.linear, F.conv1d, F.conv2d, F.scaled_dot_product_attention}
HALF |= {torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm}
HALF |= {Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.mm, Tensor.bmm}
SINGLE = {
    F.layer_norm,
    F.cross_entropy,
    F.nll_loss,
    F.softmax,
    F.log_softmax,
    torch.softmax,
    torch.log_softmax,
    torch.exp,
    torch.log,
}
SINGLE |= {
    torch.sum,
    torch.norm,
    Tensor.softmax,
    Tensor.log_softmax,
    Tensor.exp,
    Tensor.log,
    Tensor.sum,
    Tensor.norm,
    Tensor.pow,
}


class KernelWork(NamedTuple):
    """Floating-point operations and memory traffic of one kernel."""

    flops: float
    n_byte: float  # bytes read and written


@dataclass(frozen=True)
class Footprint:
    """Memory and work of one micro-batch on one device that holds the whole model, or a part of
    every layer.

    Args:
        parameters: number of parameters of each block that FSDP unshards at once, then the number
            of parameters outside of blocks.
        trained: number of those of `parameters` that are trained, the others being frozen.
        state_bytes: size of the optimizer's state in bytes.
        moments: after each allocation and release, the bytes in use besides weights and gradients,
            and the bytes of gradients.
        step: kernels of the forward and backward pass.
        n_token: number of source and target tokens of the micro-batch.
        n_position: number of input positions of the micro-batch, including padding.
    """

    parameters: tuple[int, ...]
    trained: tuple[int, ...]
    state_bytes: int
    moments: tuple[tuple[int, int], ...]
    step: tuple[KernelWork, ...]
    n_token: int
    n_position: int

    @property
    def n_parameter(self) -> int:
        """Number of parameters, frozen ones included."""
        return sum(self.parameters)

    @property
    def n_trained(self) -> int:
        """Number of parameters that are trained."""
        return sum(self.trained)

    @property
    def flops(self) -> float:
        """Number of floating-point operations of one batch, forward and backward."""
        return sum(work.flops for work in self.step)

    def peak(self, factor: float = 1.0, kept: bool = False) -> tuple[float, float]:
        """Return the peak memory besides weights and optimizer, as (bytes of activations and other
        tensors, bytes of gradients).

        Args:
            factor: bytes stored on this device for each byte of the model's gradients.
            kept: whether gradients of an earlier micro-batch exist all the time, as under
                accumulation.
        """
        whole = max(gradient for _, gradient in self.moments)
        moments = (
            (other, factor * (whole if kept else gradient)) for other, gradient in self.moments
        )
        return max(moments, key=sum)


def footprint(task: "Task", batch: Batch, bfloat16: bool, smoothing: float = 0.0) -> Footprint:
    """Return the memory and work of a training step on a GPU with fused kernels.

    Args:
        task: a task with a backbone, on the meta device; its gradients are overwritten.
        batch: a micro-batch on the meta device.
        bfloat16: whether to compute under bfloat16 autocast.
        smoothing: label smoothing of the loss.
    """
    assert task.backbone is not None
    task.train()
    for p in task.parameters():
        p.grad = None
    parameters = [p for p in task.parameters() if p.requires_grad]
    ledger = MemoryLedger(
        [
            *task.parameters(),
            *task.buffers(),
            *(value for value in batch if isinstance(value, Tensor)),
        ]
    )
    with assumed_shapes(), ledger, LikeGPU(ledger, bfloat16):
        backward(task.loss(batch, smoothing))
    gradients = {ledger.number(p.grad) for p in parameters if p.grad is not None}
    moments = tuple(ledger.moments(gradients))
    states = states_of(task.optimizer_of(decay_groups(task)))
    blocks = [list(block.parameters()) for block in task.backbone.blocks()]
    in_blocks = {id(p) for block in blocks for p in block}
    groups = [*blocks, [p for p in task.parameters() if id(p) not in in_blocks]]
    n_position = sum(t.numel() for t in batch if isinstance(t, Tensor) and t.dtype == torch.int64)
    return Footprint(
        tuple(sum(p.numel() for p in group) for group in groups),
        tuple(sum(p.numel() for p in group if p.requires_grad) for group in groups),
        sum(map(size, states)),
        moments,
        tuple(ledger.work),
        total_tokens(batch),
        n_position,
    )


def backward(loss: Tensor) -> None:
    """Do the work of `loss.backward()` within the active torch function mode, which layers that are
    recomputed (activation checkpointing) need.
    """
    run = torch.autograd.Variable._execution_engine.run_backward
    run(
        (loss,),
        (torch.ones_like(loss),),
        False,
        False,
        (),
        allow_unreachable=True,
        accumulate_grad=True,
    )


def states_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the tensors of an optimizer's state after its first step. Fused kernels are switched
    off, since the meta device lacks them.
    """
    for group in optimizer.param_groups:
        group |= {name: False for name in ("fused", "foreach") if name in group}
    optimizer.step()
    return [
        t for state in optimizer.state.values() for t in tree_leaves(state) if isinstance(t, Tensor)
    ]


def size(tensor: Tensor) -> int:
    """Return the size of a tensor in bytes."""
    return tensor.numel() * tensor.element_size()


class MemoryLedger(TorchDispatchMode):
    """Mode that records every allocation, every release, and the work of every kernel.

    Args:
        existing: tensors that are allocated already; they are not counted.
    """

    def __init__(self, existing: Iterable[Tensor]) -> None:
        super().__init__()
        # number of the storage, bytes allocated (released where below 0)
        self.events: list[tuple[int, int]] = []
        self.work: list[KernelWork] = []
        # number of each storage that is alive, by its address
        self._numbers = {tensor.untyped_storage()._cdata: -1 for tensor in existing}

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        if func is torch.ops.aten._local_scalar_dense.default:
            return (
                True  # a condition on a number, such as whether a mask is needed, is taken to hold
            )
        result = func(*args, **(kwargs or {}))
        results = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        is_new = [self._note(t.untyped_storage()) for t in results]
        count_flops = flop_registry.get(func._overloadpacket)
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if inputs and (any(is_new) or func._schema.is_mutable):  # no view
            flops = count_flops(*args, **(kwargs or {}), out_val=result) if count_flops else 0
            self.work.append(KernelWork(flops, sum(map(size, inputs)) + sum(map(size, results))))
        return result

    def _note(self, storage: torch.UntypedStorage) -> bool:
        """Record the allocation of a storage; return whether it is new."""
        key = storage._cdata
        if key in self._numbers:
            return False
        number = len(self.events)
        n_byte = -(-storage.nbytes() // ROUNDED_TO) * ROUNDED_TO
        self._numbers[key] = number
        self.events.append((number, n_byte))
        weakref.finalize(storage, self._release, key, number, n_byte).atexit = False
        return True

    def _release(self, key: int, number: int, n_byte: int) -> None:
        self.events.append((number, -n_byte))
        if self._numbers.get(key) == number:
            del self._numbers[key]

    def number(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor's storage in `events`; None if it was not recorded."""
        return self._numbers.get(tensor.untyped_storage()._cdata)

    def moments(self, gradients: set[int | None]) -> Iterator[tuple[int, int]]:
        """Yield, after each allocation or release, (bytes in use other than gradients, bytes of
        gradients).

        Args:
            gradients: numbers of the storages that hold gradients, as `number` returns them.
        """
        other = accumulate(0 if number in gradients else n for number, n in self.events)
        of_gradients = accumulate(n if number in gradients else 0 for number, n in self.events)
        return zip(other, of_gradients, strict=True)


class LikeGPU(TorchFunctionMode):
    """Mode in which the meta device computes as a GPU does: attention and dropout in one kernel
    each, and bfloat16 by autocast.

    Args:
        ledger: mode that records the work of fused kernels.
        bfloat16: whether autocast is on.
    """

    def __init__(self, ledger: MemoryLedger, bfloat16: bool) -> None:
        super().__init__()
        self.ledger = ledger
        self.bfloat16 = bfloat16

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple = (),
        kwargs: dict | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if self.bfloat16 and func in HALF:
            args = cast(args, torch.bfloat16)
            kwargs = {name: cast(value, torch.bfloat16) for name, value in kwargs.items()}
        elif self.bfloat16 and func in SINGLE:
            args = cast(args, torch.float32)
            kwargs = {name: cast(value, torch.float32) for name, value in kwargs.items()}
        if func is F.dropout:
            return dropout(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return FusedAttention.apply(*args[:3], self.ledger)
        if func is F.ctc_loss:  # the meta device lacks it
            return Lattice.apply(args[0], args[1].size(1), self.ledger)
        return func(*args, **kwargs)


def cast(value: ValueT, dtype: torch.dtype) -> ValueT:
    """Return an argument with its floating-point tensors, also inside tuples and lists, converted
    to `dtype`.
    """
    if isinstance(value, tuple | list):
        return type(value)(cast(v, dtype) for v in value)
    if isinstance(value, Tensor) and value.dtype in (torch.float32, torch.bfloat16):
        return value.to(dtype)  # type: ignore[return-value]  # a tensor, as `value` is
    return value


def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Apply dropout as a fused kernel does, keeping a mask of one byte per element."""
    return torch.native_dropout(x, p, training)[0] if training and p else x


class KernelContext(FunctionCtx):
    """Context between the forward and the backward pass of a kernel."""

    ledger: MemoryLedger
    saved_tensors: tuple[Tensor, ...]


class FusedAttention(torch.autograd.Function):
    """Attention with the memory and work of a fused kernel. B rows, H heads, T queries, S keys, K
    and V widths.

    Source: Dao et al. 2022, "FlashAttention", algorithms 1 and 4: the backward pass computes the
    scores once more.
    """

    @staticmethod
    def forward(
        ctx: KernelContext, query: Tensor, key: Tensor, value: Tensor, ledger: MemoryLedger
    ) -> Tensor:
        out = query.new_empty(*query.shape[:-1], value.size(-1))  # (B, H, T, V)
        ctx.save_for_backward(
            query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32)
        )
        ctx.ledger = ledger
        scores = query[..., 0].numel() * key.size(-2)  # B H T S
        ledger.work.append(
            KernelWork(
                2 * scores * (query.size(-1) + value.size(-1)),
                sum(map(size, (query, key, value, out))),
            )
        )
        return out

    @staticmethod
    def backward(ctx: KernelContext, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, _ = ctx.saved_tensors
        scores = query[..., 0].numel() * key.size(-2)
        n_byte = 2 * sum(map(size, (query, key, value, out)))
        ctx.ledger.work.append(
            KernelWork(2 * scores * (3 * query.size(-1) + 2 * value.size(-1)), n_byte)
        )
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), None


class Lattice(torch.autograd.Function):
    """CTC loss with the memory and work of `ctc_loss`, which the meta device lacks. For each frame,
    one score is kept for every token of a target and every blank around the tokens.

    T frames, B rows, V symbols, L tokens. Source: Graves et al. 2006, "Connectionist temporal
    classification", sections 4.1 and 4.2.
    """

    @staticmethod
    def forward(
        ctx: KernelContext, log_probs: Tensor, n_token: int, ledger: MemoryLedger
    ) -> Tensor:
        # (B, T, 2 L + 1)
        paths = log_probs.new_empty(log_probs.size(1), log_probs.size(0), 2 * n_token + 1)
        ctx.save_for_backward(log_probs, paths)
        ctx.ledger = ledger
        ledger.work.append(KernelWork(6 * paths.numel(), size(log_probs) + size(paths)))
        return log_probs.new_empty(())

    @staticmethod
    def backward(ctx: KernelContext, gradient: Tensor) -> tuple[Tensor | None, ...]:
        log_probs, paths = ctx.saved_tensors
        ctx.ledger.work.append(KernelWork(12 * paths.numel(), 2 * (size(log_probs) + size(paths))))
        return torch.empty_like(log_probs), None, None


@contextmanager
def assumed_shapes() -> Iterator[None]:
    """Assume that a selection of rows by a mask takes all rows, as if there were no padding."""
    from torch.fx.experimental import _config

    before = _config.meta_nonzero_assume_all_nonzero
    _config.meta_nonzero_assume_all_nonzero = True
    try:
        yield
    finally:
        _config.meta_nonzero_assume_all_nonzero = before
