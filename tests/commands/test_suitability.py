"""A system that was trained for another task or other languages than an evaluation set has is
refused by name.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from lslm_lightning.experiments.evaluation_spec import answering
from lslm_lightning.experiments.suitability import check_purposes, check_trained_for
from lslm_lightning.systems.baselines import CopySource
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.hugging_face import HuggingFaceSystem
from lslm_lightning.systems.interpolation import Interpolation
from tasks.language_modeling.data import LanguageModelingData
from tasks.question_answering.data import GenerativeData
from tasks.speech_recognition.data import SpeechData
from tasks.summarization.data import SummarizationData
from tasks.translation.data import TranslationData
from tests.commands.conftest import refused

TASKS = {
    "translation": "tasks.translation.task.TranslationTask",
    "summarization": "tasks.summarization.task.SummarizationTask",
    "speech_recognition": "tasks.speech_recognition.task.SpeechRecognitionTask",
    "language_modeling": "tasks.language_modeling.task.LanguageModelingTask",
    "question_answering": "tasks.question_answering.extractive.task.SpanTask",
    "own": "mine.Task",
}
DATA = {
    "translation": TranslationData,
    "summarization": SummarizationData,
    "speech_recognition": SpeechData,
    "language_modeling": LanguageModelingData,
    "question_answering": GenerativeData,
}


@pytest.fixture(autouse=True)
def _cache(project, monkeypatch):
    monkeypatch.setenv("LSLM_CACHE", str(project / "cache"))


def run(task: str, name: str = "a-1", noted: object = None, **data: object) -> Checkpoint:
    """A system: a run whose config says this of its data, and whose mlflow.json holds `noted`."""
    folder = Path("runs") / task / name
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/best.ckpt").touch()
    config = {
        "model": {"class_path": TASKS[task]},
        "data": {"class_path": "x.Y", "init_args": {"corpus": "./mine", **data}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if noted:
        (folder / "mlflow.json").write_text(json.dumps(noted))
    return Checkpoint(str(folder))


def data(task: str, *languages: str):
    """The data of an evaluation; its corpus is not read, and states no language."""
    corpus = Path("corpus")
    corpus.mkdir(exist_ok=True)
    row = dict.fromkeys(("text", "document", "summary", "context", "question", "answers"), "x")
    (corpus / "test.jsonl").write_text(json.dumps(row) + "\n")
    if task == "translation":
        (corpus / "many").mkdir(exist_ok=True)
        for code in languages:
            (corpus / f"many/test.{code}").write_text("x\n")
        return TranslationData(
            "corpus/many", source_language=languages[0], target_language=languages[1]
        )
    if task == "summarization":
        (corpus / "pairs").mkdir(exist_ok=True)
        (corpus / "pairs/test.jsonl").write_text('{"document": "x", "summary": "y"}\n')
        corpus /= "pairs"
    return DATA[task](str(corpus), language=languages[0] if languages else None)


@pytest.mark.parametrize(
    ("system", "asked", "words"),
    [
        (
            ("translation", "en", "de"),
            ("translation", "en", "zh"),
            ["translation en-de", "translation en-zh", ": languages differ"],
        ),
        (
            ("translation", "zh", "en"),
            ("translation", "en", "zh"),
            ["translation zh-en", ": languages differ"],
        ),
        (
            ("summarization", "en"),
            ("translation", "en", "zh"),
            ["summarization en", ": task and languages differ"],
        ),
        (
            ("summarization",),
            ("translation", "en", "zh"),
            ["trained for summarization,", ": task differs"],
        ),
        (
            ("speech_recognition", "en"),
            ("question_answering", "en"),
            ["speech_recognition en", "question_answering en", ": task differs"],
        ),
        (
            ("summarization", "en"),
            ("language_modeling", "en"),
            ["language_modeling en", ": task differs"],
        ),
        (("translation", "en", "de"), ("language_modeling", "en"), [": task and languages differ"]),
        (("summarization", "en"), ("summarization", "zh"), ["summarization zh"]),
        (("speech_recognition", "en"), ("speech_recognition", "de"), ["speech_recognition de"]),
        (
            ("question_answering", "en"),
            ("question_answering", "zh-Hans"),
            ["question_answering zh-Hans"],
        ),
    ],
)
def test_another_task_or_language_is_refused_by_name(system, asked, words):
    task, *languages = system
    names = ("source_language", "target_language") if task == "translation" else ("language",)
    made = run(task, **dict(zip(names, languages, strict=False)))
    evaluation = data(*asked)
    with pytest.raises(ValueError, match="system ours: it was trained for") as caught:
        check_purposes({"copy": CopySource(), "ours": made}, asked[0], evaluation)
    for each in (*words, "systems.ours.init_args.allow_mismatch"):
        assert each in str(caught.value)
    assert "\n" not in str(caught.value)
    allowed = Checkpoint(made.given, allow_mismatch=True)
    told = check_purposes({"ours": allowed}, asked[0], evaluation)["ours"]
    assert told in str(caught.value)
    assert told.startswith("it was trained for ")


@pytest.mark.parametrize(
    ("system", "asked"),
    [
        (
            ("translation", {"source_language": "en", "target_language": "zh-Hans"}),
            ("translation", "en", "zh"),
        ),
        (
            ("translation", {"source_language": "en_GB", "target_language": "zh"}),
            ("translation", "en", "zh"),
        ),
        (("summarization", {}), ("summarization", "zh")),
        (("summarization", {"language": None}), ("summarization", "zh")),
        (("summarization", {"language": "de"}), ("summarization",)),
        (("own", {"language": "zh"}), ("summarization", "zh")),
        (("own", {}), ("translation", "en", "zh")),
    ],
)
def test_what_fits_or_is_not_known_is_not_refused(system, asked):
    task, given = system
    assert check_purposes({"ours": run(task, **given)}, asked[0], data(*asked)) == {}


def test_a_language_model_may_read_another_language_and_it_is_told():
    model = run("language_modeling", language="en")
    mixed = Interpolation([model.given, run("language_modeling", "b-1", language="de").given])
    told = check_purposes(
        {"ours": model, "mixed": mixed}, "language_modeling", data("language_modeling", "de")
    )
    assert told.keys() == {"ours", "mixed"}
    assert (
        "it was trained for language_modeling en, and the evaluation set is language_modeling de"
        in told["ours"]
    )
    told = check_purposes({"ours": model}, "summarization", data("summarization", "zh"))
    assert (
        "it was trained for language_modeling en, and the evaluation set is summarization zh"
        in told["ours"]
    )


@pytest.mark.parametrize(
    ("own", "asked", "told"),
    [("ru", "de", True), ("ru", "ru", False), ("zh-Hans", "zh-Hant", False), ("ru", None, False)],
)
def test_languages_that_were_told_from_texts_are_compared_and_not_refused(own, asked, told):
    """Those of a run whose test recorded them, and of an evaluation set; neither was stated."""
    system = run("summarization")
    record = {"data": {"corpus": "mine", "languages": own}, "scores": []}
    Path("runs/summarization/a-1/metrics.json").write_text(json.dumps(record))
    languages = None if asked is None else (asked, asked)
    found = check_purposes({"ours": system}, "summarization", data("summarization"), languages)
    assert ("ours" in found) == told
    if told:
        assert (
            f"summarization {own}, and the evaluation set is summarization {asked}"
            in (found["ours"])
        )
    stated = data("summarization", "de")
    assert "ours" in check_purposes({"ours": system}, "summarization", stated)


@pytest.mark.parametrize(
    ("noted", "languages"),
    [
        ({"tags": {"languages": "zh-Hans"}}, ("zh-Hans", "zh-Hans")),
        ({"tags": {"languages": "pt-BR"}}, ("pt-BR", "pt-BR")),
        ({"tags": {"languages": "en"}}, ("en", "en")),
        ({"tags": {"languages": "en-de"}}, ("en", "de")),
        ({"tags": {"languages": "en de"}}, ("en", "de")),
        ({"tags": {"languages": "en-zh-Hans"}}, ("en", "zh-Hans")),
        ({"tags": {"languages": "zh-Hans-en"}}, ("zh-Hans", "en")),
        ({"tags": {"languages": "pt-br"}, "languages": ["pt-br", "pt-br"]}, ("pt-br", "pt-br")),
        ({"tags": {"languages": "en-de"}, "languages": ["en", "de"]}, ("en", "de")),
    ],
)
def test_what_a_run_noted_is_known_where_its_config_does_not_say(noted, languages):
    found = run("summarization", noted=noted)
    assert found.purposes()[0].languages == languages


def test_the_catalogue_knows_languages_that_a_run_did_not_note():
    assert run("summarization", "b-1", corpus="aeslc").purposes()[0].languages == ("en", "en"), (
        "as the catalogue says"
    )
    assert Checkpoint("runs/none").purposes()[0] == (None, None)


@pytest.mark.parametrize(
    ("stated", "refuses"),
    [
        ({"source_lang": "en", "target_lang": "de"}, True),
        ({"source_lang": "de", "target_lang": "en"}, True),
        ({"source_lang": "en", "target_lang": "zh"}, False),
        ({"source_lang": "en", "target_lang": "mul"}, False),
        ({"source_lang": "ROMANCE", "target_lang": "en"}, False),
        ({"source_lang": "", "target_lang": ""}, False),
        ({"source_lang": None}, False),
        ({}, False),
        ([], False),
    ],
)
def test_the_languages_of_a_marian_model_are_those_of_its_tokenizer(stated, refuses):
    Path("opus").mkdir()
    (Path("opus") / "tokenizer_config.json").write_text(json.dumps(stated))
    systems = {"opus": HuggingFaceSystem("opus")}
    asked = data("translation", "en", "zh")
    if refuses:
        with pytest.raises(ValueError, match="system opus: it was trained for"):
            check_purposes(systems, "translation", asked)
        assert check_purposes(
            {"opus": HuggingFaceSystem("opus", allow_mismatch=True)}, "translation", asked
        )
    else:
        assert check_purposes(systems, "translation", asked) == {}


def test_a_checkpoint_is_tested_on_its_own_languages():
    made = run("translation", source_language="en", target_language="de")
    checkpoint, [purpose] = "best.ckpt", made.purposes()
    check_trained_for(checkpoint, purpose, "translation", data("translation", "en", "de"))
    with pytest.raises(
        ValueError,
        match="was trained for translation en-de, and this config scores translation en-zh",
    ):
        check_trained_for(checkpoint, purpose, "translation", data("translation", "en", "zh"))
    [purpose] = run("language_modeling", language="en").purposes()
    task = "language_modeling"
    check_trained_for(checkpoint, purpose, task, data(task, "de"))


@pytest.mark.parametrize(
    ("trained", "scored"),
    [
        ("summarization", "question_answering"),
        ("question_answering", "summarization"),
        ("summarization", "language_modeling"),
    ],
)
def test_a_checkpoint_is_tested_by_its_own_task(trained, scored):
    """Networks of several tasks are alike, so that the weights of one fit another."""
    [purpose] = run(trained, language="en").purposes()
    with pytest.raises(
        ValueError, match=f"was trained for {trained} en, and this config scores {scored} en"
    ):
        check_trained_for("best.ckpt", purpose, scored, data(scored, "en"))
    [own] = run("own", language="en").purposes()
    check_trained_for("best.ckpt", own, scored, data(scored, "en"))


def test_what_is_allowed_asks_nobody_anew():
    """Answers are kept by how a system is set up, as far as that changes them."""
    spec = {"class_path": "a.B", "init_args": {"run": "x"}}
    assert (
        answering({"class_path": "a.B", "init_args": {"run": "x", "allow_mismatch": True}})
        == answering(spec)
        == spec
    )
    assert answering({"class_path": "a.B"}) == {"class_path": "a.B"}


@pytest.mark.slow
def test_evaluate_refuses_the_newest_run_of_a_pattern_before_it_is_asked(lslm, pairs, project):
    """The right run is older; nobody was told which one is meant."""
    right = run("translation", "en-1", source_language="en", target_language="zh")
    wrong = run("translation", "en-2", source_language="en", target_language="de")
    os.utime(Path(right.given) / "config.yaml", (1, 1))
    init = {"corpus": str(pairs), "source_language": "en", "target_language": "zh"}
    config = {
        "task": TASKS["translation"],
        "data": {"class_path": "tasks.translation.data.TranslationData", "init_args": init},
        "systems": {
            "ours": {
                "class_path": "lslm_lightning.systems.checkpoint.Checkpoint",
                "init_args": {"run": "runs/translation/en-*"},
            }
        },
    }
    (project / "evaluation.yaml").write_text(yaml.safe_dump(config))
    words = [
        "system ours",
        "runs/translation/en-*: chose runs/translation/en-2, the newest of 2",
        "translation en-de",
        "translation en-zh",
    ]
    refused(lslm("evaluate", "--config", project / "evaluation.yaml"), 1, *words)
    assert not list(Path("runs/translation").glob("evaluation-*"))
    shutil.rmtree(wrong.given)
