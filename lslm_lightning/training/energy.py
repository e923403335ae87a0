"""Energy of a training, from counters of the machine: Linux RAPL and NVIDIA's driver.

RAPL counters wrap around, after minutes under full load: a thread reads them often enough. Those of
NVIDIA (Volta and newer) count from the start of the driver and need none.
"""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from lslm_lightning.files import atomic_write
from lslm_lightning.types import JsonObject

POWERCAP = Path("/sys/class/powercap")
MOST_WATTS = 1000.0  # more than one CPU package takes; tells how soon its counter may wrap around
PACKAGE = "package"
MEMORY = "dram"
GPU = "gpu"
KINDS = (PACKAGE, MEMORY, GPU)  # what is counted; cores and graphics are inside their package
NO_COUNTER = "this machine shows no energy counter (RAPL of Linux, or that of an NVIDIA GPU)"


@dataclass(frozen=True)
class EnergyCounter:
    """Counter of the energy that one part of the machine has used.

    Args:
        name: name of the part, unique on the machine.
        kind: one of `KINDS`.
        read: returns the joules so far; raises ValueError, with the reason, if they cannot be read.
        wraps_at: joules at which the counter starts again from 0; 0 if it does not.
    """

    name: str
    kind: str
    read: Callable[[], float]
    wraps_at: float = 0.0

    @property
    def blind_seconds(self) -> float:
        """Seconds between two readings from which on the counter may have wrapped around more than
        once, unseen; infinite if it does not wrap around.
        """
        return self.wraps_at / MOST_WATTS if self.wraps_at else math.inf


def rapl_counters(folder: Path = POWERCAP) -> tuple[list[EnergyCounter], str]:
    """Return the counters of CPU packages and their memory, and the reason why some that are there
    cannot be read; "" if all can.

    Args:
        folder: folder of Linux' power capping framework.
    """
    found = []
    reason = ""
    for zone in sorted(folder.glob("intel-rapl:*")):  # on AMD too; intel-rapl-mmio is a copy
        try:
            name = text_of(zone / "name")
            kind = next((kind for kind in (PACKAGE, MEMORY) if name.startswith(kind)), None)
            if kind is None:  # part of a package, or the platform, whose packages have zones
                continue
            wraps_at = joules_in(zone / "max_energy_range_uj")
            counter = EnergyCounter(
                zone.name, kind, partial(joules_in, zone / "energy_uj"), wraps_at
            )
            counter.read()
            found.append(counter)
        except ValueError as error:
            reason = reason or str(error)
    return found, reason


def joules_in(path: Path) -> float:
    """Return the joules in a file of microjoules.

    Raises:
        ValueError: the file cannot be read, or has no number; the message can be shown.
    """
    text = text_of(path)
    try:
        return int(text) / 1e6
    except ValueError:
        raise ValueError(f"{path} has no number, but {text[:20]!r}") from None


def text_of(path: Path) -> str:
    """Return the text of a file of the system.

    Raises:
        ValueError: the file cannot be read; the message can be shown.
    """
    try:
        return path.read_text("utf-8").strip()
    except PermissionError:
        message = f"only root may read the energy counters of this machine ({path})"
        raise ValueError(message) from None
    except OSError as error:
        told = os.strerror(error.errno) if error.errno else str(error)
        message = f"an energy counter of this machine cannot be read ({path}: {told})"
        raise ValueError(message) from None


def gpu_counters(uuids: Sequence[str]) -> tuple[list[EnergyCounter], str]:
    """Return the counters of NVIDIA GPUs, and the reason why some cannot be read; "" if all can.

    Args:
        uuids: identifiers of the GPUs, such as "GPU-5e4a...".
    """
    if not uuids:
        return [], ""
    try:
        import pynvml
    except ImportError:
        return [], "the package nvidia-ml-py, which reads the counters of GPUs, is not installed"
    found = []
    try:
        pynvml.nvmlInit()
        for uuid in uuids:
            device = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            counter = EnergyCounter(uuid, GPU, partial(joules_of_gpu, pynvml, device))
            counter.read()
            found.append(counter)
    except pynvml.NVMLError as error:
        return found, f"the energy counter of a GPU cannot be read ({error})"
    except ValueError as error:
        return found, str(error)
    return found, ""


def joules_of_gpu(pynvml: ModuleType, device: object) -> float:
    """Return the joules that a GPU has used since its driver was loaded.

    Raises:
        ValueError: the GPU does not tell; the message can be shown.
    """
    try:
        joules: float = pynvml.nvmlDeviceGetTotalEnergyConsumption(device) / 1e3
    except pynvml.NVMLError as error:
        raise ValueError(f"the energy counter of a GPU cannot be read ({error})") from None
    return joules


@dataclass
class MeasuredTraining:
    """Energy of one training, from its start or its resumption to its end.

    Attributes:
        began: Unix time of its start, in seconds.
        seconds: time that was trained, validations included.
        joules: joules by the kind of what is counted: "package", "dram", "gpu".
        unsure_seconds: time after which the joules may be too few, since a counter was read too
            late or not at all.
        reason: reason why nothing, or not everything that has a counter, was measured; "" for none.
        n_machine: number of machines that trained; only the first is measured.
    """

    began: float
    seconds: float = 0.0
    joules: dict[str, float] = field(default_factory=dict)
    unsure_seconds: float = 0.0
    reason: str = ""
    n_machine: int = 1


class EnergyMeter:
    """Sums what counters count between `start` and `stop`.

    Args:
        counters: the counters to read.
        reason: reason why there are no others; "" for none.
        clock: returns the time in seconds; not set back.
        n_machine: see `MeasuredTraining`.
    """

    def __init__(
        self,
        counters: Sequence[EnergyCounter],
        reason: str = "",
        clock: Callable[[], float] = time.monotonic,
        n_machine: int = 1,
    ) -> None:
        self.counters = list(counters)
        self.clock = clock
        self.measured = MeasuredTraining(
            time.time(),
            joules={each.kind: 0.0 for each in counters},
            reason=reason if reason or counters else NO_COUNTER,
            n_machine=n_machine,
        )
        self._last: dict[str, float] = {}
        self._is_lost = False  # whether a counter could not be read to the end
        self._at = 0.0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def interval(self) -> float:
        """Seconds between two readings that see every wrap-around; infinite if there is none."""
        return min((each.blind_seconds for each in self.counters), default=math.inf) / 4

    def start(self) -> None:
        """Begin to count. Where a counter wraps around, a thread reads it now and then."""
        self._at = self.clock()
        for counter in list(self.counters):
            self._last[counter.name] = self._read(counter, 0.0)
        if (interval := self.interval) < math.inf:
            self._thread = threading.Thread(
                target=self._watch, args=(interval,), name="energy", daemon=True
            )
            self._thread.start()

    def sample(self) -> MeasuredTraining:
        """Read all counters and return what they have counted so far."""
        with self._lock:
            now = self.clock()
            elapsed = now - self._at
            is_sure = True
            for counter in list(self.counters):
                last = self._last[counter.name]
                joules = self._read(counter, last)
                used = joules - last
                if used < 0 and counter.wraps_at:
                    used += counter.wraps_at
                elif used < 0:  # its driver was loaded anew
                    used, is_sure = joules, False
                is_sure &= elapsed < counter.blind_seconds
                self._last[counter.name] = joules
                self.measured.joules[counter.kind] += used
            self.measured.seconds += elapsed
            self.measured.unsure_seconds += 0.0 if is_sure and not self._is_lost else elapsed
            self._at = now
            return replace(self.measured, joules=dict(self.measured.joules))

    def stop(self) -> MeasuredTraining:
        """Read all counters a last time, end the thread, and return what was counted."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        return self.sample()

    def _read(self, counter: EnergyCounter, last: float) -> float:
        """Return the joules of a counter; `last` if it cannot be read, which ends its use."""
        try:
            return counter.read()
        except ValueError as error:
            self.counters.remove(counter)
            self.measured.reason = str(error)
            self._is_lost = True
            return last

    def _watch(self, interval: float) -> None:
        while not self._end.wait(interval):
            self.sample()


def machine_meter(uuids: Sequence[str], n_machine: int = 1) -> EnergyMeter:
    """Return a meter of all energy counters of this machine that can be read.

    Args:
        uuids: identifiers of the GPUs that are used; see `gpu_counters`.
        n_machine: number of machines that train together.
    """
    cpus, why_not_cpus = rapl_counters()
    gpus, why_not_gpus = gpu_counters(uuids)
    reason = "; ".join(filter(None, (why_not_cpus, why_not_gpus)))
    return EnergyMeter([*cpus, *gpus], reason, n_machine=n_machine)


def read_energy(path: Path) -> list[MeasuredTraining]:
    """Return the energy of each training of a run; empty if the file is not there or is damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))["trainings"]
        known = {each.name for each in fields(MeasuredTraining)}  # a newer release may have more
        return [
            MeasuredTraining(**{name: value for name, value in each.items() if name in known})
            for each in found
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []


def write_energy(path: Path, trainings: Sequence[MeasuredTraining]) -> None:
    """Write the energy of each training of a run, in order."""
    record: JsonObject = {"trainings": [asdict(each) for each in trainings]}
    atomic_write(path, json.dumps(record, indent=1) + "\n")
