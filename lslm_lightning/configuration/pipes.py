"""Configs read from pipes (`--config /dev/stdin` or `--config <(sed ... FILE)`), which are copied
to files.

A pipe can be read only once, and only by this process.
"""

import atexit
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lslm_lightning.configuration.example_configs import short_name
from lslm_lightning.long_options import long_options

OPTIONS = ("config", "trainer", "model", "data", "job")  # that take a file of YAML
CORPUS = "data.corpus"  # is no YAML
# beginnings of options that may take one, as in --model.backbone <(...)
PARTS = ("trainer.", "model.", "data.")
OF_THIS_PROCESS = re.compile(r"/dev/(stdin|fd/\d+)|/proc/(self|\d+)/fd/\d+")
MOST_BYTES = 10_000_000
FOLDER = "lslm-config-"  # how folders of copies are called


def copy_pipes(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments in which each config that is a pipe is replaced by the path of
    a copy.

    A config is read several times, also by child processes with another standard input.

    Raises:
        ValueError: the content of a pipe is too large for a config.
    """
    found = list(arguments)
    for name, value, _, i in long_options(arguments):
        if value is None:
            continue
        is_part = name.startswith(PARTS) and name != CORPUS and OF_THIS_PROCESS.fullmatch(value)
        if name in OPTIONS or is_part:
            found[i] = found[i].removesuffix(value) + copied(name, value)
    return found


def command_to_repeat(arguments: Sequence[str], config: Path | None = None) -> list[str]:
    """Return command-line arguments that still work after the copies of pipes are deleted. Example
    configs have their short names.

    Args:
        arguments: arguments of the command.
        config: file with every setting of the command, which replaces all arguments if one was a
            pipe. Without it, the new command reads the config from standard input.
    """
    if not any(is_copy(argument) for argument in arguments):
        return [short_name(argument) for argument in arguments]
    if config is not None:
        return [*arguments[:1], "--config", str(config)]
    found = []
    for argument in arguments:
        option, mark, _ = argument.rpartition("=")
        found.append(f"{option}{mark}-" if is_copy(argument) else short_name(argument))
    return found


def is_copy(argument: str) -> bool:
    """Return whether an argument is the path of a copy of a pipe, or ends in one as in
    `--config=PATH`.
    """
    folder = Path(argument.rpartition("=")[2]).parent.name
    return bool(re.fullmatch(rf"{FOLDER}[a-z0-9_]{{8}}", folder))  # as `mkdtemp` calls it


def copied(option: str, value: str) -> str:
    """Copy a pipe or standard input to a temporary file and return the file's path; return other
    values unchanged.

    Args:
        option: name of the option that the value belongs to; "-" means standard input only for
            "config".
        value: value of the option.
    """
    path = "/dev/stdin" if value == "-" and option == "config" else value
    if not is_pipe(path):
        return value
    with open(path, "rb") as pipe:
        content = pipe.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"--{option} {value}: more than {MOST_BYTES:,} bytes came: no config")
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    stem = Path(path).stem
    copy = folder / f"{'config' if stem.isdigit() else stem}.yaml"  # a run is called by its config
    copy.write_bytes(content)
    return str(copy)


def is_pipe(path: str) -> bool:
    """Return whether a path can be read only once, or only by this process."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    if path == os.devnull:
        return False
    return bool(OF_THIS_PROCESS.fullmatch(path)) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
