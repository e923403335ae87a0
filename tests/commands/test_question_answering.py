"""Question answering through the commands: trained, tested, used, evaluated and compared; by
networks of our own and by pretrained ones.
"""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerFast,
)

from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.experiments.generation import Writer
from lslm_lightning.runs import load_run
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.training.callbacks.best_score import BestScore
from tasks.question_answering.data import GenerativeData
from tasks.question_answering.extractive.decoding import best_threshold
from tasks.question_answering.extractive.task import no_answer_last
from tests.commands.compared_runs import config_of, only, points
from tests.commands.conftest import refused
from tests.commands.test_processes import ended
from tests.support import question_corpus
from tests.support.mlflow_models import pyfunc_of

pytestmark = pytest.mark.slow

QUICK = ("--n_resample", 100)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
SMALL = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
ENCODERS = {
    "bert": lambda n: BertModel(BertConfig(vocab_size=n, max_position_embeddings=48, **SIZES)),
    "distilbert": lambda n: DistilBertModel(
        DistilBertConfig(vocab_size=n, max_position_embeddings=48, **SMALL)
    ),
}


def pretrained(folder: Path, kind: str) -> Path:
    """A network of random weights, with a tokenizer that frames pairs as BERT's does."""
    texts = [
        row["context"] + " " + row["question"] for row in question_corpus.make_rows(60, "en", 0)
    ]
    split = pre_tokenizers.BertPreTokenizer()
    words = sorted({word for text in texts for word, _ in split.pre_tokenize_str(text)})
    backend = Backend(
        models.WordLevel({word: i for i, word in enumerate([*SPECIAL, *words])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = split
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    torch.manual_seed(0)
    ENCODERS[kind](len(SPECIAL) + len(words)).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    return folder


def of_pretrained(path: Path, folder: Path) -> Path:
    """The config, with that network."""
    spec = yaml.safe_load(path.read_text())
    given = {"init_args": {"path": str(folder)}}
    spec["model"]["init_args"] |= {
        "backbone": {"class_path": "lslm_lightning.pretrained.encoder.PretrainedEncoder", **given}
    }
    spec["data"]["init_args"] |= {
        "tokenizer": {
            "class_path": "lslm_lightning.text.hugging_face.HuggingFaceTokenizer",
            **given,
        }
    }
    spec["model"]["init_args"]["overlap_features"] = False
    path.write_text(yaml.safe_dump(spec))
    return path


def answers(run: Path) -> dict[str, tuple]:
    return {
        p.id: (p.output, p.alternatives) for p in read_predictions(run / "predictions/test.jsonl")
    }


def test_two_runs_are_tested_used_evaluated_and_compared(lslm, translation, project):
    path = config_of("spans", translation)
    spec = yaml.safe_load(path.read_text())
    modelling = {
        "class_path": "lslm_lightning.models.recurrent.LSTM",
        "init_args": {"n_encoder_layer": 1, "n_decoder_layer": 0},
    }
    flow = {
        "class_path": "tasks.question_answering.extractive.bidaf.AttentionFlow",
        "init_args": {"modelling": modelling},
    }
    spec["model"]["init_args"]["flow"] = flow
    (project / "bidaf.yaml").write_text(yaml.safe_dump(spec))
    for config, name in ((path, "joined"), (project / "bidaf.yaml", "apart")):
        outcome = lslm("run", "--config", config, f"--job.name={name}", "--trainer.max_steps=12")
        assert outcome.status == 0, outcome.err
    joined = only("joined-*")
    apart = only("apart-*")
    page = (joined / "report/report.md").read_text("utf-8")
    assert all(
        words in page
        for words in (
            "Answers in their passages",
            "word overlap",
            "no answer",
            "most frequent span",
        )
    )
    curve = points(joined)
    assert curve["val/threshold"]
    best = torch.load(joined / "checkpoints/best.ckpt", weights_only=True)
    loaded = load_run(joined).task
    assert float(loaded.threshold) == float(best["state_dict"]["threshold"])
    assert math.isfinite(float(loaded.threshold)), "some questions have no answer"
    data = GenerativeData(str(project / "questions"))
    found = {
        p.id: (p.output, p.alternatives)
        for p in Checkpoint(str(joined)).generate(data.examples("test"))
    }
    assert {k: v[0] for k, v in found.items()} == {k: v[0] for k, v in answers(joined).items()}, (
        "save and load change nothing"
    )
    example = data.examples("test")[0]
    outcome = lslm("generate", joined, example.source)
    assert outcome.status == 0, outcome.err
    assert outcome.out == f"{found[example.id][0]}\n"
    writer = Writer(str(joined))
    assert writer.example("0", example.source).language == data.language, "as in its test"
    outputs = [p.output for p in writer.answers([e.source for e in data.examples("test")])]
    assert outputs == [output for output, _ in found.values()]
    table = pd.DataFrame([e.source.split("\n", 1) for e in data.examples("test")])
    table.columns = ["question", "context"]
    assert pyfunc_of(joined, project / "model").predict(table[["context", "question"]]) == outputs
    checkpoint = "lslm_lightning.systems.checkpoint.Checkpoint"
    systems = {
        run.name[:6]: {"class_path": checkpoint, "init_args": {"run": str(run)}}
        for run in (joined, apart)
    }
    systems |= {
        name: {"class_path": f"tasks.question_answering.baselines.{name}"}
        for name in ("NoAnswer", "FrequentSpan", "WordOverlap")
    }
    exam = {"task": "tasks.question_answering.task.QuestionAnsweringTask"}
    exam["data"] = {
        "class_path": "tasks.question_answering.data.GenerativeData",
        "init_args": {"corpus": str(project / "questions")},
    }
    (project / "evaluation.yaml").write_text(yaml.safe_dump(exam | {"systems": systems}))
    outcome = lslm("evaluate", "--config", "evaluation.yaml", *QUICK)
    assert outcome.status == 0, outcome.err
    [page] = Path("runs/question_answering").glob("evaluation-*/report/report.md")
    for words in ("Calibration", "Breakdown by F1", "NoAnswer", "p = "):
        assert words in page.read_text("utf-8") + outcome.out
    assert "cannot be ranked" not in outcome.out
    outcome = lslm("compare", joined, apart, "--n-resample", 100)
    assert outcome.status == 0, outcome.err
    [page] = Path("runs/question_answering").glob("compare-*/report/index.html")
    assert "AttentionFlow" in page.read_text("utf-8")
    assert lslm("plan", "--config", path).status == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [(["--job.average=1"], "the last state"), ([], "the mean of 2 checkpoints")],
)
def test_a_state_that_wins_after_training_has_a_threshold_of_its_own(
    settings, words, lslm, translation, project, monkeypatch
):
    monkeypatch.setattr(BestScore, "is_worse_than", lambda *_: True)
    outcome = lslm(
        "run",
        "--config",
        config_of("spans", translation),
        "--trainer.max_steps=13",
        "--model.max_question_length=3",
        *settings,
    )
    assert outcome.status == 0, outcome.err
    assert words in outcome.out
    assert "questions were read up to max_question_length=3 tokens" in outcome.out
    task = load_run(only("*")).task
    saved = float(task.threshold)
    examples = GenerativeData(
        str(project / "questions"), n_validation_example=12
    ).validation_examples()
    task.threshold.fill_(0.0)
    assert saved == best_threshold(
        examples, [no_answer_last(p.alternatives) for p in task.answer(examples)]
    )


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_pretrained_encoder_from_a_folder_is_fine_tuned(kind, lslm, translation, project):
    path = of_pretrained(config_of("spans", translation), pretrained(project / "pretrained", kind))
    outcome = lslm("run", "--config", path, "--job.name=tuned", "--trainer.max_steps=8")
    assert outcome.status == 0, outcome.err
    run = only("tuned-*")
    (project / "pretrained").rename(project / "elsewhere")
    task = load_run(run).task
    assert task.reader.frame == ([2], [3], [3], (0, 1))
    assert {name.split(".")[0] for name in task.state_dict()} == {"threshold", "backbone", "ends"}
    data = GenerativeData(str(project / "questions"))
    assert {p.id: p.output for p in Checkpoint(str(run)).generate(data.examples("test"))} == {
        k: v[0] for k, v in answers(run).items()
    }


def test_what_a_pretrained_encoder_cannot_have_is_one_line(lslm, translation, project):
    path = of_pretrained(
        config_of("spans", translation), pretrained(project / "pretrained", "bert")
    )
    for words, said in (
        (
            ["--model.overlap_features=true"],
            ["overlap_features=true does not fit backbone=PretrainedEncoder"],
        ),
        (
            ["--model.max_length=50"],
            ["max_length=48 of the positions of backbone must be at least max_length=50"],
        ),
    ):
        refused(lslm("fit", "--config", path, *words), 1, *said)


@pytest.mark.distributed
def test_one_process_and_two_give_the_same_scores(lslm, together, translation):
    path = config_of("spans", translation)
    common = ("--trainer.max_steps=6", "--job.average=1")
    assert (
        lslm(
            "run", "--config", path, *common, "--trainer.val_check_interval=12", "--job.name=one"
        ).status
        == 0
    )
    two = (
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--trainer.accumulate_grad_batches=1",
        "--trainer.val_check_interval=6",
    )
    ended(together("run", "--config", path, *common, *two, "--job.name=two"))
    one = only("one-*")
    two = only("two-*")
    curves = [points(run) for run in (one, two)]
    for name in ("val/loss", "val/f1", "val/threshold"):
        assert [v for _, v in curves[1][name]] == pytest.approx(
            [v for _, v in curves[0][name]], rel=1e-4
        )
    scores = [json.loads((run / "metrics.json").read_text())["scores"] for run in (one, two)]
    assert scores[0] == scores[1]
