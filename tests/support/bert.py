"""A BERT of two layers with random weights."""

from collections.abc import Iterable
from pathlib import Path

import torch

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_bert(folder: Path, words: Iterable[str], longest: int = 32) -> str:
    """Write model and tokenizer into a folder, and return its path; the tokens are these words."""
    from transformers import BertConfig, BertModel, BertTokenizer

    entries = [*SPECIAL, *sorted({word for word in words if word.strip()})]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(entries), "utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(entries),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=longest,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=longest).save_pretrained(folder)
    return str(folder)
