"""Reader of `tokenizer.json` files: our own, and those of pretrained models."""

import os

from lslm_lightning.text.pretrained import PretrainedTokenizer
from lslm_lightning.text.tokenizer import Tokenizer, read_backend


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Return the tokenizer of a `tokenizer.json`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no tokenizer, or one without a token for pad, bos or eos.
    """
    if (pretrained := PretrainedTokenizer.read(path)) is not None:
        return pretrained
    backend = read_backend(path)
    try:
        return Tokenizer(backend)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
