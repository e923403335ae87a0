"""Evaluations on real corpora, from the command line to the page in a browser: Multi30k by six
systems, DialogSum, wikitext-2.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from lslm_lightning.__main__ import main
from lslm_lightning.metrics.rouge import Rouge
from tasks.translation.data import TranslationData
from tests.support.multi30k import write_part
from tests.support.openai_server import KEY, Provider
from tests.systems.tiny import save_gpt2, save_marian

pytestmark = pytest.mark.slow

SYSTEMS = "lslm_lightning.systems"
N_FAULT = ("broken", 429, 500, "slow", "empty", "cut", 503)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, real_data, empty_store):
    """Return a working directory with cache and store of its own."""
    folder = tmp_path_factory.mktemp("evaluations")
    shutil.copy(empty_store, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LSLM_CACHE", str(folder / "cache"))
        patch.setenv("LSLM_DATA", str(real_data))
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


def lslm(*words: object) -> None:
    for name in ("LSLM_RUN_DIRECTORY", "LSLM_RUN_ID", "PL_GLOBAL_SEED"):
        os.environ.pop(name, None)
    assert main([str(word) for word in words]) == 0


def spec(path: str, /, **arguments: object) -> dict:
    return {"class_path": f"{SYSTEMS}.{path}", "init_args": arguments}


def evaluate(name: str, task: str, data: dict, systems: dict) -> Path:
    """Run an evaluation; return its folder."""
    kinds = {
        "translation": "Translation",
        "summarization": "Summarization",
        "language_modeling": "LanguageModeling",
    }
    config = {
        "task": f"tasks.{task}.task.{kinds[task]}Task",
        "data": {"class_path": f"tasks.{task}.data.{kinds[task]}Data", "init_args": data},
        "systems": systems,
        "n_resample": 300,
    }
    Path(f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    lslm("evaluate", "--config", f"{name}.yaml")
    [found] = Path(f"runs/{task}").glob(f"{name}-*")
    return found


def values(folder: Path) -> dict[str, dict[str, float]]:
    """Return scores by system and metric."""
    systems = json.loads((folder / "metrics.json").read_text())["systems"]
    return {
        name: {s["metric"]: s["value"] for s in entry["scores"]} for name, entry in systems.items()
    }


@pytest.fixture(scope="module")
def translations(folder, real_data):
    """Return two checkpoints of different size, a tiny Marian, an endpoint that often fails, a file
    of outputs, and a copying baseline.
    """
    root = Path(__file__).parents[2]
    config = root / "configs/translation/multi30k_en_de_cpu.yaml"
    corpus = str(write_part(folder / "part", real_data, train=2000, val=40, test=300))
    small = (
        "--job.minutes=null",
        "--trainer.max_steps=12",
        "--trainer.val_check_interval=12",
        "--trainer.log_every_n_steps=4",
        "--trainer.precision=32-true",
    )
    for width in (16, 32):
        sizes = (
            f"--model.backbone.d_model={width}",
            "--model.backbone.d_feedforward=32",
            "--model.max_length=12",
        )
        layers = (
            "--model.backbone.n_encoder_layer=1",
            "--model.backbone.n_decoder_layer=1",
            "--model.backbone.n_head=2",
        )
        lslm(
            "fit",
            "--config",
            config,
            *small,
            *sizes,
            *layers,
            f"--job.name=w{width}",
            "--data.n_validation_example=2",
            f"--data.corpus={corpus}",
        )
    data = {"corpus": corpus, "source_language": "en", "target_language": "de"}
    examples = TranslationData(**data).examples("test")
    known = {e.source: e.references[0] for e in examples}
    Path("theirs.txt").write_text(
        "".join(f"{' '.join(e.references[0].split()[:-1])} .\n" for e in examples), "utf-8"
    )
    provider = Provider()
    provider.answer = lambda question: known[
        question.rpartition("English: ")[2].partition("\n")[0]
    ].replace("ein", "kein")
    provider.faults = [*N_FAULT] * 3
    greedy = {"class_path": "lslm_lightning.decoding.Greedy"}
    systems = {
        "small": spec(
            "checkpoint.Checkpoint", run="runs/translation/w16-*", search=greedy, batch_size=100
        ),
        "large": spec(
            "checkpoint.Checkpoint", run="runs/translation/w32-*", search=greedy, batch_size=100
        ),
        "marian": spec(
            "hugging_face.HuggingFaceSystem",
            path=str(save_marian(folder / "marian")),
            max_new_tokens=5,
            batch_size=100,
        ),
        "hosted": spec(
            "endpoint.Endpoint",
            model="tiny",
            base_url=provider.url,
            timeout_seconds=1.0,
            concurrency=8,
        ),
        "theirs": spec("outputs.Outputs", path="theirs.txt"),
        "copy": spec("baselines.CopySource"),
    }
    try:
        yield evaluate("six", "translation", data, systems)
    finally:
        provider.close()


def test_six_systems_on_one_test_set(translations):
    found = values(translations)
    assert list(found) == ["small", "large", "marian", "hosted", "theirs", "copy"]
    assert all(set(scores) == {"bleu", "chrf", "ter"} for scores in found.values())
    assert found["theirs"]["bleu"] > 80
    assert 50 < found["hosted"]["bleu"] < 100
    record = json.loads((translations / "metrics.json").read_text())
    assert len(record["pairs"]) == 3 * 15
    assert {(f["check"], f["system"]) for f in record["findings"]} >= {
        ("wrong language", "copy"),
        ("tokenized text", "theirs"),
    }
    assert (
        record["systems"]["large"]["facts"]["n_parameter"]
        > record["systems"]["small"]["facts"]["n_parameter"]
    )
    assert record["systems"]["large"]["facts"]["training_flops"] > 0


@pytest.mark.browser
def test_its_page_in_a_browser(translations, browser):
    page = translations / "report/index.html"
    assert page.stat().st_size < 5e6
    browser.open(page.absolute().as_uri())
    assert browser.evaluate("document.querySelectorAll('table').length") > 8
    headings = browser.evaluate("[...document.querySelectorAll('h2')].map(e => e.textContent)")
    titles = (
        "Scores",
        "Sanity checks",
        "Quality vs cost",
        "Coverage of the source",
        "Alignment",
        "Config differences",
        "Run details",
    )
    for words in titles:
        assert any(words in heading for heading in headings), (words, headings)
    put = (
        "const c = document.querySelector('[data-controls]').elements; c.query.value = "
        "'orangefarbenen Hut, der etwas anstarrt'; "
    )
    browser.evaluate(
        f"(() => {{ {put} c.query.dispatchEvent(new Event('input', {{bubbles: true}})) }})()"
    )
    assert browser.evaluate("document.querySelectorAll('[data-list] .sample').length") == 1
    assert browser.evaluate("document.querySelectorAll('[data-list] .sample mark').length") > 0
    assert "orange" in browser.evaluate("document.querySelector('[data-list]').textContent")
    select = (
        "const c = document.querySelector('[data-controls]').elements; c.query.value = ''; "
        "c.order.value = 'worst 3'; "
    )
    browser.evaluate(
        f"(() => {{ {select} c.order.dispatchEvent(new Event('input', {{bubbles: true}})) }})()"
    )
    assert browser.evaluate("document.querySelectorAll('[data-list] .sample').length") == 20
    assert not [
        event
        for event in browser.events
        if event[0] == "Network.requestWillBeSent" and "http" in event[1]["request"]["url"][:5]
    ]


def test_three_references_of_dialogsum(folder):
    systems = {
        "first": spec("baselines.FirstSentences", k=1),
        "longest": spec("baselines.LongestSentence"),
        "oracle": spec("baselines.ExtractiveOracle", k=1),
        "theirs": spec("outputs.Outputs", path="summaries.jsonl"),
    }
    rows = [
        json.loads(line)
        for line in (Path(os.environ["LSLM_DATA"]) / "dialogsum/test.jsonl")
        .read_text("utf-8")
        .splitlines()
    ]
    own = [json.dumps({"id": row["fname"], "output": row["summary2"]}) for row in rows]
    Path("summaries.jsonl").write_text("\n".join(own[::-1]) + "\n")
    found = evaluate("dialogues", "summarization", {"corpus": "dialogsum"}, systems)
    scores = values(found)
    assert scores["theirs"]["rouge1"] == pytest.approx(100), (
        "one of the three references is the answer"
    )
    assert scores["oracle"]["rouge1"] > max(scores["first"]["rouge1"], scores["longest"]["rouge1"])
    assert "nrefs:3" in (found / "report/index.html").read_text("utf-8")
    assert (
        Rouge("Lsum").signature
        in json.loads((found / "metrics.json").read_text())["systems"]["first"]["scores"][3][
            "signature"
        ]
    )


@pytest.mark.browser
def test_bits_of_wikitext(folder, real_data, browser):
    part = folder / "wikitext"
    part.mkdir()
    (part / "test.txt").write_bytes((real_data / "wikitext-2/test.txt").read_bytes()[:400_000])
    systems = {
        "gpt2": spec(
            "hugging_face.HuggingFaceSystem",
            path=str(save_gpt2(folder / "gpt2", 128)),
            max_new_tokens=20,
        ),
        "xz": spec("baselines.Xz"),
        "uniform": spec("baselines.UniformBytes"),
    }
    found = evaluate("articles", "language_modeling", {"corpus": str(part)}, systems)
    scores = values(found)
    assert scores["uniform"]["bits_per_byte"] == pytest.approx(8)
    assert 1 < scores["xz"]["bits_per_byte"] < 3
    record = json.loads((found / "metrics.json").read_text())
    assert record["systems"]["gpt2"]["scores"], (
        "a model with <unk> is scored, though not in bits per byte"
    )
    browser.open((found / "report/index.html").absolute().as_uri())
    headings = browser.evaluate("[...document.querySelectorAll('h2')].map(e => e.textContent)")
    for words in (
        "Along the text",
        "By position in the window",
        "Hardest passages",
        "Samples",
    ):
        assert any(words in heading for heading in headings), (words, headings)
