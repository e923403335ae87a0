"""Which precision a machine can train in, and how autocast treats the weights."""

import os
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

N = 256  # rows of the matrices that are multiplied to find out
SOFTWARE = 6.0  # times slower than float32; with AVX2 alone bfloat16 was measured to be 90 times slower
FOUND = "LSLM_CPU_BFLOAT16"  # 1 or 0, for child processes


def usable_precision(precision: str | int | None, device_type: str) -> str | int | None:
    """The `trainer.precision` to use: float32 in place of bfloat16 autocast where the hardware has no bfloat16, else what was asked for.

    A configuration describes an experiment, and machines differ: processors with AVX2 alone multiply bfloat16 in software.
    """
    if precision in ("bf16-mixed", "bf16") and not has_bfloat16(device_type):
        return "32-true"
    return precision


@cache
def has_bfloat16(device_type: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; a CPU is asked by doing it (about 0.1 s).

    The processes that this one starts take over what it found: ranks and seeds compute alike.
    """
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type == "cpu" and FOUND not in os.environ:
        os.environ[FOUND] = str(int(_seconds(torch.bfloat16) < SOFTWARE * _seconds(torch.float32)))
    return device_type != "cpu" or os.environ[FOUND] == "1"


def weights_cast_once(device_type: str) -> AbstractContextManager:
    """Under autocast, keep the cast weights from step to step: Lightning's autocast casts them anew at each use."""
    if not torch.is_autocast_enabled(device_type):
        return nullcontext()
    return torch.autocast(device_type, torch.get_autocast_dtype(device_type), cache_enabled=True)


def _seconds(dtype: torch.dtype) -> float:
    """The shortest processor time of a product of two matrices (N, N) on one thread: what else runs here must not decide it."""
    x = torch.ones(N, N, dtype=dtype)
    n_thread = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x @ x
        times = []
        for _ in range(5):
            began = time.thread_time()
            x @ x
            times.append(time.thread_time() - began)
        return min(times)
    finally:
        torch.set_num_threads(n_thread)
