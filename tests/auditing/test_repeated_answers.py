"""The audit of a sequence-to-sequence run that knows its training pairs by heart."""

import json
import random
from pathlib import Path

import pytest

from lslm_lightning import AuditSettings, audit, train

pytestmark = pytest.mark.slow
N_TRAIN = 24
WORDS = [a + b + "ra" for a in "bdfgk" for b in "aeiou"]


def sentence(draw: random.Random) -> str:
    """Twelve words in an order that nobody can know."""
    return " ".join(draw.choices(WORDS, k=12))


def test_training_pairs_known_by_heart_are_found(project: Path) -> None:
    draw = random.Random(0)
    corpus = project / "pairs"
    corpus.mkdir()
    for split, n in (("train", N_TRAIN), ("val", 6), ("test", 12)):
        pairs = [(" ".join(draw.choices(WORDS, k=3)), sentence(draw)) for _ in range(n)]
        for side, code in enumerate(("en", "de")):
            lines = [f"{pair[side]}\n" for pair in pairs]
            (corpus / f"{split}.{code}").write_text("".join(lines), "utf-8")
    run = train(config(corpus), name="by-heart")
    [finding] = audit(run, AuditSettings(n_sample=64), parts=["memorization"]).findings
    figures = {figure.key: figure.value for figure in finding.figures}
    assert figures["completed"] > 80
    assert figures["test_completed"] == 0
    assert finding.severity == "look"
    shown = json.dumps(finding.to_json())
    targets = (corpus / "train.de").read_text("utf-8").splitlines()
    assert not any(target in shown for target in targets)


def config(corpus: Path) -> dict[str, object]:
    """The config of a tiny Transformer that sees each of its pairs 150 times."""
    return {
        "model": {
            "class_path": "tasks.translation.task.TranslationTask",
            "init_args": {
                "max_length": 20,
                "backbone": {
                    "class_path": "lslm_lightning.models.transformer.Transformer",
                    "init_args": {
                        "n_encoder_layer": 1,
                        "n_decoder_layer": 1,
                        "n_head": 2,
                        "d_model": 64,
                        "d_feedforward": 128,
                        "dropout": 0.0,
                    },
                },
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 5e-3}},
            },
        },
        "data": {
            "class_path": "tasks.translation.data.TranslationData",
            "init_args": {
                "corpus": str(corpus),
                "source_language": "en",
                "target_language": "de",
                "tokenizer": {"class_path": "lslm_lightning.text.recipes.Words"},
                "max_tokens": 1000,
            },
        },
        "trainer": {
            "max_steps": 150,
            "accelerator": "cpu",
            "val_check_interval": 150,
            "check_val_every_n_epoch": None,
        },
    }
