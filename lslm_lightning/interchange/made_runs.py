"""Run directories of models that were not trained here."""

import json
from collections.abc import Mapping
from pathlib import Path

import lightning
import torch
from torch import Tensor

from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.types import Settings


def write_run(
    folder: Path,
    command: str,
    config: Settings,
    tokenizer: Tokenizer,
    weights: Mapping[str, Tensor],
    record: Settings,
) -> RunDirectory:
    """Write the files that `load_run` reads into an empty folder.

    Args:
        command: command line that made the run.
        config: all settings, with `model`.
        weights: state dict of the task.
        record: content of mlflow.json: facts about the origin of the model.
    """
    directory = RunDirectory(folder)
    directory.save_settings(command, config)
    tokenizer.save(directory.tokenizer)
    directory.checkpoints.mkdir()
    state = {
        "state_dict": dict(weights),
        "tokenizer_digest": tokenizer.digest,
        "global_step": 0,
        "epoch": 0,
        "pytorch-lightning_version": lightning.__version__,
    }
    with directory.best.open("wb") as file:  # an error of torch's own file names no cause
        torch.save(state, file)
    text = json.dumps(record, ensure_ascii=False, indent=2)
    directory.record.write_text(f"{text}\n", "utf-8")
    return directory
