"""Reader of `tokenizer.json` files, written by this project or taken from pretrained models."""

import os

from lslm_lightning.text.pretrained import PretrainedTokenizer
from lslm_lightning.text.tokenizer import Tokenizer, read_backend


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Return the tokenizer stored in a `tokenizer.json` file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file holds no tokenizer, or its tokenizer lacks a pad, bos or eos token.
    """
    if (pretrained := PretrainedTokenizer.read(path)) is not None:
        return pretrained
    backend = read_backend(path)
    try:
        return Tokenizer(backend)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
