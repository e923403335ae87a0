"""The processor cores that this process may use, and threads to fill them."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

THREADS = "OMP_NUM_THREADS"


def available_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use, by its affinity and the CPU limits of its control
    groups; at least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        n = len(os.sched_getaffinity(0))
    else:
        n = os.cpu_count() or 1
    return max(1, min([n, *(math.ceil(quota) for quota in cpu_quotas(root))]))


def cpu_quotas(root: Path) -> Iterator[float]:
    """Yield the limits of this process's control groups, and of those around them, in cores;
    nothing where there are none.

    A container may see the path of its group on the host, and its own limits at the top of the
    mounted tree.
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
    """Yield the limit of one control group, of either version, in cores."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text("utf-8") for name in names).split()
            if quota != "max" and int(quota) > 0 and int(period) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError):  # no such file, or nothing that we know
            continue


def limit_threads(n_process: int = 1) -> str:
    """Let torch use no more threads than there are cores for each of `n_process` processes.

    A number in OMP_NUM_THREADS is obeyed. Without one, torch counts the cores of the machine, also
    where a container has fewer.

    Returns:
        What to tell: that torch would use more threads than this process has cores. "" for nothing.
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
