"""`lslm run | fit | validate | test | predict`: help and early checks that do not import torch,
then the job.
"""

import os
import sys

from lslm_lightning.exit_status import DONE
from lslm_lightning.experiments.invocation import PARENT
from lslm_lightning.long_options import help_topic, long_options


def main(argv: list[str]) -> int:
    """Print help or run the job, and return the exit status."""
    if help_topic(argv) == "":
        from lslm_lightning.configuration.help import help_of

        print(help_of(argv[0]))
        return DONE
    if not check_training(argv):
        tell_loading()
    from lslm_lightning.experiments.starting import start

    start(argv)
    return DONE


def tell_loading() -> None:
    """Print that PyTorch and Lightning are being loaded, unless this is a child process or not the
    first process of a job.
    """
    rank = next((os.environ[name] for name in ("RANK", "LOCAL_RANK") if name in os.environ), "0")
    if "torch" not in sys.modules and rank == "0" and not os.environ.get(PARENT):
        print("loading PyTorch and Lightning", flush=True)


def check_training(argv: list[str], with_corpus: bool = True) -> bool:
    """Check the settings, classes, files and corpora of a training command.

    Args:
        argv: arguments of the command, the subcommand first.
        with_corpus: also check that the corpus and the files that the run starts from exist.

    Returns:
        Whether the command only prints settings.

    Raises:
        SettingsError: an argument is wrong.
        ValueError, FileNotFoundError: a corpus or a file does not exist.
    """
    from lslm_lightning.configuration.allowance import allowance
    from lslm_lightning.configuration.given_settings import check_given

    with allowance(argv):
        given = check_given(argv)
        names = [option.name for option in long_options(argv)]
        shows = any(name == "print_config" or name.endswith(".help") for name in names)
        if with_corpus and not shows:
            given.check_complete()
            given.check_paths(argv[0])
    return shows
