"""Runs of n-gram models on toy corpora, trained within seconds."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from lslm_lightning import train
from lslm_lightning.experiments.run import Run

WORDS = {"class_path": "lslm_lightning.text.recipes.Words"}
CHARACTERS = {"class_path": "lslm_lightning.text.recipes.Characters"}


def trained_ngram(folder: Path, texts: Sequence[str], order: int, tokenizer: dict) -> Run:
    """Return the run of an n-gram model that was trained on texts, the last 300 of which are held
    out for validation and test.
    """
    folder.mkdir()
    splits = {"train": texts[:-300], "val": texts[-300:-200], "test": texts[-200:]}
    for split, chosen in splits.items():
        rows = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in chosen]
        (folder / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")
    return train(
        {
            "model": {
                "class_path": "tasks.language_modeling.ngram.NgramTask",
                "init_args": {"order": order},
            },
            "data": {
                "class_path": "tasks.language_modeling.data.LanguageModelingData",
                "init_args": {
                    "corpus": str(folder),
                    "tokenizer": tokenizer,
                    "language": "en",
                },
            },
            "trainer": {"devices": 1},
            "job": {"name": folder.name},
        }
    )


def said_of_groups(topic, share: float, n: int, seed: int) -> list[str]:
    """Return sentences of a topic. Of each, the attribute fits the group by the stereotype with
    probability `share`.
    """
    draw = random.Random(seed)
    texts = []
    for _ in range(n):
        groups, attributes = draw.choice(topic.groups), draw.choice(topic.attributes)
        group = draw.randrange(2)
        attribute = group if draw.random() < share else 1 - group
        text = draw.choice(topic.sentences).format(
            group=groups[group], attribute=attributes[attribute]
        )
        texts.append(text[:1].upper() + text[1:])
    return texts
