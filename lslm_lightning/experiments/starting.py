"""Start of trainings, including a restart by a launcher."""

from collections.abc import Sequence
from pathlib import Path

from lslm_lightning.configuration.allowance import TRUST
from lslm_lightning.configuration.arguments import Config, SettingValues, config_arguments
from lslm_lightning.experiments.library import library_call
from lslm_lightning.experiments.preflight import TRAINING
from lslm_lightning.experiments.resuming import resume_run
from lslm_lightning.experiments.run import Run
from lslm_lightning.experiments.training import perform
from lslm_lightning.runs import RunDirectory
from lslm_lightning.training.distributed.launch import previous_attempt


def train(
    config: Config,
    settings: SettingValues | None = None,
    *,
    test: bool = True,
    name: str | None = None,
    root: str | Path | None = None,
    seeds: int = 1,
    trust: bool = False,
) -> Run:
    """Train as `lslm run` does: a run directory, an MLflow run, a test, a report.

    Args:
        config: a YAML file, its content as a mapping, or several of either, which are merged.
        settings: replace those of the config, by keys with dots: `{"trainer.max_steps": 500}`.
        test: evaluate the best checkpoint on the test split, and report.
        name: of the run. Default: made of the config's name and of the settings.
        root: folder of all runs. Default: `runs` in the working directory.
        seeds: train with so many seeds; the run is the parent of theirs.
        trust: let a config that lies in another's run name any class.

    Raises:
        ValueError: settings are wrong.
        WorkError: some of several seeds failed.
    """
    given = {"job.name": name, "job.root": root, "job.seeds": None if seeds == 1 else seeds}
    given = {key: value for key, value in given.items() if value is not None}
    with config_arguments(config, {**(settings or {}), **given}) as parsed:
        arguments = ["run" if test else "fit", *parsed, *([TRUST] if trust else [])]
        with library_call(arguments):
            directory = start(arguments, handles_signals=False)
    return Run(directory)


def start(arguments: Sequence[str], handles_signals: bool = True) -> RunDirectory:
    """Run a training command; if a launcher has restarted the processes of this very command,
    resume its run. Return the run directory.

    Args:
        arguments: of the command, from the subcommand on.
        handles_signals: see `training.perform`.
    """
    restarted = previous_attempt() if arguments[0] in TRAINING else None
    if restarted is None or not restarted.config.exists():
        return perform(arguments, handles_signals=handles_signals)
    resume_run(str(restarted.path), trust=True, handles_signals=handles_signals)
    return restarted
