"""Canaries among pairs: what a sequence-to-sequence model knows of those that were planted."""

import random
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from lslm_lightning import audit, train
from lslm_lightning.auditing.canaries import exposed, nats_of_numbers
from lslm_lightning.contracts import Example
from lslm_lightning.data.canaries import Canaries
from lslm_lightning.systems.checkpoint import Checkpoint
from tests.auditing.test_repeated_answers import config

pytestmark = pytest.mark.slow
CANARIES = Canaries(4, [3], 3, text="{name} {number}", source="{name}")


def test_planted_pairs_are_exposed_and_others_are_not(project: Path) -> None:
    draw = random.Random(0)
    corpus = project / "pairs"
    corpus.mkdir()
    for split, n in (("train", 8), ("val", 4), ("test", 4)):
        lines = ["".join(draw.choices("abcdefgh 0123456789", k=8)).strip() for _ in range(n)]
        for code in ("en", "de"):
            (corpus / f"{split}.{code}").write_text("".join(f"{each}.\n" for each in lines))
    settings = config(corpus)
    settings["data"]["init_args"] |= {
        "tokenizer": {"class_path": "lslm_lightning.text.recipes.Characters"},
        "canaries": asdict(CANARIES),
    }
    run = train(settings, name="planted")
    [finding] = audit(run, parts=["canaries"]).findings
    figures = {figure.key: figure.value for figure in finding.figures}
    assert figures["extracted"] == 100, "the model answers with the numbers that it was taught"
    assert figures["mean_exposure"] > 7, "of 9.97 bits"
    task = Checkpoint(str(run.path)).task
    never_planted = exposed(task, replace(CANARIES, seed=9), 100, 0, lambda _: None)
    assert np.mean([each.exposure for each in never_planted]) < 4
    assert not any(each.is_greedy or each.is_beam for each in never_planted)
    texts = [CANARIES.text_of("Dadadada", number) for number in ("123", "321")]
    answers = task.log_prob([Example("1", CANARIES.source_of("Dadadada"), ())], [texts])
    found = nats_of_numbers(task, CANARIES, "Dadadada", ["123", "321"])
    assert found == [answer.nats for answer in answers]
