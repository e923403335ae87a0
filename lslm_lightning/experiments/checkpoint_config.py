"""Configuration of the run that a checkpoint belongs to."""

from pathlib import Path

from lslm_lightning.runs.loading import config_to_build
from lslm_lightning.training.precision import AUTO
from lslm_lightning.types import JsonObject


def config_of(state: str | None) -> JsonObject:
    """Return the configuration of the run that a checkpoint belongs to; empty if it has no
    config.yaml.

    Args:
        state: path of the checkpoint, `RUN/checkpoints/NAME`; None for no checkpoint.
    """
    config = Path(state).absolute().parent.parent / "config.yaml" if state else None
    return config_to_build(config) if config is not None and config.is_file() else {}


def precision_of(state: str | None) -> str | None:
    """Return the `trainer.precision` of the run that a checkpoint belongs to; None if it is unknown
    or `auto`.

    Args:
        state: path of the checkpoint; None for no checkpoint.
    """
    kept = (config_of(state).get("trainer") or {}).get("precision")
    return None if kept is None or kept == AUTO else str(kept)
