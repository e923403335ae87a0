"""Training speed of a config through the whole Trainer loop, against a plain loop."""

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.benchmark import Check, Figures
from tests.benchmarks.job import config_path, lslm

N_WINDOW = 5


def race(
    config: str, loop: str | Mapping, *words: str, window: int, smoke: bool, n_settling: int = 1
) -> Figures:
    """Tokens per second of ours and of the loop, a figure for each of five alternating windows of
    `window` steps, and the median of the ratios.

    Args:
        loop: its class path, or that with settings.
        n_settling: of the first windows, which are left out.
    """
    speeds = contest(
        config, {"theirs": loop}, *words, window=window, smoke=smoke, n_settling=n_settling
    )
    return {**speeds, "ratio": ratio(speeds["ours"], speeds["theirs"])}


def contest(
    config: str,
    loops: Mapping[str, str | Mapping],
    *words: str,
    window: int,
    smoke: bool,
    n_settling: int = 1,
) -> dict[str, list[float]]:
    """Tokens per second of ours and of each loop, as in `race`."""
    window = 2 if smoke else window
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "windows.json"
        settings = {
            "loops": {
                name: {"class_path": loop} if isinstance(loop, str) else loop
                for name, loop in loops.items()
            },
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
    tokens = measured.pop("tokens")
    return {
        who: [n / seconds for n, seconds in zip(tokens, times, strict=True)]
        for who, times in measured.items()
    }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median of the ratios, window by window."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def speed_checks(figures: Mapping, peer: str, least: float) -> list[Check]:
    """Medians of both, and of the ratios window by window."""
    return [
        Check("training, tokens/s", statistics.median(figures["ours"])),
        Check(f"{peer}, tokens/s", statistics.median(figures["theirs"])),
        Check("ratio, median of 5 alternating windows", figures["ratio"], ">=", least),
    ]
