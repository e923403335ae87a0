"""Processor cores that this process may use, and the number of threads of torch."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

THREADS = "OMP_NUM_THREADS"


def available_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use, limited by its CPU affinity and the CPU
    quotas of its control groups; at least 1.

    Args:
        root: folder that contains `proc` and `sys`.
    """
    if hasattr(os, "sched_getaffinity"):
        n = len(os.sched_getaffinity(0))
    else:
        n = os.cpu_count() or 1
    return max(1, min([n, *(math.ceil(quota) for quota in cpu_quotas(root))]))


def cpu_quotas(root: Path) -> Iterator[float]:
    """Yield the CPU limits, in cores, of this process's control groups and their parent groups.
    Yield nothing on a system without control groups.

    In a container, the recorded path of a group may be its path on the host, while its limits are
    at the top of the mounted tree; both are read.

    Args:
        root: folder that contains `proc` and `sys`.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        tops = (
            ["sys/fs/cgroup"]
            if not controllers
            else ["sys/fs/cgroup/cpu", f"sys/fs/cgroup/{controllers}"]
        )
        relative = Path(group.lstrip("/"))
        for folder in {root / top / part for top in tops for part in (relative, *relative.parents)}:
            yield from cpu_quota(folder)


def cpu_quota(group: Path) -> Iterator[float]:
    """Yield the CPU limit of a control group (version 1 or 2) in cores; nothing if it has none."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text("utf-8") for name in names).split()
            if quota != "max" and int(quota) > 0 and int(period) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError):  # no such file, or of another format
            continue


def limit_threads(n_process: int = 1) -> str:
    """Limit torch's threads to the cores that each of `n_process` processes may use.

    A number of threads set in OMP_NUM_THREADS is kept. Without it, torch counts the cores of the
    machine, even if a container has fewer.

    Returns:
        A message if torch would have used more threads than this process has cores, otherwise "".
    """
    import torch

    n_core = available_cores()
    before = torch.get_num_threads()
    n = max(1, n_core // n_process)
    if os.environ.get(THREADS) or before <= n:
        return ""
    torch.set_num_threads(n)
    os.environ[THREADS] = str(n)  # for the processes that this one starts
    if before <= n_core:
        return ""
    return (
        f"threads: {n} in place of {before}, since this process may use {n_core} cores; "
        f"{THREADS} sets another number"
    )
