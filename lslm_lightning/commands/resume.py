"""`lslm resume RUN`: go on where a run stopped, as if it had not."""

import argparse
import os
import shlex
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.commands.outcome import DONE

if TYPE_CHECKING:
    from lslm_lightning.runs import RunDirectory

STATE = "LSLM_RESUME_FROM"  # tells the processes of one job from which state they go on
DESCRIPTION = """Go on with a run that was stopped: by Ctrl-C, a signal, no memory, a full disk, a machine that is gone.

It keeps its directory and its MLflow run; weights, optimizer, schedule, the order of the data and all chance go on exactly, so that
N steps straight equal k steps, a kill, and N - k steps. A damaged state is passed over for the one before it.

  lslm resume runs/translation/multi30k-1a2b3c4d
  lslm resume RUN --trainer.devices 2        another number of processes
  lslm resume RUN --trainer.max_steps 20000  longer than it was to be

What decides the batches (data, tokenizer, batch size) must be as it was. A run is a run directory or an MLflow run id."""


def arguments() -> Parser:
    """What argparse knows; the rest are keys of the config."""
    it = Parser("lslm resume", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    it.add_argument("run", metavar="RUN", help="a run directory or an MLflow run id")
    it.add_argument("--no-checkpoint", action="store_true", help="train anew from step 0, in the same directory")
    return it


def main(argv: list[str]) -> int:
    """Find the run and its last state, and train."""
    own, words = arguments().parse_known_args(argv[1:])
    from lslm_lightning.runs import find_run
    from lslm_lightning.runs.integrity import last_whole_state
    from lslm_lightning.tracking.store import recorded_store

    directory = find_run(own.run)
    command = command_of(directory)
    if directory.beginning.get("status") == "FINISHED" and not words:
        print(f"{directory.path} is finished; a larger --trainer.max_steps trains on")
        return DONE
    if store := recorded_store(directory.beginning):
        os.environ.setdefault("MLFLOW_TRACKING_URI", store)
    if STATE not in os.environ:  # otherwise this is one of several processes
        state = None if own.no_checkpoint else last_whole_state(directory)
        if state is None and not own.no_checkpoint and any(directory.checkpoints.glob("*.ckpt")):
            raise ValueError(f"{directory.checkpoints} has no last.ckpt (MLflow keeps none); --no-checkpoint trains anew from step 0")
        os.environ[STATE] = str(state or "")
    state = os.environ[STATE]
    from lslm_lightning.commands.train import main as train

    try:
        return train([command, "--config", str(directory.config), *words, f"--ckpt_path={state or 'null'}"], directory)
    finally:
        os.environ.pop(STATE, None)


def command_of(directory: "RunDirectory") -> str:
    """The command that began the run, as the first line of its config.yaml has it.

    Raises:
        ValueError: it was no training, or several.
    """
    from lslm_lightning.runs.loading import read_config

    with directory.config.open(encoding="utf-8") as file:
        words = shlex.split(file.readline().removeprefix("#"))
    command = words[1] if words[:1] == ["lslm"] and len(words) > 1 else "run"
    if command not in ("run", "fit"):
        raise ValueError(f"{directory.path} is of lslm {command}, which trains nothing: give that command again")
    if read_config(directory.config).get("job", {}).get("seeds", 1) > 1:
        raise ValueError(f"{directory.path} is the parent of seeds: resume its children, {directory.path.name}-seed-*, one by one")
    return command
