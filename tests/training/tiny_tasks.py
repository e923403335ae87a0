"""Tasks with tiny models: with the weights of `transformers` in float64, or counted."""

from pathlib import Path

import numpy as np
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    PretrainedConfig,
    PreTrainedModel,
)

from lslm_lightning.ngram.counting import NgramCounter
from lslm_lightning.ngram.training import estimated
from lslm_lightning.text.recipes import Characters
from lslm_lightning.text.tokenizer import Tokenizer
from tasks.language_modeling.ngram import NgramTask
from tasks.language_modeling.task import LanguageModelingTask
from tasks.translation.task import TranslationTask
from tests.models.convert import gpt2_from_transformers, marian_from_transformers

ALPHABET = "abcdefgh "
N_POSITION = 24
END_BIAS = 3.0  # answers of a few tokens
GPT2_SEED = 2
MARIAN_SEED = 2


def tokenizer_of(alphabet: str) -> Tokenizer:
    """Return the tokenizer that has one token for each character, and `<unk>` for others."""
    return Characters().train([alphabet])


def randomized(kind: type[PreTrainedModel], config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """Return a model in float64, with parameters so large that probabilities differ. By the seeds
    that are used here some answers end early, and some do not.
    """
    torch.manual_seed(seed)
    model = kind(config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return model.double().eval()


def gpt2_task(alphabet: str = ALPHABET, **settings) -> tuple[LanguageModelingTask, GPT2LMHeadModel]:
    tokenizer = tokenizer_of(alphabet)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size,
        n_positions=N_POSITION,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=tokenizer.eos_id,
        eos_token_id=tokenizer.eos_id,
    )
    model = randomized(GPT2LMHeadModel, config, GPT2_SEED)
    embedding, backbone, head = gpt2_from_transformers(model)
    task = LanguageModelingTask(backbone, tokenizer, **{"context": N_POSITION, **settings})
    task.embedding = embedding
    task.head = head
    return task.double().eval(), model


def marian_task(alphabet: str = ALPHABET, **settings) -> tuple[TranslationTask, MarianMTModel]:
    tokenizer = tokenizer_of(alphabet)
    sizes = {
        f"{side}_{what}": n
        for side in ("encoder", "decoder")
        for what, n in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))
    }
    config = MarianConfig(
        vocab_size=tokenizer.vocab_size,
        d_model=16,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_id,
        eos_token_id=tokenizer.eos_id,
        bos_token_id=tokenizer.bos_id,
        decoder_start_token_id=tokenizer.bos_id,
        forced_eos_token_id=None,
        **sizes,
    )
    model = randomized(MarianMTModel, config, MARIAN_SEED)
    model.final_logits_bias.normal_()
    model.final_logits_bias[0, tokenizer.eos_id] += END_BIAS
    embedding, backbone, head = marian_from_transformers(model)
    task = TranslationTask(backbone, tokenizer, **settings)
    task.embedding = embedding
    task.head = head
    return task.double().eval(), model


def ngram_task(folder: Path, alphabet: str = "ab", order: int = 3) -> NgramTask:
    """A model of a few texts over the alphabet and one unknown character."""
    tokenizer = tokenizer_of(alphabet)
    task = NgramTask(tokenizer, order=order)
    counter = NgramCounter(order, task.bos + 1, task.bos, folder)
    texts = ["ab", "abba", "a", "", "b?a", "aab"]
    for text in texts:
        counter.add(np.array([task.bos, *tokenizer.encode(text), tokenizer.eos_id]))
    impossible = {tokenizer.pad_id, tokenizer.bos_id} - {tokenizer.eos_id}
    task.model = estimated(counter, task.bos + 1, impossible=sorted(impossible))
    return task
