"""Trust in configs: which classes the config files of a command may name."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from lslm_lightning.configuration.config_files import yaml_of
from lslm_lightning.long_options import option_values
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.directory import refuse_links
from lslm_lightning.runs.own_code import add_working_directory, paths_in
from lslm_lightning.runs.own_runs import is_own_run
from lslm_lightning.runs.trust import check_trust, only_trusted

TRUST = "--trust"
BLOCKS = ("model", "data", "trainer")  # of a config, what has classes


def allowance(
    arguments: Sequence[str], resumed: RunDirectory | None = None
) -> AbstractContextManager[None]:
    """Return a context manager that limits which classes a command may import while it parses and
    builds its config.

    A config in the run directory of another user may name only trusted classes. Any class is
    allowed in runs that this user started on this machine, in command-line arguments, and in config
    files outside of run directories.

    Args:
        arguments: arguments of the command; with `--trust` among them, all configs may name any
            class.
        resumed: directory of the run that is resumed; None if none is.

    Raises:
        ValueError: a run's config names a class that is not trusted, or the resumed run has links
            that lead out of its directory.
    """
    if TRUST in arguments:
        return nullcontext()
    options = option_values(arguments)
    files = [Path(value) for name, value in options if name == "config"]
    strange = [file for file in files if is_of_run(file, resumed) and not is_own_run(file)]
    if not strange:
        return nullcontext()
    if resumed is not None and resumed.config in strange:
        refuse_links(resumed, TRUST)
    with only_trusted(training=True):
        for file in strange:
            config = yaml_of(file)
            check_trust(
                [config.get(name) for name in BLOCKS] if isinstance(config, dict) else config
            )
    given = [value for _, value in options if Path(value) not in strange]
    add_working_directory(given)
    own = [yaml_of(file) for file in files if file not in strange]
    return only_trusted(paths_in([*given, *own]), training=True)


def is_of_run(config: Path, resumed: RunDirectory | None) -> bool:
    """Return whether a config file belongs to a run directory, according to the files beside it.

    Args:
        config: path of the config file; links are followed.
        resumed: directory of the run that is resumed; None if none is.
    """
    if resumed is not None and config == resumed.config:
        return True
    return config.is_file() and any(map(has_run_beside, {config.absolute(), config.resolve()}))


def has_run_beside(config: Path) -> bool:
    """Return whether a file is called config.yaml and lies beside the other files of a run."""
    directory = RunDirectory(config.parent)
    beside = (
        directory.checkpoints,
        directory.tokenizer,
        directory.metrics,
        directory.record,
    )
    return config.name == directory.config.name and any(path.exists() for path in beside)
