"""Configuration of a run, read from its config.yaml."""

from collections.abc import Iterator
from pathlib import Path

from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.runs.hidden_settings import reveal
from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.task_package import ALIAS, INSTALLED
from lslm_lightning.text.yaml_files import ParserLoader, read_yaml
from lslm_lightning.types import Json, JsonObject


def read_config(path: Path) -> JsonObject:
    """Return the configuration of a run, with hidden settings filled in.

    Args:
        path: file config.yaml of the run.

    Raises:
        ValueError: the file is not the configuration of a run.
    """
    config = read_yaml(path, loader=ParserLoader)  # as jsonargparse reads it
    reveal(config, RunDirectory(path.parent).secrets)
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("class_path"), str):
        raise ValueError(f"{path} names no model: it needs a `model` with a `class_path`")
    return config


def config_to_build(path: Path) -> JsonObject:
    """Return the configuration of a run, after checking that its model can be built.

    Args:
        path: file config.yaml of the run.

    Raises:
        ValueError: the file is not the configuration of a run, or a number of the model or its
            search is out of any sensible range.
    """
    config = read_config(path)
    try:
        check_magnitudes({"model": config["model"]})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return config


def differing(first: Json, second: Json, name: str) -> Iterator[tuple[str, Json, Json]]:
    """Yield the settings that two configurations have with different values, as (name, value in the
    first, value in the second). Of two classes only their import paths are yielded.

    A setting that only one of them has is no difference, since it may be of another release.

    Args:
        name: name of the setting that has both values.
    """
    if isinstance(first, dict) and isinstance(second, dict):
        one, two = first.get("class_path"), second.get("class_path")
        if one and two and _class_in_package(one) != _class_in_package(two):
            yield name, one, two
            return
        for key in (key for key in first if key in second and key != "class_path"):
            inner = name if key == "init_args" else f"{name}.{key}"
            yield from differing(first[key], second[key], inner)
    elif first != second:
        yield name, first, second


def _class_in_package(path: str) -> tuple[str, str]:
    """Return the package and the name of a class, which may have several import paths: it may have
    moved inside of its package since, or be exported by it.
    """
    package, _, rest = path.partition(".")
    return INSTALLED if package == ALIAS else package, rest.rpartition(".")[2]
