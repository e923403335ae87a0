"""Energy of training from a made folder of counters: what is counted, once, also when they wrap."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from lslm_lightning.training import energy as energy_module
from lslm_lightning.training.callbacks.energy import EnergyRecorder, gpus_of
from lslm_lightning.training.energy import (
    GPU,
    NO_COUNTER,
    EnergyCounter,
    EnergyMeter,
    gpu_counters,
    machine_meter,
    rapl_counters,
    read_energy,
)

RANGE = 262_143_328_850  # microjoules, of Intel's counters
PERMITTED = Path.read_text


def zone(folder: Path, name: str, kind: str, microjoules: int | str) -> Path:
    """Make a zone of the power capping framework; return the file of its counter."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "name").write_text(f"{kind}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path / "energy_uj"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The counters of a machine with two sockets: 1, 2 and 3 kJ of packages and memory, and others
    that count the same energy again.
    """
    folder = tmp_path / "powercap"
    (folder / "intel-rapl").mkdir(parents=True)
    zone(folder, "intel-rapl:0", "package-0", 10**9)
    zone(folder, "intel-rapl:0:0", "core", 9 * 10**8)
    zone(folder, "intel-rapl:0:1", "dram", 3 * 10**9)
    zone(folder, "intel-rapl:1", "package-1", 2 * 10**9)
    zone(folder, "intel-rapl:2", "psys", 7 * 10**9)
    zone(folder, "intel-rapl-mmio:0", "package-0", 10**9)
    return folder


class Clock:
    """Clock that stands still between calls of `wait`."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Unwatched(EnergyMeter):
    """Meter whose thread reads nothing, so that tests decide when it does."""

    def _watch(self, interval: float) -> None:
        self._end.wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_packages_and_their_memory_are_counted_once(machine: Path) -> None:
    counters, reason = rapl_counters(machine)
    assert reason == ""
    assert {each.name: (each.kind, each.read()) for each in counters} == {
        "intel-rapl:0": ("package", 1000.0),
        "intel-rapl:0:1": ("dram", 3000.0),
        "intel-rapl:1": ("package", 2000.0),
    }


def test_what_is_used_between_start_and_stop_is_added_up_by_kind(
    machine: Path, clock: Clock
) -> None:
    meter = Unwatched(*rapl_counters(machine), clock=clock)
    meter.start()
    clock.advance(10)
    (machine / "intel-rapl:0" / "energy_uj").write_text(str(10**9 + 5 * 10**8))
    (machine / "intel-rapl:1" / "energy_uj").write_text(str(2 * 10**9 + 2 * 10**8))
    meter.sample()
    clock.advance(5)
    (machine / "intel-rapl:0:1" / "energy_uj").write_text(str(3 * 10**9 + 10**6))
    found = meter.stop()
    assert found.joules == pytest.approx({"package": 700.0, "dram": 1.0})
    assert found.seconds == 15
    assert found.unsure_seconds == 0
    assert found.reason == ""


@pytest.mark.parametrize("n_wrap", [1, 3])
def test_a_counter_that_wraps_around_loses_nothing(
    tmp_path: Path, clock: Clock, n_wrap: int
) -> None:
    """A counter modulo its range, read in steps below the range, counts as one without a range."""
    used = 200_000_000_000  # microjoules a step
    file = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 1)
    meter = Unwatched(*rapl_counters(tmp_path), clock=clock)
    meter.start()
    for step in range(1, n_wrap + 1):
        clock.advance(200)
        file.write_text(str((RANGE - 1 + step * used) % RANGE))
        meter.sample()
    found = meter.stop()
    assert found.joules["package"] == pytest.approx(n_wrap * used / 1e6, rel=1e-9)
    assert found.unsure_seconds == 0


def test_a_reading_that_comes_too_late_is_named(machine: Path, clock: Clock) -> None:
    """After 262 seconds, a package of 1,000 W may have wrapped around more than once."""
    meter = Unwatched(*rapl_counters(machine), clock=clock)
    meter.start()
    clock.advance(261)
    assert meter.sample().unsure_seconds == 0
    clock.advance(263)
    assert meter.stop().unsure_seconds == 263


def test_a_thread_reads_counters_that_wrap_around_often_enough(machine: Path) -> None:
    meter = machine_of(machine)
    assert meter.interval <= RANGE / 1e6 / energy_module.MOST_WATTS / 2
    meter.start()
    assert meter._thread is not None
    meter.stop()
    assert not meter._thread.is_alive()


def machine_of(folder: Path) -> EnergyMeter:
    return EnergyMeter(*rapl_counters(folder))


def test_no_thread_runs_where_no_counter_wraps_around(clock: Clock) -> None:
    values = iter([5.0, 7.5, 9.0])
    meter = EnergyMeter([EnergyCounter("GPU-1", GPU, values.__next__)], clock=clock)
    meter.start()
    assert meter._thread is None
    clock.advance(10**6)
    meter.sample()
    found = meter.stop()
    assert found.joules == {"gpu": 4.0}
    assert found.unsure_seconds == 0


def test_a_machine_without_counters_is_told_apart_from_one_that_uses_nothing(
    tmp_path: Path, clock: Clock
) -> None:
    counters, reason = rapl_counters(tmp_path / "none")
    assert (counters, reason) == ([], "")
    meter = EnergyMeter(counters, reason, clock)
    meter.start()
    clock.advance(3)
    found = meter.stop()
    assert found.joules == {}
    assert found.reason == NO_COUNTER
    assert found.seconds == 3


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of zones whose counters nobody but root may read; empty at first."""
    names: list[str] = []

    def read_text(path: Path, *args: object) -> str:
        if path.name == "energy_uj" and path.parent.name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return PERMITTED(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", read_text)
    return names


def test_a_counter_that_only_root_may_read_is_a_reason_and_no_error(
    machine: Path, forbidden: list[str]
) -> None:
    forbidden += ["intel-rapl:0", "intel-rapl:0:1"]
    counters, reason = rapl_counters(machine)
    assert [each.name for each in counters] == ["intel-rapl:1"]
    assert "root" in reason
    assert "intel-rapl:0/energy_uj" in reason


def test_a_counter_that_is_lost_meanwhile_leaves_a_lower_bound(
    machine: Path, clock: Clock, forbidden: list[str]
) -> None:
    meter = Unwatched(*rapl_counters(machine), clock=clock)
    meter.start()
    clock.advance(10)
    (machine / "intel-rapl:0" / "energy_uj").write_text(str(10**9 + 10**6))
    meter.sample()
    forbidden.append("intel-rapl:1")
    for _ in range(2):
        clock.advance(20)
        meter.sample()
    found = meter.stop()
    assert found.joules["package"] == pytest.approx(1.0)
    assert found.unsure_seconds == 40
    assert "intel-rapl:1" in found.reason


@pytest.mark.parametrize("content", ["", "much", None])
def test_a_damaged_counter_is_a_reason(tmp_path: Path, content: str | None) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", content or "")
    if content is None:
        file.unlink()
    counters, reason = rapl_counters(tmp_path)
    assert counters == []
    assert "energy_uj" in reason


class NvmlError(Exception):
    """Error of NVIDIA's library."""


def driver(millijoules: dict[str, list[int]]) -> SimpleNamespace:
    """NVIDIA's library on a machine with GPUs whose counters read these values in turn."""

    def handle(uuid: str) -> str:
        if uuid not in millijoules:
            raise NvmlError("Not Found")
        return uuid

    def energy(uuid: str) -> int:
        if not millijoules[uuid]:
            raise NvmlError("Not Supported")
        return millijoules[uuid].pop(0)

    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetTotalEnergyConsumption=energy,
    )


def test_gpus_that_are_used_are_counted(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    given = {"GPU-a": [0, 1000, 4000], "GPU-b": [0, 0, 500], "GPU-other": [0, 9, 9]}
    monkeypatch.setitem(sys.modules, "pynvml", driver(given))
    counters, reason = gpu_counters(["GPU-a", "GPU-b"])
    assert reason == ""
    meter = EnergyMeter(counters, clock=clock)
    meter.start()
    assert meter.stop().joules == {"gpu": 3.5}


@pytest.mark.parametrize(("uuid", "why"), [("MIG-a", "Not Found"), ("GPU-old", "Not Supported")])
def test_a_gpu_without_a_counter_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, uuid: str, why: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver({"GPU-old": []}))
    counters, reason = gpu_counters([uuid])
    assert counters == []
    assert why in reason


def test_without_its_library_a_gpu_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_counters([]) == ([], "")
    counters, reason = gpu_counters(["GPU-a"])
    assert counters == []
    assert "nvidia-ml-py" in reason


def test_all_reasons_are_named(
    machine: Path, forbidden: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden += ["intel-rapl:0"]
    monkeypatch.setattr(rapl_counters, "__defaults__", (machine,))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    reason = machine_meter(["GPU-a"]).measured.reason
    assert "root" in reason
    assert "nvidia-ml-py" in reason


def trainer(**settings: object) -> SimpleNamespace:
    """A Trainer of rank 0 on CPUs."""
    strategy = SimpleNamespace(root_device=SimpleNamespace(type="cpu"))
    given = {"is_global_zero": True, "num_nodes": 1, "strategy": strategy, "device_ids": [0]}
    return SimpleNamespace(**given | settings)


def test_cpus_have_no_gpus() -> None:
    assert gpus_of(trainer()) == []


@pytest.fixture
def recorder(machine: Path, clock: Clock, tmp_path: Path) -> Callable[[], EnergyRecorder]:
    """Makes the callbacks of one run, whose record is `energy.json`."""

    def make() -> EnergyRecorder:
        return EnergyRecorder(
            tmp_path / "energy.json",
            lambda gpus, n: Unwatched(*rapl_counters(machine), clock=clock, n_machine=n),
        )

    return make


def test_a_resumed_training_adds_to_what_was_used_before(
    machine: Path, clock: Clock, tmp_path: Path, recorder: Callable[[], EnergyRecorder]
) -> None:
    """Energy before a save, between the save and a stop, and after it are all counted; what was
    used while nothing trained is not.
    """
    counter = machine / "intel-rapl:0" / "energy_uj"
    first = recorder()
    first.on_train_start(trainer(), None)
    clock.advance(10)
    counter.write_text(str(10**9 + 10 * 10**6))
    first.on_save_checkpoint(trainer(), None, {})
    [saved] = read_energy(tmp_path / "energy.json")
    assert saved.joules["package"] == pytest.approx(10.0)
    clock.advance(5)
    counter.write_text(str(10**9 + 15 * 10**6))
    first.on_exception(trainer(), None, KeyboardInterrupt())
    clock.advance(1000)
    counter.write_text(str(10**9 + 900 * 10**6))
    second = recorder()
    second.on_train_start(trainer(), None)
    clock.advance(20)
    counter.write_text(str(10**9 + 925 * 10**6))
    second.on_train_end(trainer(), None)
    second.on_save_checkpoint(trainer(), None, {})  # the last one, after training
    found = read_energy(tmp_path / "energy.json")
    assert [each.joules["package"] for each in found] == pytest.approx([15.0, 25.0])
    assert [each.seconds for each in found] == [15, 20]


def test_a_killed_training_keeps_what_its_last_save_knew(
    machine: Path, clock: Clock, tmp_path: Path, recorder: Callable[[], EnergyRecorder]
) -> None:
    first = recorder()
    first.on_train_start(trainer(), None)
    clock.advance(10)
    first.on_save_checkpoint(trainer(), None, {})
    second = recorder()  # the first is gone without a word
    second.on_train_start(trainer(), None)
    clock.advance(7)
    second.on_train_end(trainer(), None)
    assert [each.seconds for each in read_energy(tmp_path / "energy.json")] == [10, 7]


def test_rank_0_alone_measures(tmp_path: Path, recorder: Callable[[], EnergyRecorder]) -> None:
    other = recorder()
    other.on_train_start(trainer(is_global_zero=False), None)
    other.on_save_checkpoint(trainer(is_global_zero=False), None, {})
    other.on_train_end(trainer(is_global_zero=False), None)
    assert not (tmp_path / "energy.json").exists()


def test_a_record_that_cannot_be_written_stops_no_training(
    tmp_path: Path, recorder: Callable[[], EnergyRecorder]
) -> None:
    (tmp_path / "energy.json").mkdir()
    first = recorder()
    first.on_train_start(trainer(), None)
    first.on_save_checkpoint(trainer(), None, {})
    first.on_train_end(trainer(), None)


@pytest.mark.parametrize("text", ["", "{}", '{"trainings": [{"joules": 3}]}', "[1]"])
def test_a_damaged_record_is_no_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "energy.json"
    path.write_text(text)
    assert read_energy(path) == []
    assert read_energy(tmp_path / "none.json") == []


def test_the_record_is_json_with_joules_by_kind(
    clock: Clock, tmp_path: Path, recorder: Callable[[], EnergyRecorder]
) -> None:
    first = recorder()
    first.on_train_start(trainer(num_nodes=2), None)
    clock.advance(1)
    first.on_train_end(trainer(), None)
    [training] = json.loads((tmp_path / "energy.json").read_text())["trainings"]
    assert training["joules"] == {"package": 0.0, "dram": 0.0}
    assert training["n_machine"] == 2
