"""Cache of trained tokenizers."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import tokenizers
from filelock import FileLock

from lslm_lightning.text.recipes import Recipe
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.text.tokenizer_files import load_tokenizer


def train_once(
    recipe: Recipe, texts: Callable[[], Iterable[str]], corpus_digest: str, cache: str | Path
) -> Tokenizer:
    """Return the tokenizer of a recipe from the cache, or train it and cache it; processes that
    start together train once.

    Args:
        texts: called only when there is something to train.
        corpus_digest: changes whenever the texts do.
        cache: folder for tokenizers only.
    """
    name = hashlib.sha256(
        f"{recipe.key()} {corpus_digest} tokenizers {tokenizers.__version__}".encode()
    ).hexdigest()[:32]
    path = Path(cache) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        try:
            return load_tokenizer(path)
        except (FileNotFoundError, ValueError):  # none yet, or damaged: half a file, another's
            recipe.train(texts()).save(path)
        return load_tokenizer(path)
