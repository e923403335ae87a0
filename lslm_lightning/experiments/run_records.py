"""What is on record of a run and of this installation, for reports."""

import json
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from lslm_lightning import __version__
from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.data.locations import cache_directory
from lslm_lightning.evaluation.contamination import contaminated, learn_once
from lslm_lightning.reports.trained import Trained
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.loading import read_config
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
    """Of Python, this project, and those of its packages that are installed."""
    found = {"lslm-lightning": __version__, "Python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def trained(directory: RunDirectory, name: str) -> Trained:
    """How a run was trained, for `reports.trained`.

    Raises:
        ValueError: its config.yaml cannot be read.
    """
    config = {key: str(value) for key, value in flatten(read_config(directory.config))}
    lines = directory.curves.read_text("utf-8").splitlines() if directory.curves.exists() else []
    return Trained(name, config, [json.loads(line) for line in lines if line.endswith("}")])


def seen_in_training(
    data: TaskData, examples: Sequence[Example]
) -> tuple[list[str] | None, np.ndarray | None]:
    """The training texts, and the mask of `evaluation.contamination`; None where the texts are not
    at hand.
    """
    texts = data.texts_at_hand
    if texts is None:
        return None, None
    known = learn_once(texts, data.training_key(), cache_directory() / "ngrams")
    return texts, contaminated(examples, known)


def timing(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Seconds an example and tokens a second, as far as they were measured; names as in
    `evaluation.results.Entry`.
    """
    seconds = sum(p.seconds for p in predictions)
    n_token = sum(p.n_token for p in predictions)
    if not seconds:
        return {}
    return {"seconds_per_example": seconds / len(predictions)} | (
        {"tokens_per_second": n_token / seconds} if n_token else {}
    )


def training_flops(directory: RunDirectory, n_parameter: int | None) -> dict[str, float]:
    """6 a parameter and token that was read in training, where both are known. Source: Kaplan et
    al. 2020, section 2.1.
    """
    n_token = trained(directory, "").n_token
    return {"training_flops": 6.0 * n_parameter * n_token} if n_parameter and n_token else {}
