"""Protection of the calling process when commands are used as Python functions."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.invocation import running_command
from lslm_lightning.localization import ENGLISH, interface_language
from lslm_lightning.safety.terminal import guarded_output


@contextmanager
def library_call(arguments: Sequence[str]) -> Iterator[None]:
    """Run the body as a command would, then restore the caller's process state.

    Environment variables, warning filters, logger levels, random states and the number of torch
    threads are restored. Signal handlers and `sys.argv` are never changed, and output streams only
    during the body where messages are to be translated.

    Args:
        arguments: arguments of the command that the call corresponds to; they are shown in records.

    Raises:
        ValueError: settings are wrong; a command would exit with status 2.
    """
    import torch

    from lslm_lightning.configuration.cli import LEVELS

    levels = {name: logging.getLogger(name).level for name in LEVELS}
    environment = dict(os.environ)
    n_thread = torch.get_num_threads()
    try:
        with (
            warnings.catch_warnings(),
            kept_random_states(),
            running_command(arguments, is_call=True),
            nullcontext() if interface_language() == ENGLISH else guarded_output(),
        ):
            yield
    except SettingsError as error:
        raise ValueError(error.message) from error.__cause__
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # as Lightning ends a Trainer's work
            raise KeyboardInterrupt from None
        raise
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        torch.set_num_threads(n_thread)


@contextmanager
def kept_random_states() -> Iterator[None]:
    """Restore the random states of Python, numpy and torch after the body, even if it raises an
    error.

    Lightning's `isolate_rng` alone does not restore them after an error.
    """
    from lightning.pytorch.utilities.seed import isolate_rng

    with ExitStack() as after:
        isolation = isolate_rng()
        isolation.__enter__()
        after.callback(isolation.__exit__, None, None, None)
        yield
