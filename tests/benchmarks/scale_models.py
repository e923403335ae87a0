"""Works of `scale` on models: steps of training, and decoding."""

import sys
from functools import partial
from pathlib import Path

import torch

from lslm_lightning.decoding import Beam, Greedy, Search
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.positions import ALiBi
from lslm_lightning.models.recurrent import LSTM
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.optim import decay_groups
from lslm_lightning.text.recipes import Words
from lslm_lightning.training.batches import WindowBatch
from lslm_lightning.training.distributed.fsdp import clip_by_norm
from lslm_lightning.training.task import LABEL_SMOOTHING
from tasks.language_modeling.task import LanguageModelingTask
from tests.benchmarks.growth import Build, Work, main

N_WORD = 256
N_NEW = 96  # tokens that are written after a prompt
N_SPECIAL = 4


def task_of(
    backbone: Backbone, n_word: int = N_WORD, context: int = 256, search: Search | None = None
) -> LanguageModelingTask:
    """A language model over a vocabulary of so many words."""
    torch.manual_seed(0)
    tokenizer = Words().train([" ".join(f"w{i}" for i in range(n_word - N_SPECIAL))])
    assert tokenizer.vocab_size == n_word, tokenizer.vocab_size
    return LanguageModelingTask(backbone, tokenizer, context=context, search=search or Greedy())


def step_of(task: LanguageModelingTask, n_row: int, length: int) -> Work:
    """A step of training as the Trainer does it: loss, gradients, clipping, optimizer."""
    ids = torch.randint(N_SPECIAL, task.tokenizer.vocab_size, (n_row, length + 1))
    batch = WindowBatch(ids, n_row * length)
    optimizer = task.optimizer_of(decay_groups(task))

    def step() -> None:
        task.loss(batch, LABEL_SMOOTHING).backward()
        clip_by_norm(list(task.parameters()), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def parameters(size: int, folder: Path) -> Work:
    """A step of a Transformer with about so many parameters, 48 times the square of its width."""
    width = 16 * round((size / 48) ** 0.5 / 16)
    return step_of(task_of(Transformer(width, 4, 0, 4)), 2, 256)


def long_step(build: "partial[Backbone] | type[Backbone]", size: int, folder: Path) -> Work:
    """A step over one text of so many tokens."""
    return step_of(task_of(build(64, n_encoder_layer=0, n_decoder_layer=2), context=size), 1, size)


def vocabulary_step(size: int, folder: Path) -> Work:
    return step_of(task_of(Transformer(128, 4, 0, 1), size), 4, 128)


def written(task: LanguageModelingTask, length: int, n_new: int, n_best: int = 1) -> Work:
    """The search for a continuation of a prompt of so many tokens, which has been read once."""
    task.eval()
    [row] = torch.randint(N_SPECIAL, task.tokenizer.vocab_size, (1, length)).tolist()
    with torch.no_grad():
        logits, state, _ = task.first_step([row])
    calls = iter([(logits, state)])
    step = task.step

    def from_here(ids: torch.Tensor, state: object, shared: object) -> tuple:
        return next(calls, None) or step(ids, state, shared)

    task.step = from_here  # type: ignore[method-assign]
    return lambda: task.continue_rows([row], n_new, n_new, n_best=n_best)


def long_decoding(build: type[Backbone], size: int, folder: Path) -> Work:
    backbone = build(64, n_encoder_layer=0, n_decoder_layer=2)
    return written(task_of(backbone, context=size + N_NEW), size, N_NEW)


def vocabulary_decoding(size: int, folder: Path) -> Work:
    return written(task_of(Transformer(128, 4, 0, 1), size, search=Beam(4)), 8, N_NEW)


def beams(size: int, folder: Path) -> Work:
    """A beam of `size` hypotheses, all of which are answers."""
    task = task_of(Transformer(64, 4, 0, 2), 1000, search=Beam(size))
    return written(task, 8, N_NEW, n_best=size)


BUILDS: dict[str, Build] = {
    "parameters": parameters,
    "context": partial(long_step, Transformer),
    "context_alibi": partial(long_step, partial(Transformer, position=ALiBi)),
    "context_lstm": partial(long_step, LSTM),
    "decoding_context": partial(long_decoding, Transformer),
    "decoding_lstm": partial(long_decoding, LSTM),
    "vocabulary": vocabulary_step,
    "decoding_vocabulary": vocabulary_decoding,
    "beam_size": beams,
}

if __name__ == "__main__":
    main(BUILDS, sys.argv[1:])
