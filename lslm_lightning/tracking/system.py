"""System metrics (processor, memory, disk, network, GPU) during a run, under MLflow's names."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lslm_lightning.tracking.mlflow_internals import system_monitors

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor


class SystemMetrics:
    """Thread that measures the load of processor, memory, disk, network and, if `nvidia-ml-py` is
    installed, GPU.

    It uses MLflow's measurements but not MLflow's monitor, which stops for good once the server is
    unavailable.

    Args:
        log: receives metrics and a step. The step is the number of seconds since the run began, so
            that a resumed run continues the curves.
        began: Unix time in seconds at which the run began.
        interval: seconds between two measurements.
    """

    def __init__(
        self,
        log: Callable[[Mapping[str, float], int], object],
        began: float,
        interval: float = 10.0,
    ) -> None:
        self._log = log
        self._began = began
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Measure a last time and end the thread."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        monitors = [monitor for kind in system_monitors() if (monitor := usable(kind))]
        stopped = False
        while not stopped:
            stopped = self._stop.wait(self._interval)
            metrics: dict[str, float] = {}
            for monitor in monitors:
                monitor.collect_metrics()
                metrics.update(
                    {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
                )
                monitor.clear_metrics()
            self._log(metrics, round(time.time() - self._began))


def usable(kind: type["BaseMetricsMonitor"]) -> "BaseMetricsMonitor | None":
    """Return a monitor of this class; None if the machine lacks the device or the library to read
    it.
    """
    try:
        monitor = kind()
        monitor.collect_metrics()
        monitor.clear_metrics()
        return monitor
    except Exception:
        return None
