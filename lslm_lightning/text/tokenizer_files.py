"""Tokenizers read from `tokenizer.json`: our own, and those of pretrained models."""

import os

from lslm_lightning.text.pretrained import PretrainedTokenizer
from lslm_lightning.text.tokenizer import Tokenizer, read_backend


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Read a `tokenizer.json`.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there is no tokenizer, or lacks a token for pad, bos or eos.
    """
    if (pretrained := PretrainedTokenizer.read(path)) is not None:
        return pretrained
    backend = read_backend(path)
    try:
        return Tokenizer(backend)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
