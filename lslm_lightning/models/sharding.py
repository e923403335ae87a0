"""Tensor parallelism: distributing the layers of a network over processes.

Axes: H heads, G n_kv_head, F d_feedforward.
"""

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from lslm_lightning.models.attention import Attention
from lslm_lightning.models.positions import RelativeBuckets


def split_layers(network: nn.Module, mesh: DeviceMesh) -> None:
    """Distribute every attention by heads, and every feed-forward layer by inner units, over the
    processes of `mesh`.

    A module lists the linear layers that are split by outputs in `columns`, and those split by
    inputs in `rows`. Their partial results are summed over processes, so the inputs and outputs of
    the module are whole. Every process computes all of a module that lists none.

    Source: Shoeybi et al. 2019, "Megatron-LM", section 3.

    Raises:
        ValueError: a number of heads or units is no multiple of the number of processes, or a
            module cannot be split.
    """
    check_splits(network)
    for module in network.modules():
        columns = getattr(module, "columns", ())
        rows = getattr(module, "rows", ())
        if not columns:
            continue
        if isinstance(module, Attention):
            require_multiple("n_kv_head", module.n_kv_head, mesh.size())
            module.first_head = module.n_head // mesh.size() * mesh.get_local_rank()
        else:
            require_multiple("d_feedforward", getattr(module, columns[0]).out_features, mesh.size())
        plan: dict[str, ParallelStyle] = dict.fromkeys(columns, ColwiseParallel())
        plan |= dict.fromkeys(rows, RowwiseParallel())
        parallelize_module(module, mesh, plan)


def shrink_layers(network: nn.Module, n: int) -> None:
    """Shrink the parameters of a network to the part that each of `n` processes holds. The result
    serves only to estimate memory: it cannot compute, since partial results are not summed.

    Raises:
        ValueError: as in `split_layers`, or no module lists layers to split.
    """
    if not any(getattr(module, "columns", ()) for module in network.modules()):
        raise ValueError(f"{type(network).__name__} has no plan for tensor parallelism")
    check_splits(network)
    for module in network.modules():
        for name in getattr(module, "columns", ()):
            linear = getattr(module, name)
            require_multiple(
                "n_kv_head" if isinstance(module, Attention) else "d_feedforward",
                linear.out_features,
                n,
            )
            linear.weight = nn.Parameter(linear.weight.detach()[: linear.out_features // n].clone())
            if linear.bias is not None:
                linear.bias = nn.Parameter(linear.bias.detach()[: linear.out_features // n].clone())
        for name in getattr(module, "rows", ()):
            linear = getattr(module, name)
            linear.weight = nn.Parameter(
                linear.weight.detach()[:, : linear.in_features // n].clone()
            )


def check_splits(network: nn.Module) -> None:
    """Check that every process gets whole gradients for the weights that all processes have.

    Raises:
        ValueError: a positional encoding has a weight for each head.
    """
    if any(isinstance(module, RelativeBuckets) for module in network.modules()):
        raise ValueError(
            "position=RelativeBuckets has no plan for tensor parallelism: set "
            "tensor_parallel_size=1, or choose another positional encoding"
        )


def require_multiple(name: str, value: int, n: int) -> None:
    """Check that `n` divides the size `value` of the setting `name`.

    Raises:
        ValueError: `n` does not divide it.
    """
    if value % n:
        fits = [k for k in range(1, value + 1) if value % k == 0]
        raise ValueError(f"tensor_parallel_size={n} must divide {name}={value}; try one of {fits}")
