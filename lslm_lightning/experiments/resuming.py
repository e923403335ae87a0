"""Resuming of stopped trainings."""

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lslm_lightning.configuration.subcommands import TRAINING
from lslm_lightning.exit_status import DONE
from lslm_lightning.long_options import long_options
from lslm_lightning.safety.redaction import redacted_arguments

if TYPE_CHECKING:
    from pathlib import Path

    from lslm_lightning.configuration.arguments import SettingValues
    from lslm_lightning.experiments.run import Run
    from lslm_lightning.runs import RunDirectory

OTHERWISE = ("max_", "devices", "num_nodes", "strategy", "accumulate_grad_batches", "enable_")
# options whose change leaves the curves as they would have been
SAME_CURVES = ("config", *(f"trainer.{name}" for name in OTHERWISE))
STATE = "LSLM_RESUME_FROM"  # tells the processes of one job from which checkpoint they resume


def resume(
    run: "str | Path | Run",
    settings: "SettingValues | None" = None,
    *,
    anew: bool = False,
    trust: bool = False,
) -> "Run":
    """Resume a stopped run exactly where it stopped. A finished run trains on if `settings` extend
    its training.

    Args:
        run: a run directory, an MLflow run id, or the result of `train`.
        settings: settings to change, with dotted keys: `{"trainer.max_steps": 20_000}`.
        anew: train from step 0; earlier checkpoints are moved to a backup folder.
        trust: allow the run's config to name any class.

    Raises:
        ValueError: the run has no checkpoint to resume from, or the settings do not allow resuming.
    """
    from lslm_lightning.configuration.arguments import setting_arguments
    from lslm_lightning.experiments.library import library_call
    from lslm_lightning.experiments.run import Run
    from lslm_lightning.runs import find_run

    directory = run.directory if isinstance(run, Run) else find_run(run).directory
    arguments = setting_arguments(settings or {})
    with library_call(["resume", str(directory.path), *arguments]):
        resume_run(directory, arguments, anew, trust, handles_signals=False)
    return Run(directory)


def resume_run(
    directory: "RunDirectory",
    changes: Sequence[str] = (),
    anew: bool = False,
    trust: bool = False,
    handles_signals: bool = True,
) -> int:
    """Resume a run from its last checkpoint and return an exit status.

    Args:
        directory: run directory.
        changes: settings to change, as command-line arguments.
        anew: train from step 0 instead.
        trust: allow the run's config to name any class.
        handles_signals: whether signals that ask the process to stop are handled during the job.
    """
    from lslm_lightning.tracking.store import store_of_run

    command = command_of(directory)
    if directory.beginning.get("status") == "FINISHED" and not changes:
        print(f"{directory.path} is finished; a larger --trainer.max_steps trains on")
        return DONE
    from lslm_lightning.configuration.allowance import TRUST, allowance
    from lslm_lightning.configuration.given_settings import check_given

    arguments = [command, "--config", str(directory.config), *changes]
    arguments += [TRUST] if trust else []
    with allowance(arguments, directory):  # refused before anything of the run is touched
        check_given([each for each in arguments if each != TRUST])
    # what there is by then is to be kept
    with store_of_run(directory.beginning, directory.path):
        return train_on(directory, arguments, changes, anew, handles_signals)


def train_on(
    directory: "RunDirectory",
    train_arguments: Sequence[str],
    changes: Sequence[str],
    anew: bool,
    handles_signals: bool,
) -> int:
    """Train from the last checkpoint of a run and return an exit status.

    Args:
        directory: run directory.
        train_arguments: all arguments of the training command.
        changes: those of the arguments that the user gave to change settings.
        anew: train from step 0 instead.
        handles_signals: whether signals that ask the process to stop are handled during the job.
    """
    from lslm_lightning.experiments.training import perform

    if STATE not in os.environ:  # otherwise this is one of several processes
        os.environ[STATE] = last_state(directory, anew)
    state = os.environ[STATE]
    options = long_options(changes)
    altered = [changes[i] for name, _, i, _ in options if not name.startswith(SAME_CURVES)]
    changed = " ".join(redacted_arguments(altered))
    try:
        arguments = [*train_arguments, f"--ckpt_path={state or 'null'}"]
        perform(arguments, directory, handles_signals, changed)
        return DONE
    finally:
        os.environ.pop(STATE, None)


def last_state(directory: "RunDirectory", anew: bool) -> str:
    """Return the path of the checkpoint to resume from; "" if the run has none.

    Args:
        directory: run directory.
        anew: start from step 0: move existing files to a backup folder and return "".

    Raises:
        ValueError: the run has checkpoints, but none that training can resume from.
    """

    from lslm_lightning.runs.resume_state import ResumeState

    if anew:
        move_to_backup(directory)
        return ""
    newest = ResumeState.newest(directory)
    if newest is None and any(directory.checkpoints.glob("*.ckpt")):
        raise ValueError(
            f"{directory.checkpoints} has no last.ckpt (MLflow keeps none); --no-checkpoint "
            "trains anew from step 0"
        )
    return str(newest.path) if newest else ""


def move_to_backup(directory: "RunDirectory") -> None:
    """Move the checkpoints, metrics, predictions and reports of a run into a new folder
    `before-<n>`.

    Raises:
        ValueError: another process is training in the run directory.
    """
    from lslm_lightning.configuration.lightning_cli_internals import process_rank
    from lslm_lightning.runs.directory import locked

    if process_rank():
        return
    lock = locked(directory)
    try:
        number = 1 + len([*directory.path.glob("before-*")])
        before = directory.path / f"before-{number}"
        before.mkdir()
        for path in (
            directory.checkpoints,
            directory.curves,
            directory.energy,
            directory.metrics,
            directory.record,
            directory.predictions,
            directory.report,
            directory.samples,
        ):
            if path.exists():
                path.rename(before / path.name)
    finally:
        lock.release()
    print(f"earlier checkpoints and metrics are in {before}", flush=True)


def command_of(directory: "RunDirectory") -> str:
    """Return the subcommand that started a run, "run" or "fit", as recorded in the first line of
    its config.yaml.

    Raises:
        ValueError: the run was not a training, or is the parent run of several seeds.
    """
    from lslm_lightning.runs.config import read_config

    config = read_config(directory.config)
    try:
        arguments = shlex.split(directory.command)
    except ValueError as error:
        raise ValueError(
            f"{directory.config}, line 1 is no command line ({error}); write `# lslm run` there"
        ) from None
    is_command = arguments[:1] == ["lslm"] and len(arguments) > 1
    command = arguments[1] if is_command else "run"
    if command not in TRAINING:
        raise ValueError(
            f"{directory.path} is of lslm {command}, which trains nothing: give that command again"
        )
    if config.get("job", {}).get("seeds", 1) > 1:
        raise ValueError(
            f"{directory.path} is the parent of seeds: resume its children, "
            f"{directory.path.name}-seed-*, one by one"
        )
    return command
