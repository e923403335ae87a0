"""Training speed of a config through the whole Trainer loop, against a plain loop."""

import json
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.benchmark import Check, Figures
from tests.benchmarks.job import config_path, lslm

N_WINDOW = 5


def race(
    config: str, loop: str | Mapping, *words: str, window: int, smoke: bool, n_settling: int = 1
) -> Figures:
    """Tokens per second of ours and of the loop, a figure for each of five alternating windows of
    `window` steps.

    Args:
        loop: its class path, or that with settings.
        n_settling: of the first windows, which are left out.
    """
    window = 2 if smoke else window
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "windows.json"
        settings = {
            "loop": {"class_path": loop} if isinstance(loop, str) else loop,
            "output": str(output),
            "window": window,
            "n_settling": n_settling,
        }
        callback = {"class_path": "tests.benchmarks.alternation.Alternation", "init_args": settings}
        steps = window * (n_settling + N_WINDOW)
        limits = (
            f"--trainer.max_steps={steps}",
            "--trainer.limit_val_batches=0",
            f"--trainer.callbacks={json.dumps([callback])}",
        )
        lslm("fit", "--config", str(config_path(config)), *limits, *words, bar=True)
        measured = json.loads(output.read_text())
    speeds = {
        who: [n / seconds for n, seconds in zip(measured["tokens"], measured[who], strict=True)]
        for who in ("ours", "theirs")
    }
    return {
        **speeds,
        "ratio": statistics.median(
            a / b for a, b in zip(speeds["ours"], speeds["theirs"], strict=True)
        ),
    }


def speed_checks(figures: Mapping, peer: str, least: float) -> list[Check]:
    """Medians of both, and of the ratios window by window."""
    return [
        Check("training, tokens/s", statistics.median(figures["ours"])),
        Check(f"{peer}, tokens/s", statistics.median(figures["theirs"])),
        Check("ratio, median of 5 alternating windows", figures["ratio"], ">=", least),
    ]
