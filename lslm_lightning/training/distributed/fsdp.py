"""Models sharded over processes with FSDP2, optionally with tensor parallelism, as a Lightning
strategy.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from lslm_lightning.optim import decay_groups
from lslm_lightning.renamed import renamed_weights
from lslm_lightning.runs.checkpoint_folder import PlainReader, as_os_error, load_into
from lslm_lightning.runs.states import META
from lslm_lightning.training.lightning_internals import TensorParallelStrategy
from lslm_lightning.types import Json, StateDict

if TYPE_CHECKING:
    from lslm_lightning.training.task import Task

GROUPS = "optimizer_groups"


class ShardedStrategy(TensorParallelStrategy):
    """Lightning strategy for FSDP2: every process holds a shard of weights, gradients and optimizer
    states. With tensor parallelism, groups of processes compute each layer together.

    Works on GPUs and, with gloo, on CPUs. The backbone defines the units of sharding (`blocks`) and
    how its layers are split.

    Args:
        tensor_parallel_size: number of processes that compute each layer together on the same data,
            best on one machine.
        save_distributed_checkpoint: True if each process writes its part of a checkpoint folder,
            False if rank 0 writes one file.
        process_group_backend: communication backend; by default nccl for GPUs and gloo for CPUs.
        timeout_minutes: how long a process waits for the others before it gives up.
    """

    def __init__(
        self,
        tensor_parallel_size: int = 1,
        save_distributed_checkpoint: bool = True,
        process_group_backend: str | None = None,
        timeout_minutes: float = 30.0,
    ) -> None:
        if tensor_parallel_size < 1:
            raise ValueError(
                f"tensor_parallel_size={tensor_parallel_size} must be at least 1 "
                "(1: no tensor parallelism)"
            )
        timeout = timedelta(minutes=timeout_minutes)
        super().__init__(
            tensor_parallel_size, save_distributed_checkpoint, process_group_backend, timeout
        )

    @property
    def whole(self) -> nn.Module:
        """The task, whose weights are sharded over the processes."""
        assert self.model is not None, "the strategy was set up"
        return self.model

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> StateDict:
        """Load weights and optimizer states from a checkpoint folder written by any number of
        processes, or from a checkpoint file of any other strategy. Return the rest of the
        checkpoint.

        Lightning's own method would assign the optimizer states of a file to wrong parameters.

        Raises:
            ValueError: it is a folder whose weights have names of an earlier release.
        """
        path = Path(self.broadcast(str(checkpoint_path)))
        if path.is_dir():
            return self._load_parts(path)
        saved = torch.load(path, mmap=True, map_location="cpu", weights_only=True)
        options = StateDictOptions(full_state_dict=True)
        weights = renamed_weights(saved.pop("state_dict"))
        set_model_state_dict(self.whole, weights, options=options)
        for optimizer, state in zip(
            self.optimizers, saved.get("optimizer_states", []), strict=False
        ):
            named = with_names(state, decayed_names(self.whole))
            set_optimizer_state_dict(self.whole, optimizer, optim_state_dict=named, options=options)
        return saved

    def _load_parts(self, folder: Path) -> StateDict:
        check_names(folder)
        saved = torch.load(folder / META, map_location="cpu", weights_only=True)
        weights = {"state_dict": get_model_state_dict(self.whole)}
        load_into(weights, folder)
        set_model_state_dict(self.whole, weights["state_dict"])
        for i, (optimizer, groups) in enumerate(
            zip(self.optimizers, saved.get(GROUPS, []), strict=False)
        ):
            named: StateDict = get_optimizer_state_dict(self.whole, optimizer)
            parts: StateDict = {f"optimizer_{i}": {"state": named["state"]}}
            load_into(parts, folder)
            settings = {name: group for group in groups for name in group["params"]}
            named["param_groups"] = [
                {**settings[group["params"][0]], "params": group["params"]}
                for group in named["param_groups"]
            ]
            set_optimizer_state_dict(self.whole, optimizer, optim_state_dict=named)
        return saved

    def save_checkpoint(
        self, checkpoint: StateDict, filepath: str | Path, storage_options: object = None
    ) -> None:
        """Save a checkpoint. For a folder, rank 0 stores the settings of parameter groups
        separately, since another number of processes has other groups.
        """
        if self.saves_folders:
            checkpoint[GROUPS] = [
                state.pop("param_groups") for state in checkpoint.get("optimizer_states", [])
            ]
        with as_os_error(Path(filepath)):
            super().save_checkpoint(checkpoint, filepath, storage_options)

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> StateDict:
        """Return the optimizer's state to save: this process's shards for a folder, or for one file
        the state of the whole model (on rank 0), which any strategy can load.
        """
        if isinstance(optimizer, LightningOptimizer):
            optimizer = optimizer.optimizer
        if self.saves_folders:
            return get_optimizer_state_dict(
                self.whole, optimizer, options=StateDictOptions(cpu_offload=True)
            )
        named = get_optimizer_state_dict(
            self.whole, optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
        )
        return with_numbers(named, decayed_names(self.whole)) if self.is_global_zero else {}


def check_names(folder: Path) -> None:
    """Raise ValueError if weights in a checkpoint folder have names of an earlier release."""
    paths = PlainReader(folder).read_metadata().planner_data.values()
    names = {path[1]: path[1] for path in paths if path[0] == "state_dict"}
    if old := sorted(names.values() - renamed_weights(names).keys()):
        raise ValueError(
            f"{folder} is of an earlier release: its weight {old[0]} has another name now, and "
            "each process reads only weights of the present names; `lslm consolidate` writes the "
            "weights to one file, which can be tested and used; go on training with the release "
            "that began it"
        )


# Data and layers per process


def data_share(trainer: Trainer) -> tuple[int, int]:
    """Return (index, number) of this process among the processes that read different data. A group
    of processes that read the same data counts as one.
    """
    share = getattr(trainer.strategy, "distributed_sampler_kwargs", None)
    return (share["rank"], share["num_replicas"]) if share else (0, 1)


def splits_layers(trainer: Trainer) -> bool:
    """Return whether tensor parallelism is used, so that all processes of a group must decode the
    same examples.
    """
    return getattr(trainer.strategy, "tensor_parallel_size", 1) > 1


def agreement(trainer: Trainer) -> Callable[[bool], bool]:
    """Return a collective function that gets whether this process is done with a search, and
    returns whether all processes of its tensor-parallel group are done.
    """
    strategy = trainer.strategy
    assert isinstance(strategy, ShardedStrategy), "only this one splits layers"
    group = strategy.device_mesh["tensor_parallel"].get_group()

    def all_done(done: bool) -> bool:
        n = torch.tensor(int(done), device=trainer.strategy.root_device)
        torch.distributed.all_reduce(n, torch.distributed.ReduceOp.MIN, group)
        return bool(n)

    return all_done


# Sharding


def apply_fsdp(task: "Task", mesh: DeviceMesh, precision: str | int | None) -> None:
    """Apply tensor parallelism to the task's backbone and shard all weights with FSDP2. Does
    nothing if the task is sharded already.

    Args:
        mesh: devices, with the dimensions "data_parallel" and "tensor_parallel".
        precision: value of `trainer.precision`. With "bf16-mixed", weights are gathered in bfloat16
            and gradients are reduced in float32.
    """
    if isinstance(task, FSDPModule):
        return
    backbone = task.backbone
    assert backbone is not None, "a model without a network is never sharded"
    data = mesh["data_parallel"]
    tensor = mesh["tensor_parallel"]
    if tensor.size() > 1:
        backbone.apply_tensor_parallel(tensor)
    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    if precision == "bf16-mixed":
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    for block in backbone.blocks():
        fully_shard(block, mesh=data, mp_policy=policy)
    fully_shard(task, mesh=data, mp_policy=policy)
    register_fsdp_forward_method(task, "loss")
    assert isinstance(task, FSDPModule), "fully_shard has made it one"
    task._get_fsdp_state()._lazy_init()  # makes the task the root, whichever module is called first


def unshard(task: nn.Module) -> None:
    """Gather the whole weights on every process, so that each process can evaluate its own examples
    without waiting for the others. Collective.
    """
    for module in sharded_modules(task):
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()


def reshard(task: nn.Module) -> None:
    """Undo `unshard`: keep only this process's shards of the weights."""
    for module in sharded_modules(task):
        module.reshard()
        module.set_reshard_after_forward(module is not task, recurse=False)


def sharded_modules(task: nn.Module) -> list[FSDPModule]:
    """Return the modules of a task that are sharded: the task itself and its blocks."""
    return [module for module in task.modules() if isinstance(module, FSDPModule)]


# Gradients


def local(tensor: Tensor) -> Tensor:
    """Return this process's shard of a tensor, or the tensor itself if it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def clip_by_norm(
    parameters: Sequence[nn.Parameter], largest: float, scale: Tensor | float = 1.0
) -> Tensor:
    """Multiply gradients in place by `scale`, and by what else makes their total norm at most
    `largest`. Return the norm before the latter. The gradients may be sharded over different
    meshes.
    """
    alike: dict[tuple[ProcessGroup, ...], list[Tensor]] = {}
    for p in parameters:
        if p.grad is not None:
            alike.setdefault(spread_over(p.grad), []).append(local(p.grad))
    squares = []
    for groups, gradients in alike.items():
        total = torch.nn.utils.get_total_norm(gradients)
        # the square of a norm beyond 256 does not fit into float16
        squares.append(total.to(torch.promote_types(total.dtype, torch.float32)).square())
        for group in groups:
            torch.distributed.all_reduce(squares[-1], group=group)
    norm = torch.stack(squares).sum().sqrt() * scale
    factor = (largest / (norm + 1e-6)).clamp(max=1.0) * scale
    torch._foreach_mul_(
        [gradient for gradients in alike.values() for gradient in gradients], factor
    )
    return norm


def spread_over(tensor: Tensor) -> tuple[ProcessGroup, ...]:
    """Return the process groups over which a tensor is sharded; empty if it is not sharded."""
    if not isinstance(tensor, DTensor):
        return ()
    return tuple(
        tensor.device_mesh.get_group(i)
        for i, placement in enumerate(tensor.placements)
        if not placement.is_replicate()
    )


def mesh_of(tensor: Tensor) -> DeviceMesh | None:
    """Return the device mesh over which a tensor is sharded; None if it is not sharded."""
    return tensor.device_mesh if isinstance(tensor, DTensor) else None


def by_mesh(groups: Sequence[Mapping[str, Json]]) -> list[StateDict]:
    """Split parameter groups so that all parameters of a group are on the same mesh, as optimizers
    require.
    """
    found = []
    for group in groups:
        meshes = dict.fromkeys(mesh_of(p) for p in group["params"])
        found += [
            {**group, "params": [p for p in group["params"] if mesh_of(p) == mesh]}
            for mesh in meshes
        ]
    return found


# States of optimizers: by number in one process, by name in several


def decayed_names(task: nn.Module) -> list[list[str]]:
    """Return the names of the parameters in each group of `decay_groups`, in the order in which an
    optimizer of the unsharded model numbers them.
    """
    names = {id(p): name for name, p in task.named_parameters()}
    return [[names[id(p)] for p in group["params"]] for group in decay_groups(task)]


def with_names(state: StateDict, names: Sequence[Sequence[str]]) -> StateDict:
    """Convert an optimizer state with parameter numbers, as an unsharded model has it, to a state
    with parameter names.

    Args:
        names: names of the parameters in each group, as `decayed_names` returns them.
    """
    flat = [name for group in names for name in group]
    groups = [
        {**group, "params": [flat[i] for i in group["params"]]} for group in state["param_groups"]
    ]
    return {
        "state": {flat[i]: value for i, value in state["state"].items()},
        "param_groups": groups,
    }


def with_numbers(state: StateDict, names: Sequence[Sequence[str]]) -> StateDict:
    """Convert an optimizer state with parameter names to a state with parameter numbers; the
    inverse of `with_names`.

    Args:
        names: names of the parameters in each group, as `decayed_names` returns them.
    """
    number = {name: i for i, name in enumerate(name for group in names for name in group)}
    settings = {name: group for group in state["param_groups"] for name in group["params"]}
    groups = [
        {**settings[group[0]], "params": [number[name] for name in group]}
        for group in names
        if group
    ]
    return {
        "state": {number[name]: value for name, value in state["state"].items()},
        "param_groups": groups,
    }
