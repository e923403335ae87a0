"""Cache of trained tokenizers on disk."""

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
    """Return the tokenizer of a recipe from the cache; train and cache it first if necessary.

    If several processes call this at once, only one trains.

    Args:
        texts: returns the training texts; called only if the tokenizer is not cached.
        corpus_digest: digest of the texts; part of the cache key.
        cache: folder that holds cached tokenizers only.
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
