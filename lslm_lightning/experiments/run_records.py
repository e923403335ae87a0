"""Records of runs and versions of installed software, for reports."""

import json
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from lslm_lightning import __version__
from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.corpora.locations import cache_directory
from lslm_lightning.evaluation.contamination import cached_text_index, contaminated
from lslm_lightning.reports.trained import Trained
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config
from lslm_lightning.tracking.names import flatten
from lslm_lightning.training.data import TaskData

PACKAGES = (
    "torch",
    "lightning",
    "torchmetrics",
    "transformers",
    "tokenizers",
    "sacrebleu",
    "rouge-score",
    "jiwer",
    "regex",
    "py3langid",
    "openai",
    "mlflow",
)


def versions() -> dict[str, str]:
    """Return the versions of Python, this project and its installed dependencies, by package
    name.
    """
    found = {"lslm-lightning": __version__, "Python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def trained(directory: RunDirectory, name: str) -> Trained:
    """Read the settings and logged metrics of a run, for the report sections on training.

    Args:
        name: name of the run in the report.

    Raises:
        ValueError: the config.yaml of the run cannot be read.
    """
    config = {key: str(value) for key, value in flatten(read_config(directory.config))}
    lines = directory.curves.read_text("utf-8").splitlines() if directory.curves.exists() else []
    return Trained(name, config, [json.loads(line) for line in lines if line.endswith("}")])


def seen_in_training(
    data: TaskData, examples: Sequence[Example]
) -> tuple[list[str] | None, NDArray[np.bool_] | None]:
    """Return the training texts and a boolean mask of the examples whose text occurs in them.

    Returns:
        (None, None) if the training texts are not available.
    """
    texts = data.available_training_texts
    if texts is None:
        return None, None
    known = cached_text_index(texts, data.training_key(), cache_directory() / "ngrams")
    return texts, contaminated(examples, known)


def timing(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return `seconds_per_example` and `tokens_per_second` of predictions, as far as they were
    measured.
    """
    seconds = sum(p.seconds for p in predictions)
    n_token = sum(p.n_token for p in predictions)
    if not seconds:
        return {}
    return {"seconds_per_example": seconds / len(predictions)} | (
        {"tokens_per_second": n_token / seconds} if n_token else {}
    )


def training_flops(directory: RunDirectory, n_parameter: int | None) -> dict[str, float]:
    """Return the estimated training compute, `{"training_flops": 6 * parameters * training
    tokens}`. Frozen parameters beside an adapter count 4 times instead of 6, since they have no
    gradients.

    The mapping is empty if either number is unknown. Source: Kaplan et al. 2020, section 2.1.
    """
    n_token = trained(directory, "").n_token
    if not n_parameter or not n_token:
        return {}
    noted = str(directory.beginning.get("parameters", {}).get("n_trainable", ""))
    n_trained = int(noted) if noted.isdecimal() else n_parameter
    return {"training_flops": (4.0 * n_parameter + 2.0 * n_trained) * n_token}
