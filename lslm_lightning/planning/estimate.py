"""Estimates of the memory and throughput of a training by device and strategy, derived from the
footprint of one step.
"""

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.configuration.cli import ExperimentCLI, checked_arguments
from lslm_lightning.configuration.errors import cause_of
from lslm_lightning.data.batching import limited
from lslm_lightning.planning.devices import Device
from lslm_lightning.text.recipes import Bytes
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.adapted import check_start, freeze_base
from lslm_lightning.training.batches import Batch, total_tokens
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.footprint import Footprint, KernelWork, footprint
from lslm_lightning.training.precision import AUTO, StepTimes
from lslm_lightning.training.task import Task

BatchT = TypeVar("BatchT")
# bytes
SINGLE = 4
HALF = 2


class Blueprint(ExperimentCLI):
    """Task and data of a config, built without a run directory or a Trainer.

    Args:
        arguments: arguments of the command line, the subcommand first.
        vocab_size: vocabulary size of a stand-in tokenizer; None to use the tokenizer of the data.
    """

    def __init__(self, arguments: Sequence[str], vocab_size: int | None = None) -> None:
        self.vocab_size = vocab_size
        super().__init__(arguments)

    def before_instantiate_classes(self) -> None:
        """Refuse untrusted classes and implausibly large numbers."""
        self.check_settings()

    def after_instantiate_classes(self) -> None:
        """Start no run."""

    def instantiate_trainer(self, **kwargs: object) -> None:  # type: ignore[override]
        """Build no Trainer."""

    def run_job(self, subcommand: str) -> None:
        """Run nothing."""

    def _tokenizer_of(self, data: TaskData) -> Tokenizer:
        """Return the tokenizer of the data, or a stand-in with the planned vocabulary size."""
        if self.vocab_size is None:
            return data.tokenizer
        stand_in = Bytes().train()
        stand_in.vocab_size = self.vocab_size  # all that a model needs of it
        return stand_in


@dataclass(eq=False)
class Plan:
    """Shapes and settings of a training on one device.

    Args:
        task: task with its model on the meta device.
        usual_batch: micro-batch of typical size, on the meta device.
        largest_batch: largest micro-batch, on the meta device.
        accumulate: number of micro-batches per optimizer step.
        precision: Trainer precision; may be "auto".
        n_batch: number of micro-batches on one device in the whole training; None if unknown.
        found: cache of the footprints, of every precision.
    """

    task: Task
    usual_batch: Batch
    largest_batch: Batch
    accumulate: int
    precision: str
    n_batch: int | None
    found: dict[tuple[str, bool, int, bool], Footprint] = field(default_factory=dict)

    def decided_for(self, device: Device) -> "Plan":
        """Return the plan with the precision `auto` resolved for a device, according to the
        device's peak rates.
        """
        if self.precision != AUTO:
            return self
        single, half = device.teraflops
        return replace(self, precision=StepTimes(1 / single, 1 / half).faster)

    @property
    def n_token(self) -> int | None:
        """Number of source and target tokens that one device trains on in the whole training; None
        if unknown.
        """
        return self.n_batch and self.n_batch * total_tokens(self.usual_batch)

    @property
    def n_byte(self) -> int:
        """Size in bytes of a number in computations."""
        return HALF if self.precision.startswith("bf16") else SINGLE

    @property
    def n_byte_weight(self) -> int:
        """Size in bytes of a stored weight."""
        return HALF if self.precision == "bf16-true" else SINGLE

    def footprint(self, usual: bool, n_part: int = 1, cast: bool = False) -> Footprint:
        """Return the footprint of one step: its memory use and its compute work.

        Args:
            usual: use the usual micro-batch; otherwise the largest.
            n_part: number of processes that compute each layer together (tensor parallelism).
            cast: whether weights are converted to the precision of computations, as FSDP2 does when
                it gathers them.
        """
        usual = usual and self.usual_batch is not self.largest_batch
        key = (self.precision, usual, n_part, cast)
        if key not in self.found:
            task = deepcopy(self.task)
            if n_part > 1:
                assert task.backbone is not None
                task.backbone.shard_shapes(n_part)
            if self.n_byte_weight == HALF or (cast and self.n_byte == HALF):
                task.to(torch.bfloat16)
            batch = self.usual_batch if usual else self.largest_batch
            self.found[key] = footprint(
                task, batch, self.precision == "bf16-mixed", task.label_smoothing
            )
        return self.found[key]


@dataclass(frozen=True)
class Estimate:
    """Memory and throughput of a training on some devices with one strategy.

    Args:
        n_device: number of devices.
        strategy: "one device", or the name of a file in configs/trainer.
        memory: bytes per device at peak use, for weights, gradients, optimizer states, and
            activations with temporary tensors.
        tokens_per_second: throughput of all devices together, in source and target tokens.
    """

    device: Device
    n_device: int
    strategy: str
    memory: tuple[float, float, float, float]
    tokens_per_second: float

    @property
    def total(self) -> float:
        """Total bytes of memory per device."""
        return sum(self.memory)


def planned(arguments: Sequence[str], vocab_size: int | None) -> Plan:
    """Return the plan of the training that arguments of `lslm fit` describe.

    Args:
        vocab_size: vocabulary size of a stand-in tokenizer; None to use the tokenizer of the data.

    Raises:
        SettingsError, ValueError: the config is wrong.
    """
    with checked_arguments(["fit", *arguments]) as checked, torch.device("meta"):
        try:
            blueprint = Blueprint(checked, vocab_size)
        except ValueError as error:
            raise cause_of(error)  # noqa: B904 (as it came, with its own traceback)
    blueprint.model.requirements.bind(blueprint.datamodule)
    task = blueprint.model
    freeze_base(task)
    if vocab_size is None:  # else the tokenizer is a stand-in, which fits no run
        task.start = blueprint.settings["job"]["start"]
        check_start(task)
    trainer = blueprint.settings["trainer"]
    sizes = blueprint.datamodule.sizes()
    n_batch = (
        trainer["max_steps"] * trainer["accumulate_grad_batches"]
        if trainer["max_steps"] > 0
        else None
    )
    # else there may be no corpus
    if n_batch is None and (trainer["max_epochs"] or -1) > 0 and vocab_size is None:
        limit = trainer["overfit_batches"] or trainer["limit_train_batches"]
        per_epoch = sizes.n_batch()
        n_batch = per_epoch and trainer["max_epochs"] * limited(per_epoch, limit)
    usual = on_meta(sizes.usual)
    largest = usual if sizes.largest is sizes.usual else on_meta(sizes.largest)
    return Plan(
        task,
        usual,
        largest,
        trainer["accumulate_grad_batches"],
        str(trainer["precision"] or "32-true"),
        n_batch,
    )


def on_meta(batch: BatchT) -> BatchT:
    """Return a batch with its tensors on the meta device."""
    values = cast("tuple[object, ...]", batch)  # every batch is a named tuple
    return type(batch)(
        *(value.to("meta") if isinstance(value, Tensor) else value for value in values)
    )


def estimates(plan: Plan, device: Device, n: int, n_node: int) -> list[Estimate]:
    """Return the estimate for one device, and for all devices with each strategy that divides the
    model evenly.

    A CPU counts as one device.

    Args:
        n: number of devices per machine.
        n_node: number of machines.
    """
    plan = plan.decided_for(device)
    found = [replicated(plan, device, 1, 1)]
    if n * n_node > 1 and not device.is_cpu:
        found += [replicated(plan, device, n, n_node), sharded(plan, device, n, n_node, 1)]
        # heads, units or devices that do not share out, or a network without a plan
        with suppress(ValueError):
            if plan.task.adapter is None:  # whose layers are not split
                found.append(sharded(plan, device, n, n_node, 2))
    return found


def replicated(plan: Plan, device: Device, n: int, n_node: int) -> Estimate:
    """Estimate a training in which every device holds the whole model: one device, or several with
    DDP.

    Args:
        n: number of devices per machine.
        n_node: number of machines.
    """
    world = n * n_node
    most = plan.footprint(usual=False)
    usual = plan.footprint(usual=True)
    weights = plan.n_byte_weight * most.n_parameter
    trained = plan.n_byte_weight * most.n_trained
    other, gradients = most.peak(1.0, plan.accumulate > 1)
    if world > 1:
        gradients += trained
    forth_and_back = compute_seconds(device, usual.step, plan.n_byte == HALF)
    exchange = 2 * (world - 1) / world * trained / speed_between(device, n_node)
    hidden = forth_and_back * 2 / 3  # of the last backward pass
    seconds = (
        plan.accumulate * forth_and_back
        + update_seconds(device, trained, most.state_bytes)
        + max(0.0, exchange - hidden)
    )
    memory = (weights, gradients, most.state_bytes, other)
    return Estimate(
        device,
        world,
        "one device" if world == 1 else "ddp",
        memory,
        world * plan.accumulate * usual.n_token / seconds,
    )


def sharded(plan: Plan, device: Device, n: int, n_node: int, together: int) -> Estimate:
    """Estimate a training with FSDP2, combined with tensor parallelism if `together` is more than
    1.

    Args:
        n: number of devices per machine.
        n_node: number of machines.
        together: number of devices that compute each layer together (tensor parallelism).

    Raises:
        ValueError: the devices or the layers cannot be divided evenly.
    """
    if n % together:
        raise ValueError(
            f"tensor_parallel_size={together} must divide the {n} devices of a machine"
        )
    n_share = n * n_node // together
    most, usual = (plan.footprint(usual, together, cast=True) for usual in (False, True))
    block = max(most.parameters[:-1], default=0)
    trained_block = max(most.trained[:-1], default=0)
    rest = most.parameters[-1]
    weights = plan.n_byte_weight * most.n_parameter / n_share
    trained = plan.n_byte_weight * most.n_trained / n_share
    state_bytes = most.state_bytes * plan.n_byte_weight / plan.n_byte / n_share
    other, gradients = most.peak(plan.n_byte_weight / plan.n_byte / n_share, plan.accumulate > 1)
    gathered = plan.n_byte * (rest + 2 * block)
    summed = plan.n_byte * (most.trained[-1] + trained_block) + plan.n_byte_weight * trained_block
    # gathered twice, and summed
    gathered_twice = 2 * plan.n_byte * most.n_parameter
    exchanged = (n_share - 1) / n_share * (gathered_twice + plan.n_byte_weight * most.n_trained)
    # forward, and backward
    backbone = plan.task.backbone
    assert backbone is not None
    n_join = 2 * sum(bool(getattr(module, "rows", ())) for module in backbone.modules())
    joined = (
        n_join * 2 * (together - 1) / together * usual.n_position * backbone.d_model * plan.n_byte
    )
    forth_and_back = compute_seconds(device, usual.step, plan.n_byte == HALF) + joined / (
        1e9 * device.link
    )
    seconds = plan.accumulate * max(forth_and_back, exchanged / speed_between(device, n_node))
    seconds += update_seconds(device, trained, state_bytes)
    # in a validation, for which all weights are gathered once
    whole = plan.n_byte * most.n_parameter
    memory = (weights, gradients, state_bytes, max(other + gathered + summed, whole))
    return Estimate(
        device,
        n * n_node,
        "fsdp" if together == 1 else "fsdp_tp",
        memory,
        n_share * plan.accumulate * usual.n_token / seconds,
    )


def compute_seconds(device: Device, step: Sequence[KernelWork], half: bool) -> float:
    """Return the duration in seconds of a sequence of kernels.

    The time of each kernel is the longest of its compute time, its memory traffic time and the
    launch time.

    Args:
        step: work of each kernel: FLOPs and bytes of memory traffic.
        half: whether matrix products run in bfloat16.
    """
    flops, n_byte = np.array(step).T
    rate = 1e12 * device.teraflops[half] * device.of_peak[0]
    bandwidth = 1e9 * device.bandwidth * device.of_peak[1]
    return float(
        np.maximum(np.maximum(flops / rate, n_byte / bandwidth), 1e-6 * device.launch).sum()
    )


def update_seconds(device: Device, weights: float, state_bytes: float) -> float:
    """Return the duration of an optimizer step in seconds, derived from the memory traffic of
    scaling, norm, clipping and update.

    Args:
        weights: size of the trained weights in bytes.
        state_bytes: size of the optimizer states in bytes.
    """
    return (2 * weights + 6 * weights + 2 * state_bytes) / (
        1e9 * device.bandwidth * device.of_peak[1]
    )


def speed_between(device: Device, n_node: int) -> float:
    """Return the bandwidth between neighbouring devices in bytes per second.

    Args:
        n_node: number of machines.
    """
    return 1e9 * (device.link if n_node == 1 else min(device.link, device.network))
