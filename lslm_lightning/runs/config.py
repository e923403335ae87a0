"""Configuration of a run, read from its config.yaml."""

from pathlib import Path

from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.runs.hidden_settings import reveal
from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.text.yaml_files import ParserLoader, read_yaml
from lslm_lightning.types import JsonObject


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
