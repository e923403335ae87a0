"""Settings that a model and its data module share: they are stated once, for the model."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lslm_lightning.training.corpus_data import CorpusData


def share_settings(data: "CorpusData", settings: Mapping[str, object]) -> None:
    """Give the data module the model's values of the settings that both use.

    A data module that was given a setting itself, as in configs of the last release, must have the
    same value.

    Args:
        settings: values of the model by name.

    Raises:
        ValueError: the data module was given another value.
    """
    for name, value in settings.items():
        stated = data.stated.get(name)
        if stated is not None and stated != value:
            raise ValueError(
                f"model.{name}={value} and data.{name}={stated} must be equal: set model.{name} "
                f"alone, and remove data.{name}"
            )
        if stated is not None:
            warnings.warn(
                f"data.{name}={stated} repeats model.{name}: remove it from data, which takes it "
                "from the model; the next release does not read it there",
                FutureWarning,
                stacklevel=2,
            )
        if getattr(data, name) != value:
            setattr(data, name, value)
            for derived in data.derived:
                vars(data).pop(derived, None)
