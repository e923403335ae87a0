"""`lslm resume RUN`: go on where a run stopped, as if it had not."""

import os
import shlex
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.commands.outcome import DONE, command_line, way_on
from lslm_lightning.safety.redaction import redacted_arguments

if TYPE_CHECKING:
    from lslm_lightning.runs import RunDirectory

OTHERWISE = ("max_", "devices", "num_nodes", "strategy", "accumulate_grad_batches", "enable_")
# with these changed, the curves go on as they would have
HARMLESS = ("--config", *(f"--trainer.{name}" for name in OTHERWISE))
STATE = "LSLM_RESUME_FROM"  # tells the processes of one job from which state they go on
DESCRIPTION = """Go on with a run that was stopped: by Ctrl-C, a signal, no memory, a full disk, a
machine that is gone.

It keeps its directory and its MLflow run; weights, optimizer, schedule, the order of the data and
all chance go on exactly, so that N steps straight equal k steps, a kill, and N - k steps. A damaged
state is passed over for the one before it.

  lslm resume runs/translation/multi30k-1a2b3c4d
  lslm resume RUN --trainer.devices 2        another number of processes
  lslm resume RUN --trainer.max_steps 20000  longer than it was to be
  lslm resume RUN --model.optimizer.lr 1e-4  with another learning rate from the next step on

What decides the batches (data, tokenizer, batch size) and the class of the optimizer must be as
they were. A run is a run directory or an MLflow run id. One that you started on this machine may
name any class. Of another's run, only classes that run no code and write nothing elsewhere are
built; --trust lets it name others."""


def arguments() -> Parser:
    """What argparse knows; the rest are keys of the config."""
    it = Parser("lslm resume", description=DESCRIPTION, allow_abbrev=False)
    it.add_argument("run", metavar="RUN", help="a run directory or an MLflow run id")
    it.add_argument(
        "--no-checkpoint",
        action="store_true",
        help="train anew from step 0; what there was goes to before-1/",
    )
    it.add_argument(
        "--trust",
        action="store_true",
        help="let the run name any class; needed for runs that you did not start on this machine",
    )
    return it


def main(argv: list[str]) -> int:
    """Find the run and its last state, and train."""
    own, words = arguments().parse_known_args(argv[1:])
    from lslm_lightning.commands.named_run import named_run
    from lslm_lightning.runs import find_run
    from lslm_lightning.tracking.store import store_of_run

    directory = find_run(named_run(own.run))
    command = command_of(directory)
    if directory.beginning.get("status") == "FINISHED" and not words:
        print(f"{directory.path} is finished; a larger --trainer.max_steps trains on")
        return DONE
    from lslm_lightning.commands.allowance import TRUST, allowance
    from lslm_lightning.commands.given_settings import check_given

    train_words = [command, "--config", str(directory.config), *words]
    train_words += [TRUST] if own.trust else []
    with allowance(train_words, directory):  # refused before anything of the run is touched
        check_given([word for word in train_words if word != TRUST])
    # what there is by then is to be kept
    again = [word for word in argv if word != "--no-checkpoint"]
    with (
        store_of_run(directory.beginning, directory.path),
        way_on(f"To go on: {command_line(again)}"),
    ):
        return go_on(directory, train_words, words, own.no_checkpoint)


def go_on(directory: "RunDirectory", train_words: list[str], words: list[str], anew: bool) -> int:
    """Train from the last state, or `anew`.

    Args:
        words: of `train_words` those that the user gave.
    """
    from lslm_lightning.runs.integrity import last_whole_state

    if STATE not in os.environ:  # otherwise this is one of several processes
        state = None if anew else last_whole_state(directory)
        if anew:
            set_aside(directory)
        elif state is None and any(directory.checkpoints.glob("*.ckpt")):
            raise ValueError(
                f"{directory.checkpoints} has no last.ckpt (MLflow keeps none); --no-checkpoint "
                "trains anew from step 0"
            )
        os.environ[STATE] = str(state or "")
    state = os.environ[STATE]
    if changes := [
        word for word in words if word.startswith("--") and not word.startswith(HARMLESS)
    ]:
        print(
            (
                "points that were logged already stay as they are, also where "
                f"{' '.join(redacted_arguments(changes))} would make them others"
            ),
            flush=True,
        )
    from lslm_lightning.commands.train import main as train

    try:
        return train([*train_words, f"--ckpt_path={state or 'null'}"], directory)
    finally:
        os.environ.pop(STATE, None)


def set_aside(directory: "RunDirectory") -> None:
    """What the run has come to goes to a folder of its own, so that nothing of it is taken for what
    is to come.

    Raises:
        ValueError: another process trains in the directory.
    """
    from lightning.pytorch.utilities import rank_zero_only

    from lslm_lightning.runs.directory import locked

    if rank_zero_only.rank or 0:
        return
    lock = locked(directory)
    try:
        number = 1 + len([*directory.path.glob("before-*")])
        before = directory.path / f"before-{number}"
        before.mkdir()
        for name in (
            "checkpoints",
            "metrics.jsonl",
            "metrics.json",
            "mlflow.json",
            "predictions",
            "report",
            "samples",
        ):
            if (directory.path / name).exists():
                (directory.path / name).rename(before / name)
    finally:
        lock.release()
    print(f"what there was is in {before}", flush=True)


def command_of(directory: "RunDirectory") -> str:
    """The command that began the run, as the first line of its config.yaml has it.

    Raises:
        ValueError: it was no training, or several.
    """
    from lslm_lightning.runs.loading import read_config

    config = read_config(directory.config)
    with directory.config.open(encoding="utf-8") as file:
        line = file.readline()
    try:
        words = shlex.split(line.removeprefix("#"))
    except ValueError as error:
        raise ValueError(
            f"{directory.config}, line 1 is no command line ({error}); write `# lslm run` there"
        ) from None
    command = words[1] if words[:1] == ["lslm"] and len(words) > 1 else "run"
    if command not in ("run", "fit"):
        raise ValueError(
            f"{directory.path} is of lslm {command}, which trains nothing: give that command again"
        )
    if config.get("job", {}).get("seeds", 1) > 1:
        raise ValueError(
            f"{directory.path} is the parent of seeds: resume its children, "
            f"{directory.path.name}-seed-*, one by one"
        )
    return command
