"""Test of exact resumption: a training that is killed and resumed is compared with an uninterrupted
one.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from lslm_lightning.experiments.child_process import KILL, signal_group
from lslm_lightning.experiments.endings import WorkError
from lslm_lightning.long_options import option_values
from lslm_lightning.run_files import CHECKPOINTS, LAST
from lslm_lightning.types import StateDict


def accumulated(configs: Sequence[str], arguments: Sequence[str]) -> int:
    """Return the value of `trainer.accumulate_grad_batches`.

    Args:
        configs: paths of config files.
        arguments: command-line arguments, which override the files.
    """
    from lslm_lightning.text.yaml_files import read_yaml

    given: list[int | str] = [1]
    for config in configs:
        settings = read_yaml(Path(config))
        trainer = settings.get("trainer") if isinstance(settings, dict) else None
        given += [(trainer or {}).get("accumulate_grad_batches") or given[-1]]
    name = "trainer.accumulate_grad_batches"
    given += [value for option, value in option_values(arguments) if option == name]
    return int(given[-1])


KEPT = ("optimizer", "lr_schedulers", "carried", "tables")  # of a state, besides its weights


class Trial:
    """Training runs started as child processes in a temporary folder and killed at random times.

    Args:
        folder: temporary folder for the runs.
        seed: random seed for the times of the kills.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.interval = 1.0  # seconds between two saves
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LSLM_R")}
        folders = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "XDG_STATE_HOME": str(folder),
        }
        self.environment = kept | folders

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start an `lslm` command in a child process."""
        log = (self.folder / "log").open("a+", encoding="utf-8")
        command = [sys.executable, "-m", "lslm_lightning", *arguments]
        return subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, process_group=0
        )

    def train(self, arguments: Sequence[str]) -> None:
        """Run a training until it ends.

        Args:
            arguments: arguments of `lslm`.
        """
        process = self.start(arguments)
        seen = [(self.saved(), time.monotonic())]
        try:
            while (status := process.poll()) is None:
                if (saved := self.saved()) != seen[-1][0]:
                    seen.append((saved, time.monotonic()))
                time.sleep(0.01)
        finally:
            stop(process)
        between = [later - earlier for (_, earlier), (_, later) in pairwise(seen[1:])]
        self.interval = min(between, default=self.interval)
        if status:
            lines = (self.folder / "log").read_text("utf-8", "replace").strip().splitlines()
            raise WorkError(
                f"lslm {arguments[0]} failed: {lines[-1] if lines else f'status {status}'}"
            )

    def kill_and_resume(self, arguments: Sequence[str], n: int) -> int:
        """Start a training, kill and resume it `n` times, then let it finish.

        Args:
            arguments: arguments of `lslm`.
            n: number of kills.

        Returns:
            Number of kills that interrupted the training.
        """
        n_middle = 0
        for number in range(1, n + 1):
            before = self.saved()
            process = self.start(arguments)
            try:
                while process.poll() is None and self.saved() == before:
                    time.sleep(0.01)
                time.sleep(self.random.random() * self.interval)
                is_middle = process.poll() is None
            finally:
                stop(process)
            n_middle += is_middle
            print(
                f"kill {number}: {'in the middle' if is_middle else 'at the end already'}",
                flush=True,
            )
            found = sorted((self.folder / "runs").glob("*/killed-*"))
            if not found:
                log = (self.folder / "log").read_text("utf-8", "replace")
                last = "".join(log.strip().splitlines()[-1:]) or "it printed nothing"
                raise WorkError(f"the training that is to be killed did not begin: {last}")
            arguments = ["resume", str(found[0])]
        self.train(arguments)
        return n_middle

    def saved(self) -> int:
        """Return the time of the last checkpoint in nanoseconds since the epoch; 0 if there is
        none.
        """
        return max(
            (
                path.stat().st_mtime_ns
                for path in (self.folder / "runs").glob(f"*/*/{CHECKPOINTS}/{LAST}")
            ),
            default=0,
        )

    def decided(self, name: str) -> list[str]:
        """Return the settings of the run called `name` that a measurement decides where they are
        `auto`, as arguments.
        """
        from lslm_lightning.runs.config import read_config
        from lslm_lightning.runs.directory import RunDirectory

        config = read_config(RunDirectory.of_checkpoint(self.state(name)).config)
        words = [f"--trainer.precision={config['trainer'].get('precision') or 'null'}"]
        compiles = (config["model"].get("init_args") or {}).get("compile")
        return words if compiles is None else [*words, f"--model.compile={json.dumps(compiles)}"]

    def state(self, name: str) -> Path:
        """Return the path of the last checkpoint of the run called `name`."""
        [path] = (self.folder / "runs").glob(f"*/{name}-*/{CHECKPOINTS}/{LAST}")
        return path


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and the processes that it started."""
    if process.poll() is None:
        signal_group(process, KILL)
    process.wait()


def differences(first: Path, second: Path) -> str:
    """Return a text that says how two training checkpoints differ; "" if they are equal."""
    import torch

    one = whole_state(first)
    two = whole_state(second)
    if one["global_step"] != two["global_step"]:
        return f"step {one['global_step']} and step {two['global_step']}"
    weights = [
        name
        for name, weight in one["state_dict"].items()
        if not torch.equal(weight, two["state_dict"][name])
    ]
    if weights:
        far = max(
            float((one["state_dict"][n].double() - two["state_dict"][n].double()).abs().max())
            for n in weights
        )
        return (
            f"{len(weights)} of {len(one['state_dict'])} weights, {weights[0]} is one, by "
            f"{far:.3g} at most"
        )
    kept = [equal(one[name], two[name]) for name in one if name.startswith(KEPT)]
    return (
        "" if all(kept) else "the optimizer, the schedule, or what is carried from batch to batch"
    )


def whole_state(path: Path) -> StateDict:
    """Read a checkpoint, including its optimizer states, from one file or from a folder of
    shards.
    """
    from lslm_lightning.runs.checkpoint_folder import read_parts
    from lslm_lightning.runs.states import read_state

    state = read_state(path)
    if path.is_dir():
        state |= read_parts(path, [f"optimizer_{i}" for i in range(len(state["optimizer_groups"]))])
    return state


def equal(first: object, second: object) -> bool:
    """Return whether two nested values are equal; tensors must be equal bit for bit."""
    import torch

    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(
            equal(first[name], second[name]) for name in first
        )
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second
