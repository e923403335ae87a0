"""Names of runs, made from the config's file name and the changed settings."""

from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO

from lslm_lightning.configuration.cli import ExperimentCLI
from lslm_lightning.long_options import long_options
from lslm_lightning.runs.names import run_name, stem_of, typed_settings
from lslm_lightning.types import JsonObject


def chosen_name(cli: ExperimentCLI, arguments: Sequence[str], is_resumed: bool) -> str:
    """Return the name of a run: the given name, or one made from the config's file name and the
    changed settings.

    Args:
        cli: parsed settings of the run.
        arguments: arguments of the command, the subcommand first.
        is_resumed: whether a run is resumed, which keeps its name.
    """
    given = cli.job.name
    is_typed = any(option.name == "job.name" for option in long_options(arguments))
    if is_resumed or (given and is_typed):
        return given or cli.subcommand
    configs = cli.settings.get("config") or []
    first, *others = [str(config.relative) for config in configs] or [""]
    stem = given or (stem_of(first) if first else cli.subcommand)
    settings = typed_settings(arguments[1:])
    base = parsed_alone(cli, first) if first and settings else {}
    config = cli.settings.as_dict()
    return run_name(stem, settings, config, base, [stem_of(path) for path in others])


def parsed_alone(cli: ExperimentCLI, config: str) -> JsonObject:
    """Return the configuration that one config file gives without other settings; empty if the
    parser cannot read the file alone.

    Args:
        cli: command line interface whose parser is used.
        config: path of the config file.
    """
    try:
        with redirect_stderr(StringIO()):
            return dict(cli.parsed([f"--config={config}"], checks=False).as_dict())
    except (SystemExit, Exception):
        return {}
