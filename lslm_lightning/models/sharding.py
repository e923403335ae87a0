"""Tensor parallelism: layers of a network distributed over processes. Axes: H heads, G n_kv_head, F
d_feedforward.
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


def split_layers(network: nn.Module, mesh: DeviceMesh) -> None:
    """Distribute every attention by heads and every feed-forward layer by inner units over the
    processes of `mesh`.

    Sums over processes join the results. A module names the linear layers that are split by their
    outputs (`columns`) and those that are split by their inputs (`rows`); a module that names none
    is computed whole by every process. Inputs and outputs of such modules are whole.

    Raises:
        ValueError: a number of heads or units is no multiple of the number of processes.

    Source: Shoeybi et al. 2019, "Megatron-LM", section 3.
    """
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
    """Shrink the parameters of a network to what each of `n` processes holds, as shapes to plan
    memory with: no sums join the parts.

    Raises:
        ValueError: as in `split_layers`, or no module names layers to split.
    """
    if not any(getattr(module, "columns", ()) for module in network.modules()):
        raise ValueError(f"{type(network).__name__} has no plan for tensor parallelism")
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


def require_multiple(name: str, value: int, n: int) -> None:
    """Check that `n` divides the size `value` of the setting `name`.

    Raises:
        ValueError: it does not.
    """
    if value % n:
        fits = [k for k in range(1, value + 1) if value % k == 0]
        raise ValueError(f"tensor_parallel_size={n} must divide {name}={value}; try one of {fits}")
