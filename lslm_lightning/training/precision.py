"""Choice of the precision in which a model trains fastest, and autocast of its weights."""

import copy
import gc
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lslm_lightning.training.batches import Batch
    from lslm_lightning.training.task import Task

AUTO = "auto"
SINGLE = "32-true"
HALF = "bf16-mixed"
DECIDED = "LSLM_PRECISION"  # the decision for `auto`, for the processes that a training starts
WORTHWHILE = 0.9  # largest share of float32's time at which bfloat16 is worth its lower precision
# timed steps in each precision, at most, and seconds after which no more are timed
N_ROUND = 7
SECONDS = 2.0
# a first step in bfloat16 that is so many times slower, and takes so many seconds, is enough
HOPELESS = 10.0
LONG = 1.0


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one training step (forward and backward) in float32 and under bfloat16
    autocast.
    """

    float32: float
    bfloat16: float

    @property
    def faster(self) -> str:
        """Precision to train with, as a value of `trainer.precision`: bfloat16 if it saves at least
        a tenth of the time, otherwise float32.
        """
        return HALF if self.bfloat16 <= WORTHWHILE * self.float32 else SINGLE

    def timing_of(self, precision: str) -> str:
        """Return a phrase with the times of a step in both precisions, such as "a step takes 41 ms,
        75 ms in float32".

        Args:
            precision: value of `trainer.precision` whose time is named first.
        """
        float32 = shown(self.float32)
        bfloat16 = shown(self.bfloat16)
        if math.isinf(self.bfloat16):
            return f"a step takes {float32}, and bfloat16 is not supported"
        if precision == SINGLE:
            return f"a step takes {float32}, {bfloat16} in bfloat16"
        return f"a step takes {bfloat16}, {float32} in float32"


def shown(seconds: float) -> str:
    """Return a duration as text, in milliseconds below one second and in seconds above: "41 ms",
    "7.5 s".
    """
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def step_times(
    step: Callable[[bool], None], clock: Callable[[], float] = time.perf_counter
) -> StepTimes:
    """Return the shortest time of a step in float32 and in bfloat16. Steps in the two precisions
    alternate, so that other work on the machine slows both. The time in bfloat16 is infinite if a
    kernel is missing.

    Args:
        step: function that does one training step, under bfloat16 autocast if its argument is True.
        clock: returns seconds since a fixed moment.
    """
    best = {False: math.inf, True: math.inf}
    began = clock()
    for number in range(1 + N_ROUND):
        taken: dict[bool, float] = {}
        for half in best:
            since = clock()
            try:
                step(half)
            except RuntimeError:
                if not half:
                    raise
                return StepTimes(min(best[False], taken[False]), math.inf)
            taken[half] = clock() - since
        if number == 0 and taken[True] > max(LONG, HOPELESS * taken[False]):
            return StepTimes(taken[False], taken[True])
        if number:  # the first of each kind compiles kernels
            best = {half: min(best[half], taken[half]) for half in best}
            if clock() - began > SECONDS:
                break
    return StepTimes(best[False], best[True])


def trial_step(task: "Task", batch: "Batch", device: torch.device) -> Callable[[bool], None]:
    """Return a function that does one training step, for `step_times`. It uses a copy of the task
    for each precision, since a recurrent state that is carried from batch to batch has the
    precision of its step.

    Args:
        task: the task to copy.
        batch: a batch of the usual size. Tensors on the meta device, which have no content, get
            made-up ids.
        device: device to compute on.
    """
    probes = {half: copy.deepcopy(task).to(device).train() for half in (False, True)}
    n_id = task.tokenizer.vocab_size
    kind: Callable[..., Batch] = type(batch)
    batch = kind(*(on_device(v, device, n_id) if isinstance(v, Tensor) else v for v in batch))

    def step(half: bool) -> None:
        """Do one forward and backward pass, under bfloat16 autocast if `half`."""
        probe = probes[half]
        # Lightning's autocast keeps no cast weights either.
        with torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=False):
            loss = probe.loss(batch, probe.label_smoothing)
        loss.backward()
        probe.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def on_device(tensor: Tensor, device: torch.device, n_id: int) -> Tensor:
    """Return a tensor of a batch on a device. A tensor on the meta device has no content and gets
    made-up ids below `n_id`.
    """
    if tensor.is_meta:
        tensor = torch.arange(tensor.numel(), dtype=tensor.dtype).remainder(n_id).view(tensor.shape)
    return tensor.to(device)


def may_be_slow(device_type: str) -> bool:
    """Return whether bfloat16 may be slower than float32: on a CPU, or on a GPU without bfloat16
    instructions.
    """
    if device_type == "cuda":
        return not torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type == "cpu"


def measure_steps(
    task: "Task",
    batch: "Batch",
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> StepTimes | None:
    """Return the times of a training step in both precisions; None if the device supports only
    float32. The weights and the random state are left unchanged.

    Args:
        batch: a batch of the usual size.
        clock: returns seconds since a fixed moment.
    """
    if device.type not in ("cpu", "cuda") or (
        device.type == "cuda" and not torch.cuda.is_bf16_supported()
    ):
        return None
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return step_times(trial_step(task, batch, device), clock)
    finally:
        gc.collect()  # a task and its parts refer to each other: frees the copies


def weights_cast_once(device_type: str) -> AbstractContextManager:
    """Return a context in which autocast, if it is on, casts each weight only once. Lightning's
    autocast casts a weight at each use.
    """
    if not torch.is_autocast_enabled(device_type):
        return nullcontext()
    return torch.autocast(device_type, torch.get_autocast_dtype(device_type), cache_enabled=True)
