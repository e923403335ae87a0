"""Tiny tasks and corpora that train in milliseconds."""

import copy
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from lslm_lightning.decoding import Beam
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.text.recipes import Characters
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.task import Task
from tasks.language_modeling.data import LanguageModelingData
from tasks.language_modeling.task import LanguageModelingTask
from tasks.translation.data import TranslationData
from tasks.translation.task import TranslationTask
from tests.conftest import WORDS


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder of parallel text: sentences of different lengths, and themselves backwards."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for split, n in (("train", 60), ("val", 12), ("test", 10)):
        sentences = [
            " ".join(WORDS[(i * 7 + j * 3 + len(split)) % len(WORDS)] for j in range(1 + i % 6))
            for i in range(n)
        ]
        (folder / f"{split}.en").write_text("".join(f"{s}\n" for s in sentences))
        (folder / f"{split}.de").write_text("".join(f"{s[::-1]}\n" for s in sentences))
    return folder


@pytest.fixture
def translation_data(pairs: Path) -> Callable[..., TranslationData]:
    def make(**settings) -> TranslationData:
        options = {"max_tokens": 120, "n_validation_example": 6, **settings}
        return TranslationData(
            str(pairs), Characters(), source_language="en", target_language="de", **options
        )

    return make


@pytest.fixture
def text_data(text: Path) -> Callable[..., LanguageModelingData]:
    def make(**settings) -> LanguageModelingData:
        return LanguageModelingData(
            str(text), Characters(), **{"context": 16, "batch_size": 4, **settings}
        )

    return make


def copies_of_tasks(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Task]]:
    """Weak references to the copies of tasks made from now on."""
    copies = []
    deepcopy = copy.deepcopy

    def noted(value: object, memo: dict | None = None) -> object:
        made = deepcopy(value, memo)
        if isinstance(made, Task):
            copies.append(weakref.ref(made))
        return made

    monkeypatch.setattr(copy, "deepcopy", noted)
    return copies


def translation_task(data: TranslationData, dropout: float = 0.1, **settings) -> TranslationTask:
    """Two layers of 16, the same weights every time."""
    torch.manual_seed(0)
    backbone = Transformer(
        d_model=16, n_head=2, n_encoder_layer=1, n_decoder_layer=1, dropout=dropout
    )
    return TranslationTask(backbone, data.tokenizer, search=Beam(2), max_length=60, **settings)


def language_task(
    data: LanguageModelingData, dropout: float = 0.1, **settings
) -> LanguageModelingTask:
    torch.manual_seed(0)
    backbone = Transformer(
        d_model=16, n_head=2, n_encoder_layer=0, n_decoder_layer=1, dropout=dropout
    )
    return LanguageModelingTask(backbone, data.tokenizer, **{"context": 16, **settings})


def fit(task: Task, data, callbacks=(), ckpt_path=None, **settings) -> Trainer:
    """Train on one CPU process; validation off unless asked for."""
    seed_everything(7, verbose=False)
    options = {"max_steps": 4, "limit_val_batches": 0, "check_val_every_n_epoch": None, **settings}
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=any(isinstance(c, Checkpoints) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(
        task, datamodule=data, ckpt_path=ckpt_path, weights_only=True if ckpt_path else None
    )
    return trainer


def assert_resumes_exactly(
    parts: Callable[[], tuple[Task, TaskData]], folder: Path, n_step: int
) -> None:
    """`n_step` steps straight, and 3 steps and the rest from the state on disk, end in the same
    weights to the last bit.

    Args:
        parts: a task and its data, always the same ones.
    """

    def weights(max_steps: int, name: str, **settings: Any) -> Tensor:
        task, data = parts()
        common = {"accumulate_grad_batches": 2, "limit_val_batches": 1.0, "val_check_interval": 2}
        fit(task, data, [Checkpoints(folder / name)], max_steps=max_steps, **common, **settings)
        return torch.cat([p.detach().flatten() for p in task.parameters()])

    straight = weights(n_step, "straight")
    _ = weights(3, "stopped")
    assert torch.equal(
        weights(n_step, "stopped", ckpt_path=str(folder / "stopped" / "last.ckpt")), straight
    )
