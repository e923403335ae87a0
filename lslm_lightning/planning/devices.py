"""Hardware figures for planning: peak rates from data sheets, for dense computation without
sparsity.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Device:
    """Memory, compute rates and bandwidths of a device.

    Args:
        gigabytes: memory size in GB (10^9 bytes).
        teraflops: peak rate of matrix products in float32 and in bfloat16, in TFLOP/s.
        bandwidth: memory bandwidth in GB/s.
        link: bandwidth to other devices of the same machine, in GB/s in one direction.
        network: bandwidth to devices of other machines, in GB/s in one direction.
        of_peak: share of the peak compute rate that large matrix products reach, and share of the
            memory bandwidth that simple kernels reach.
        launch: minimum time of a kernel in microseconds.
        is_cpu: whether the device is a CPU, all cores of which work on one model.
    """

    name: str
    gigabytes: float
    teraflops: tuple[float, float]
    bandwidth: float
    link: float
    network: float = 50.0
    of_peak: tuple[float, float] = (0.7, 0.8)
    launch: float = 8.0
    is_cpu: bool = False


# Sources: NVIDIA's and AMD's data sheets of these products; network: 400 Gbit/s a device, as in the
# makers' reference machines.
DEVICES = {
    "t4": Device("T4", 16, (8.1, 8.1), 320, 16),  # it has no bfloat16
    "l4": Device("L4", 24, (30.3, 121), 300, 32),
    "rtx3090": Device("RTX 3090", 24, (35.6, 71), 936, 16),
    "rtx4090": Device("RTX 4090", 24, (82.6, 165), 1008, 32),
    "a100-40": Device("A100 40GB", 40, (19.5, 312), 1555, 300),
    "a100": Device("A100 80GB", 80, (19.5, 312), 2039, 300),
    "a800": Device("A800 80GB", 80, (19.5, 312), 2039, 200),
    "h20": Device("H20", 96, (44, 148), 4000, 450),
    "h800": Device("H800", 80, (67, 989), 3350, 200),
    "h100": Device("H100 SXM", 80, (67, 989), 3350, 450),
    "h200": Device("H200 SXM", 141, (67, 989), 4800, 450),
    "b200": Device("B200", 180, (80, 2250), 8000, 900),
    "mi300x": Device("MI300X", 192, (163, 1307), 5300, 448),
}


def device_named(name: str) -> Device:
    """Return the device called `name` in `DEVICES`; for "cpu", measure the CPU of this machine.

    Raises:
        ValueError: the name is unknown; the message lists the known names.
    """
    if name == "cpu":
        return measured_cpu()
    if name not in DEVICES:
        raise ValueError(f"--device={name} is not known; there are cpu, {', '.join(DEVICES)}")
    return DEVICES[name]


def measured_cpu(seconds: float = 0.3) -> Device:
    """Measure the matrix-product rate and the memory bandwidth of this machine's CPU.

    Args:
        seconds: duration of each measurement.
    """
    import psutil

    from lslm_lightning.training.cores import limit_threads

    limit_threads()
    a = torch.randn(2048, 512)
    b = torch.randn(512, 2048)
    x, y, z = (torch.ones(2**21) for _ in range(3))
    ha = a.bfloat16()
    hb = b.bfloat16()
    product = 2 * 2048 * 512 * 2048 / best_time(lambda: a @ b, seconds)
    half = 2 * 2048 * 512 * 2048 / best_time(lambda: ha @ hb, seconds)
    moved = 3 * 4 * len(x) / best_time(lambda: torch.add(x, y, out=z), seconds)
    memory = psutil.virtual_memory().total / 1e9
    return Device(
        "this machine",
        memory,
        (product / 1e12, half / 1e12),
        moved / 1e9,
        moved / 2e9,
        1.0,
        (0.9, 0.9),
        5.0,
        is_cpu=True,
    )


def best_time(work: Callable[[], object], seconds: float) -> float:
    """Return the minimum latency of `work` in seconds, calling it repeatedly for `seconds`."""
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best
