"""Values that the processes of a training agree on without waiting for GPUs."""

import torch
from torch import Tensor


class LargestOfRanks:
    """Function that returns the maximum of an integer over all ranks. Collective.

    On GPUs, a call returns the maximum of the previous call (0 at first), unless `at_once` is set.
    Waiting for the current maximum would stall the CPU until the GPU has caught up.
    """

    def __init__(self) -> None:
        self._before: tuple[Tensor, torch.cuda.Event] | None = None

    def forget(self) -> None:
        """Discard the maximum of the previous call."""
        self._before = None

    def __call__(self, number: int, device: torch.device, at_once: bool = False) -> int:
        largest = torch.full((), number, device=device)
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
        if at_once or not is_asynchronous(device):
            self._before = None
            return int(largest)
        before = self._before
        self._before = copy_in_background(largest)
        if before is None:
            return 0
        before[1].synchronize()
        return int(before[0])


def is_asynchronous(device: torch.device) -> bool:
    """Return whether a device computes asynchronously, so that reading a value waits for it."""
    return device.type == "cuda"


def copy_in_background(tensor: Tensor) -> tuple[Tensor, torch.cuda.Event]:
    """Start an asynchronous copy of a GPU tensor to pinned CPU memory. Return the copy and an event
    that tells when the copy is complete.
    """
    copy = torch.empty_like(tensor, device="cpu", pin_memory=True)
    event = torch.cuda.Event()
    copy.copy_(tensor, non_blocking=True)
    event.record()
    return copy, event
