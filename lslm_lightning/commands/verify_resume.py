"""`lslm verify-resume --config FILE`: prove that a run of this config, killed and resumed, ends as
if nothing had happened.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.commands.training import check_training
from lslm_lightning.exit_status import DONE, WRONG_ARGUMENTS
from lslm_lightning.experiments.child_process import KILL, signal_group
from lslm_lightning.experiments.outcome import WorkError

DESCRIPTION = """Train a few steps straight, and the same steps with kills (SIGKILL) between; the
weights must be the same to the last bit.

  lslm verify-resume --config configs/translation/multi30k_en_de_cpu.yaml
  lslm verify-resume --config mine.yaml --steps 50 --kills 5 --trainer.devices 2

Any key of the config can be set here, but for those that this command decides: how long to train
(--steps), where, and what is saved. All of it happens in a folder of its own, which is removed;
your runs and MLflow are left alone."""

STEPS = "--steps says how long each training is: leave it out"
TRIAL = "each training is kept in a folder of its own, which is removed: leave it out"
STATES = "this command decides when states are saved: leave it out"
DECIDED = {  # settings of a training that this command decides
    "trainer.max_steps": STEPS,
    "trainer.max_epochs": STEPS,
    "trainer.max_time": STEPS,
    "trainer.fast_dev_run": STEPS,
    "job.minutes": STEPS,
    "job.seeds": "one training is compared with its own repeat: leave it out",
    "seeds": "one training is compared with its own repeat: leave it out",
    "job.root": TRIAL,
    "job.name": TRIAL,
    "job.parent": TRIAL,
    "job.save_every_steps": STATES,
    "ckpt_path": "each training begins anew: leave it out",
}


def arguments() -> Parser:
    """What argparse knows; the rest are keys of the config."""
    it = Parser("lslm verify-resume", description=DESCRIPTION, allow_abbrev=False)
    it.add_argument(
        "--config",
        action="append",
        required=True,
        metavar="FILE",
        help="YAML of a training; several are merged",
    )
    it.add_argument(
        "--steps", type=int, default=20, metavar="N", help="optimizer steps (default 20)"
    )
    it.add_argument(
        "--kills", type=int, default=2, metavar="N", help="how often it is killed (default 2)"
    )
    it.add_argument(
        "--seed", type=int, default=0, help="of the moments at which it is killed (default 0)"
    )
    return it


def main(argv: list[str]) -> int:
    """Train, kill, resume, compare."""
    own, words = arguments().parse_known_args(argv[1:])
    if own.steps < 2 or own.kills < 1:
        print(
            f"lslm: --steps {own.steps} must be at least 2 and --kills {own.kills} at least 1",
            file=sys.stderr,
        )
        return WRONG_ARGUMENTS
    for name, value in given_settings(words):
        if why := DECIDED.get(name):
            steps = f" with --steps {own.steps}" if why == STEPS else ""
            print(f"lslm: --{name}={value}{steps}: {why}", file=sys.stderr)
            return WRONG_ARGUMENTS
    check_training(["fit", *(word for file in own.config for word in ("--config", file)), *words])
    with tempfile.TemporaryDirectory(prefix="lslm-verify-") as folder:
        every = max(1, own.steps // (2 * own.kills + 1))
        limits = [
            f"--trainer.max_steps={own.steps}",
            "--trainer.max_epochs=-1",
            "--trainer.max_time=null",
            "--job.minutes=null",
            "--job.seeds=1",
            f"--trainer.val_check_interval={own.steps // 2 * accumulated(own.config, words)}",
        ]
        given = [word for file in own.config for word in ("--config", file)]
        words = [
            *given,
            *limits,
            *words,
            f"--job.root={folder}/runs",
            f"--job.save_every_steps={every}",
        ]
        trial = Trial(Path(folder), own.seed)
        print(f"{own.steps} steps straight", flush=True)
        trial.train(["fit", *words, "--job.name=straight"])
        # measured once, where it is `auto`
        same = f"--trainer.precision={trial.precision('straight') or 'null'}"
        n_middle = trial.kill_and_resume(["fit", *words, same, "--job.name=killed"], own.kills)
        different = differences(trial.state("straight"), trial.state("killed"))
    if different:
        raise WorkError(f"the killed run ended differently: {different}")
    if not n_middle:
        raise WorkError(
            "every kill came when training was at its end already, which proves nothing: set "
            "--steps higher"
        )
    print(
        f"after {own.kills} kills the weights, the optimizer and the schedule are the same to "
        "the last bit"
    )
    return DONE


def given_settings(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield each setting of a command line with its value, also those inside `--trainer {...}` or
    `--job FILE`.
    """
    import yaml

    from lslm_lightning.text.yaml_files import parse_yaml, read_yaml

    for i, word in enumerate(words):
        if not word.startswith("--"):
            continue
        option, mark, value = word.partition("=")
        if not mark:
            value = next(iter(words[i + 1 : i + 2]), "")
        name = option.removeprefix("--").removesuffix("+")
        yield name, value
        if name not in ("trainer", "job"):
            continue
        try:
            inside = read_yaml(Path(value)) if Path(value).is_file() else parse_yaml(value)
        except (OSError, ValueError, yaml.YAMLError):  # told by the training
            continue
        if isinstance(inside, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in inside.items())


def accumulated(configs: Sequence[str], words: Sequence[str]) -> int:
    """Micro-batches in a step, as the configs or the command line have it."""
    from lslm_lightning.text.yaml_files import read_yaml

    name = "--trainer.accumulate_grad_batches"
    given = [1]
    for config in configs:
        settings = read_yaml(Path(config))
        trainer = settings.get("trainer") if isinstance(settings, dict) else None
        given += [(trainer or {}).get("accumulate_grad_batches") or given[-1]]
    given += [value for word, value in pairwise(words) if word == name]
    given += [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    return int(given[-1])


KEPT = ("optimizer", "lr_schedulers", "carried", "tables")  # of a state, besides its weights


class Trial:
    """Commands in a folder of their own.

    Args:
        seed: of the moments of kills.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.interval = 1.0  # seconds between two saves
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LSLM_R")}
        places = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "XDG_STATE_HOME": str(folder),
        }
        self.environment = kept | places

    def start(self, words: Sequence[str]) -> subprocess.Popen:
        log = (self.folder / "log").open("a+", encoding="utf-8")
        command = [sys.executable, "-m", "lslm_lightning", *words]
        return subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, process_group=0
        )

    def train(self, words: Sequence[str]) -> None:
        """To the end; WorkError with the last line where it fails."""
        process = self.start(words)
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
            raise WorkError(f"lslm {words[0]} failed: {lines[-1] if lines else f'status {status}'}")

    def kill_and_resume(self, words: Sequence[str], n: int) -> int:
        """Start, kill when a state has been saved, and so on; the last time to the end. How many
        kills came before the end.
        """
        n_middle = 0
        for number in range(1, n + 1):
            before = self.saved()
            process = self.start(words)
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
                raise WorkError(f"the run did not begin: {log.strip().splitlines()[-1:]}")
            words = ["resume", str(found[0])]
        self.train(words)
        return n_middle

    def saved(self) -> int:
        """When a run has last saved a state; 0 for never."""
        return max(
            (
                path.stat().st_mtime_ns
                for path in (self.folder / "runs").glob("*/*/checkpoints/last.ckpt")
            ),
            default=0,
        )

    def precision(self, name: str) -> str | int | None:
        """Return the `trainer.precision` that a run was trained in."""
        from lslm_lightning.runs.loading import read_config

        return read_config(self.state(name).parent.parent / "config.yaml")["trainer"].get(
            "precision"
        )

    def state(self, name: str) -> Path:
        [path] = (self.folder / "runs").glob(f"*/{name}-*/checkpoints/last.ckpt")
        return path


def stop(process: subprocess.Popen) -> None:
    """Kill a process and those that it has started."""
    if process.poll() is None:
        signal_group(process, KILL)
    process.wait()


def differences(first: Path, second: Path) -> str:
    """Where two states of training differ, in words; "" for nowhere."""
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


def whole_state(path: Path) -> dict[str, Any]:
    """Weights, and the optimizer's moments, wherever they lie."""
    from lslm_lightning.runs.states import read_parts, read_state

    state = read_state(path)
    if path.is_dir():
        state |= read_parts(path, [f"optimizer_{i}" for i in range(len(state["optimizer_groups"]))])
    return state


def equal(first: object, second: object) -> bool:
    """Whether nested states are the same, tensors bit for bit."""
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
