"""Command line that is being executed, or that a call from Python corresponds to."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from lslm_lightning.configuration.pipes import command_to_repeat
from lslm_lightning.safety.redaction import redacted_arguments

PARENT = "LSLM_PARENT"  # environment variable: id of the process that waits for this command
SAFE_PATH = "PYTHONSAFEPATH"  # tells Python not to put the working directory first in sys.path

_is_call: ContextVar[bool] = ContextVar("is_call", default=False)
_arguments: ContextVar[tuple[str, ...] | None] = ContextVar("arguments", default=None)


@contextmanager
def running_command(arguments: Sequence[str], is_call: bool = False) -> Iterator[None]:
    """Set the arguments that `command_arguments` returns inside the body of the `with` statement.

    Args:
        is_call: whether Python code made the call, in a process that may do other work too.
    """
    token = _arguments.set(tuple(arguments))
    before = _is_call.set(is_call)
    try:
        yield
    finally:
        _arguments.reset(token)
        _is_call.reset(before)


def is_call() -> bool:
    """Return whether the current work was started by a call from Python rather than by a
    command.
    """
    return _is_call.get()


def command_arguments() -> list[str]:
    """Return the arguments of the running command, or of the command that a call from Python
    corresponds to.
    """
    arguments = _arguments.get()
    return list(sys.argv[1:] if arguments is None else arguments)


def command_line(arguments: Sequence[str] | None = None, config: Path | None = None) -> str:
    """Return the `lslm` command line as it would be typed in a shell, without secrets and temporary
    files.

    Args:
        arguments: arguments of the command; None for those of the running command.
        config: file with every setting of the command; it replaces a config that was read from a
            pipe.
    """
    given = command_arguments() if arguments is None else arguments
    return shlex.join(["lslm", *redacted_arguments(command_to_repeat(given, config))])


@contextmanager
def children_without_working_directory() -> Iterator[None]:
    """Prevent Python processes started inside the body from importing modules from the working
    directory.
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        os.environ.pop(SAFE_PATH)
        os.environ.update({} if before is None else {SAFE_PATH: before})
