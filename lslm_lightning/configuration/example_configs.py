"""Example configs of this project, which can be named as `configs/TASK/FILE.yaml` in any folder.

A checkout has them in its folder `configs`, a wheel in the package. A file of that name in the
working directory takes precedence.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lslm_lightning.long_options import long_options

NAME = "configs"
PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE / NAME, PACKAGE.parent / NAME)  # in a wheel and in a checkout
FOLDER = next((folder for folder in FOLDERS if folder.is_dir()), FOLDERS[0])


def with_example_configs(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments in which each `--config` that names an example config, and no
    file of the working directory, is replaced by the path of the example. This is printed.
    """
    found = list(arguments)
    for name, value, _, i in long_options(arguments):
        if name == "config" and value is not None and (path := example_config(value)):
            found[i] = found[i].removesuffix(value) + str(path)
            if os.environ.get("LOCAL_RANK", "0") == "0":
                message = f"config {value}: taken from lslm-lightning's example configs, {path}"
                print(message, file=sys.stderr)
    return found


def example_config(name: str) -> Path | None:
    """Return the path of an example config; None if the working directory has a file of this name,
    or if there is no such example.
    """
    given = Path(name)
    path = FOLDER.joinpath(*given.parts[1:])
    is_example = given.parts[:1] == (NAME,) and ".." not in given.parts and os.path.isfile(path)
    return path if is_example and not os.path.exists(given) else None


def example_names() -> Iterator[Path]:
    """Yield the names of the example configs, such as `configs/translation/cldr_demo.yaml`."""
    for path in sorted(FOLDER.glob("*/*.yaml")):
        yield NAME / path.relative_to(FOLDER)


def short_name(argument: str) -> str:
    """Return an argument with the path of an example config replaced by its name in any folder.

    Args:
        argument: argument of a command: a path, `--config=PATH`, or another one, which is returned
            unchanged.
    """
    option, mark, path = argument.rpartition("=")
    if not Path(path).is_relative_to(FOLDER):
        return argument
    name = NAME / Path(path).relative_to(FOLDER)
    return argument if example_config(str(name)) is None else f"{option}{mark}{name}"
