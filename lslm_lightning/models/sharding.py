"""A network spread over processes: tensor parallelism, by what each module says of itself. H heads,
G n_kv_head, F d_feedforward.
"""

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from lslm_lightning.models.attention import Attention


def split_layers(network: nn.Module, mesh: DeviceMesh) -> None:
    """Each process computes some heads of every attention and some inner units of every
    feed-forward; sums over processes join them.

    A module says which of its linear layers are split by their outputs (`columns`) and which, after
    them, by their inputs (`rows`); one that says nothing is computed whole by every process. Inputs
    and outputs of such modules are whole.

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
        plan = dict.fromkeys(columns, ColwiseParallel()) | dict.fromkeys(rows, RowwiseParallel())
        parallelize_module(module, mesh, plan)


def part_of_layers(network: nn.Module, n: int) -> None:
    """Cut a network down to what each of `n` processes computes of every layer, as shapes to plan
    with: no sums join the parts.

    Raises:
        ValueError: as for `split_layers`, or no module says how it is split.
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
    """Raise ValueError where `value` does not share out evenly."""
    if value % n:
        fits = [k for k in range(1, value + 1) if value % k == 0]
        raise ValueError(f"tensor_parallel_size={n} must divide {name}={value}; try one of {fits}")
