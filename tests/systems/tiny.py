"""Models of transformers with a dozen weights, saved in folders as users save theirs."""

from pathlib import Path

import torch
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    PreTrainedTokenizerFast,
)

WORDS = ["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"]


def save_tokenizer(folder: Path) -> None:
    backend = Backend(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)


def save_marian(folder: Path) -> Path:
    torch.manual_seed(0)
    sizes = {
        f"{side}_{what}": n
        for side in ("encoder", "decoder")
        for what, n in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 16))
    }
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    MarianMTModel(
        MarianConfig(vocab_size=len(WORDS), d_model=16, init_std=1.0, **ids, **sizes)
    ).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_gpt2(folder: Path, n_positions: int = 16) -> Path:
    torch.manual_seed(0)
    sizes = {"n_positions": n_positions, "n_embd": 16, "n_layer": 1, "n_head": 2}
    GPT2LMHeadModel(
        GPT2Config(vocab_size=len(WORDS), bos_token_id=1, eos_token_id=1, **sizes)
    ).save_pretrained(folder)
    save_tokenizer(folder)
    return folder
