"""Settings that a model and its data module share; they are set once, for the model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lslm_lightning.renamed import DROPPED_IN, warn_on_one_process

if TYPE_CHECKING:
    from lslm_lightning.training.corpus_data import CorpusData


def share_settings(data: "CorpusData", settings: Mapping[str, object]) -> None:
    """Set the settings that both the model and the data module use to the model's values.

    If a config also sets one of them for the data module, as configs of the last release do, both
    values must be equal.

    Args:
        settings: the model's values by name.

    Raises:
        ValueError: the config sets another value for the data module.
    """
    for name, value in settings.items():
        stated = data.stated.get(name)
        if stated is not None and stated != value:
            raise ValueError(
                f"model.{name}={value} and data.{name}={stated} must be equal: set model.{name} "
                f"alone, and remove data.{name}"
            )
        if stated is not None:
            warn_on_one_process(
                f"data.{name}={stated} repeats model.{name}: remove it from data, which takes it "
                f"from the model; release {DROPPED_IN} does not read it there"
            )
        if getattr(data, name) != value:
            setattr(data, name, value)
            for derived in data.derived:
                vars(data).pop(derived, None)
