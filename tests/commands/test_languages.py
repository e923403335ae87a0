"""Corpora that state no language, or the wrong one, by whole commands."""

import json
from pathlib import Path

import pytest
import yaml

from tests.commands.conftest import refused

WORDS = ["правительство", "команда", "город", "погода", "школа", "рынок", "музей", "поезд"]


@pytest.fixture
def russian(project) -> Path:
    """A config of a tiny summarizer on Russian texts, without a language."""
    corpus = project / "russian"
    corpus.mkdir()
    for split, n in (("train", 24), ("val", 8), ("test", 8)):
        rows = [
            {"document": f"Сегодня {a} и {b} стали главной новостью дня.", "summary": f"{a} и {b}"}
            for a, b in pairs(n, split)
        ]
        (corpus / f"{split}.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8"
        )
    backbone = {"d_model": 16, "n_head": 2, "n_encoder_layer": 1, "n_decoder_layer": 1}
    transformer = {
        "class_path": "lslm_lightning.models.transformer.Transformer",
        "init_args": backbone,
    }
    config = {
        "model": {
            "class_path": "tasks.summarization.task.SummarizationTask",
            "init_args": {"max_length": 8, "max_source_length": 80, "backbone": transformer},
        },
        "data": {
            "class_path": "tasks.summarization.data.SummarizationData",
            "init_args": {
                "corpus": str(corpus),
                "tokenizer": {"class_path": "lslm_lightning.text.recipes.Characters"},
                "max_target_length": 40,
            },
        },
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": 4,
            "val_check_interval": 2,
            "log_every_n_steps": 1,
        },
    }
    path = project / "russian.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def pairs(n: int, split: str) -> list[tuple[str, str]]:
    shift = 1 + len(split) % 4
    return [(WORDS[i % 8], WORDS[(i * shift + i // 8 + 1) % 8]) for i in range(n)]


def test_a_run_says_which_language_it_takes_and_does_the_checks_of_evaluate(
    lslm, russian, only_run
):
    outcome = lslm("run", "--config", russian)
    assert outcome.status == 0, outcome.err
    [line] = [line for line in outcome.out.splitlines() if line.startswith("language:")]
    assert line.startswith("language: ru, told from ")
    assert "val/ROUGE-L was 0 at each of 2 validations" in outcome.out
    assert "! empty outputs" in outcome.out or "! repeated outputs" in outcome.out
    page = (only_run() / "report/index.html").read_text("utf-8")
    assert line in page
    assert "Sanity checks" in page
    scores = json.loads((only_run() / "metrics.json").read_text("utf-8"))["scores"]
    assert all("tok:unicode" in score["signature"] for score in scores)


def test_a_metric_that_sees_no_letters_chooses_nothing(lslm, russian):
    outcome = lslm("run", "--config", russian, "--data.language", "en")
    refused(outcome, 1, "rougeL", "best checkpoint", "set data.language")
    assert not list(Path("runs").glob("*/*/checkpoints")), "refused before training"


@pytest.mark.parametrize(
    ("code", "nearest"),
    [("russian", "ru (Russian)"), ("xx1", "BCP 47"), ("русский", "ru (Russian)")],
)
def test_what_is_no_language_is_refused_with_the_nearest_code(lslm, russian, code, nearest):
    outcome = lslm("run", "--config", russian, "--data.language", code)
    refused(outcome, outcome.status, nearest)
    assert outcome.status in (1, 2)


@pytest.mark.parametrize("target", ["zh", "cmn", "zho"])
def test_the_same_chinese_has_the_same_score_under_each_of_its_codes(lslm, project, target):
    corpus = project / target
    corpus.mkdir()
    (corpus / "test.en").write_text("We walk.\nHe bought a book.\nThe train was late.\n")
    (corpus / f"test.{target}").write_text(
        "我们去公园散步。\n他昨天买了一本新书。\n火车晚点了两个小时。\n", "utf-8"
    )
    (project / "out.txt").write_text(
        "我们去公园玩。\n他昨天买了一本书。\n火车晚了两个小时。\n", "utf-8"
    )
    init = {"corpus": str(corpus), "source_language": "en", "target_language": target}
    config = {
        "task": "tasks.translation.task.TranslationTask",
        "data": {"class_path": "tasks.translation.data.TranslationData", "init_args": init},
        "n_resample": 10,
        "systems": {
            "theirs": {
                "class_path": "lslm_lightning.systems.outputs.Outputs",
                "init_args": {"path": str(project / "out.txt")},
            }
        },
    }
    path = project / "codes.yaml"
    path.write_text(yaml.safe_dump(config))
    assert lslm("evaluate", "--config", path).status == 0
    [found] = Path("runs/translation").glob("codes-*/metrics.json")
    [bleu] = [
        s
        for s in json.loads(found.read_text("utf-8"))["systems"]["theirs"]["scores"]
        if s["metric"] == "bleu"
    ]
    assert "tok:zh" in bleu["signature"]
    assert bleu["value"] == pytest.approx(63.3, abs=15)
