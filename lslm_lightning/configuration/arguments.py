"""Conversion of settings given in Python into command-line arguments."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TypeAlias, cast

from lslm_lightning.configuration.example_configs import with_example_configs
from lslm_lightning.configuration.pipes import FOLDER
from lslm_lightning.configuration.renamed_arguments import renamed_arguments
from lslm_lightning.safety.user_files import write_settings
from lslm_lightning.text.yaml_files import dump_yaml

OneConfig: TypeAlias = str | PathLike[str] | Mapping[str, object]
Config: TypeAlias = OneConfig | Sequence[OneConfig]  # several are merged, the last counts
SettingValues: TypeAlias = Mapping[
    str, object
]  # values by keys with dots: {"trainer.max_steps": 100}


@contextmanager
def config_arguments(config: Config, settings: SettingValues | None = None) -> Iterator[list[str]]:
    """Yield a config and settings as command-line arguments.

    Mappings are written to temporary files, which exist only inside the body of the `with`
    statement.

    Args:
        config: a YAML file, its content as a mapping, or a sequence of files and mappings.
        settings: settings that override the config, with dotted keys.

    Raises:
        TypeError: `config` has another type, or a key of `settings` is not a string.
    """
    is_list = isinstance(config, Sequence) and not isinstance(config, str)
    configs = cast("Sequence[OneConfig]", config if is_list else [config])
    arguments: list[str] = []
    with tempfile.TemporaryDirectory(prefix=FOLDER, ignore_cleanup_errors=True) as folder:
        for number, each in enumerate(configs):
            if isinstance(each, Mapping):
                path = Path(folder, f"config{number or ''}.yaml")
                write_settings(path, dump_yaml(json.loads(json.dumps(each, default=_as_text))))
                arguments += ["--config", str(path)]
            elif isinstance(each, str | PathLike):
                arguments += with_example_configs(["--config", str(each)])
            else:
                raise TypeError(
                    f"config must be the path of a YAML file or a mapping, but is {each!r}"
                )
        yield [*arguments, *renamed_arguments(setting_arguments(settings or {}))]


def setting_arguments(settings: SettingValues) -> list[str]:
    """Return settings with dotted keys as command-line arguments `--key=value`.

    Raises:
        TypeError: a key is not a string.
    """
    arguments = []
    for name, value in settings.items():
        if not isinstance(name, str):
            raise TypeError(f"settings: {name!r} must be a text, as in 'trainer.max_steps'")
        if isinstance(value, PathLike):
            value = fspath(value)
        text = value if isinstance(value, str) else json.dumps(value, default=_as_text)
        arguments.append(f"--{name}={text}")
    return arguments


def _as_text(value: object) -> str:
    """Return the path of a path or run, and the text of any other value."""
    return fspath(value) if isinstance(value, PathLike) else str(value)
