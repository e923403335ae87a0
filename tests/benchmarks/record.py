"""What was measured and under which circumstances: one JSON file a benchmark, written after every
part.
"""

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lslm_lightning.tracking.environment import git_state
from tests.benchmarks.benchmark import Figures

RESULTS = Path(__file__).parent / "results"


class Record:
    """The finished parts of a benchmark, by name; in memory only without a `path`."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._parts: dict[str, dict[str, Any]] = (
            json.loads(path.read_text("utf-8")) if path and path.exists() else {}
        )

    def __contains__(self, part: str) -> bool:
        return part in self._parts

    @property
    def figures(self) -> dict[str, Figures]:
        return {name: part["figures"] for name, part in self._parts.items()}

    def circumstances(self, part: str) -> dict[str, Any]:
        return self._parts[part]["circumstances"]

    def keep(self, part: str, figures: Figures, circumstances: Mapping[str, Any]) -> None:
        """Record a finished part; a reader never sees half a file."""
        self._parts[part] = {"figures": figures, "circumstances": circumstances}
        self._write()

    def clear(self) -> None:
        """Forget everything."""
        self._parts = {}
        self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(self._parts, indent=1, ensure_ascii=False) + "\n", "utf-8")
        draft.replace(self.path)


def present_circumstances() -> dict[str, Any]:
    """When, which code, which machine, and how busy it is before anything starts (processes that
    run or wait, mean of a minute).
    """
    import torch

    from tests.benchmarks.loop import has_fast_bfloat16

    git = git_state()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "commit": git.get("git.commit", "unknown")[:10]
        + (" with changes" if git.get("git.dirty") == "true" else ""),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_model(),
        "threads": torch.get_num_threads(),
        "bfloat16": has_fast_bfloat16(),
        "load": round(os.getloadavg()[0], 2),
    }


def cpu_model() -> str:
    """As the kernel calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
