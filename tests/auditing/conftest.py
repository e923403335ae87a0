"""A run that knows its training texts by heart: a character n-gram model of a high order."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lslm_lightning import train
from lslm_lightning.experiments.run import Run

N_CANARY = 10


def sentences(n: int, seed: int) -> list[str]:
    """Texts of random letters: whoever writes one again has read it."""
    draw = random.Random(seed)
    return ["".join(draw.choices("abcdefghij ", k=80)).strip() for _ in range(n)]


def config(corpus: Path) -> dict[str, object]:
    """The config of a 12-gram model of characters with planted canaries."""
    return {
        "model": {
            "class_path": "tasks.language_modeling.ngram.NgramTask",
            "init_args": {"order": 12},
        },
        "data": {
            "class_path": "tasks.language_modeling.data.LanguageModelingData",
            "init_args": {
                "corpus": str(corpus),
                "language": "en",
                "tokenizer": {"class_path": "lslm_lightning.text.recipes.Characters"},
                "canaries": {"n": N_CANARY, "counts": [1, 16], "n_digit": 6},
            },
        },
        "trainer": {"devices": 1},
    }


@pytest.fixture(scope="session")
def memorizing(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Run]:
    """A run of a model that knows its training texts by heart; the working directory is its
    folder.
    """
    folder = tmp_path_factory.mktemp("audit")
    shutil.copy(empty_store, folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    for split, n, seed in (("train", 60, 1), ("val", 10, 2), ("test", 20, 3)):
        lines = [json.dumps({"text": sentence}) for sentence in sentences(n, seed)]
        (corpus / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSLM_CACHE", str(folder / "cache"))
        patch.setenv("LSLM_LANG", "en")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        os.chdir(folder)
        yield train(config(corpus), name="memorizing")
        os.chdir(before)
