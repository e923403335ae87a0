"""Run directories with tiny models that were not trained, written in no time."""

from pathlib import Path

import torch
import yaml

from lslm_lightning.models.positions import Learned
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.training.task import Task
from tasks.language_modeling.task import LanguageModelingTask
from tasks.translation.task import TranslationTask
from tests.training.tiny_tasks import tokenizer_of

SIZES = {"d_model": 16, "n_head": 2, "n_decoder_layer": 1, "dropout": 0.0}
LEARNED = {
    "class_path": "lslm_lightning.models.positions.Learned",
    "init_args": {"max_length": 12},
}
TRANSLATION = {
    "model": {
        "class_path": "tasks.translation.task.TranslationTask",
        "init_args": {
            "backbone": {
                "class_path": "lslm_lightning.models.transformer.Transformer",
                "init_args": {**SIZES, "n_encoder_layer": 1, "position": LEARNED},
            }
        },
    },
    "data": {
        "class_path": "tasks.translation.data.TranslationData",
        "init_args": {"source_language": "en", "target_language": "de"},
    },
}
LANGUAGE_MODELING = {
    "model": {
        "class_path": "tasks.language_modeling.task.LanguageModelingTask",
        "init_args": {
            "context": 16,
            "backbone": {
                "class_path": "lslm_lightning.models.transformer.Transformer",
                "init_args": {**SIZES, "n_encoder_layer": 0},
            },
        },
    },
    "data": {"class_path": "tasks.language_modeling.data.LanguageModelingData"},
}


def write_run(folder: Path, config: dict, task: Task) -> Path:
    """A run directory as a training leaves it, as far as a model is read from it."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    task.tokenizer.save(folder / "tokenizer.json")
    torch.save({"state_dict": task.state_dict()}, folder / "checkpoints" / "best.ckpt")
    return folder


def write_translator(folder: Path) -> Path:
    """Write a run that translates "en" to "de", over five letters, with 12 positions."""
    torch.manual_seed(0)
    backbone = Transformer(
        16, 2, 1, 1, dropout=0.0, position=lambda *sizes: Learned(*sizes, max_length=12)
    )
    return write_run(folder, TRANSLATION, TranslationTask(backbone, tokenizer_of("abc de")))


def write_language_model(folder: Path) -> Path:
    """Write a run of a language model over five letters, with a context of 16."""
    torch.manual_seed(0)
    backbone = Transformer(16, 2, 0, 1, dropout=0.0)
    task = LanguageModelingTask(backbone, tokenizer_of("abc de"), context=16)
    return write_run(folder, LANGUAGE_MODELING, task)
