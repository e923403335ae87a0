"""Start of a training, or its resumption if a launcher has restarted the processes."""

from collections.abc import Sequence
from pathlib import Path

from lslm_lightning.configuration.allowance import TRUST
from lslm_lightning.configuration.arguments import Config, SettingValues, config_arguments
from lslm_lightning.configuration.subcommands import TRAINING
from lslm_lightning.experiments.library import library_call
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
        config: a YAML file, its content as a mapping, or a sequence of files and mappings, which
            are merged.
        settings: settings that override the config, with dotted keys: `{"trainer.max_steps": 500}`.
        test: after training, evaluate the best checkpoint on the test split and write a report.
        name: name of the run. Default: made from the name of the config file and the settings.
        root: folder of all runs. Default: `runs` in the working directory.
        seeds: number of seeds to train with; if more than 1, the parent run is returned.
        trust: allow a config from another user's run directory to name any class.

    Raises:
        ValueError: settings are wrong.
        WorkError: training failed for some of several seeds.
    """
    given = {"job.name": name, "job.root": root, "job.seeds": None if seeds == 1 else seeds}
    given = {key: value for key, value in given.items() if value is not None}
    with config_arguments(config, {**(settings or {}), **given}) as parsed:
        arguments = ["run" if test else "fit", *parsed, *([TRUST] if trust else [])]
        with library_call(arguments):
            directory = start(arguments, handles_signals=False)
    return Run(directory)


def start(arguments: Sequence[str], handles_signals: bool = True) -> RunDirectory:
    """Run a training command and return its run directory.

    If a launcher has restarted the processes of the same command, its run is resumed instead.

    Args:
        arguments: arguments of the command, the subcommand first.
        handles_signals: whether signals that ask the process to stop are handled during the job.
    """
    restarted = previous_attempt() if arguments[0] in TRAINING else None
    if restarted is None or not restarted.config.exists():
        return perform(arguments, handles_signals=handles_signals)
    resume_run(restarted, trust=True, handles_signals=handles_signals)
    return restarted
