"""CTranslate2 against this project: logits, searches, probabilities, and what stands in the way."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch

from lslm_lightning.commands import generate
from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Beam, Greedy, Sampling, Search
from lslm_lightning.decoding.engine import open_engine
from lslm_lightning.exit_status import WRONG_ARGUMENTS
from lslm_lightning.interchange import exporting
from lslm_lightning.interchange.ctranslate2_engine import CTranslate2Engine
from lslm_lightning.interchange.ctranslate2_stopping import Answer, first_end, last_step
from lslm_lightning.interchange.ctranslate2_target import CTranslate2Target
from lslm_lightning.interchange.exporting import export_model
from lslm_lightning.interchange.layouts import NoLayoutError
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.tokenizer_export import tokens_of
from lslm_lightning.interchange.verification import logits_of_pairs
from lslm_lightning.runs import load_run
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.engine import Engine
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.task import Task
from tests.interchange import models
from tests.interchange.models import CAUSAL, EXAMPLES, GATED, GEGLU, PLAIN, TOKENIZER, build_task
from tests.interchange.test_export import make_run

ctranslate2 = pytest.importorskip("ctranslate2")

PAIRS = replace(CAUSAL, **models.PAIRS, scale_embedding=True)  # with the default parts
ALIBI = {"position": "ALiBi", "position_base": None}
FITTING: dict[str, ModelParts] = {
    "default": PAIRS,
    "gated": replace(PAIRS, **GATED, **PLAIN, head="LinearHead", head_bias=True),
    "grouped keys": replace(PAIRS, **GATED, n_kv_head=2),
    "heads of any size": replace(PAIRS, **GEGLU, n_kv_head=1, d_k=6, d_v=6),
    "gates by tanh": replace(PAIRS, **GEGLU | {"approximate": "tanh"}),
    "rotary after norm": replace(PAIRS, norm_first=False, approximate="tanh"),
    "no bias of norms": replace(PAIRS, norm_bias=False, norm_eps=1e-3, position_base=300.0),
    "pegasus": EXAMPLES["pegasus"][0],
    "marian": EXAMPLES["marian"][0],
    "bart": EXAMPLES["bart"][1],
    "mbart": EXAMPLES["mbart"][0],
    "language model": CAUSAL,
    "llama": EXAMPLES["llama"][0],
    "gpt2": EXAMPLES["gpt2"][0],
    "alibi": replace(CAUSAL, **ALIBI),
}
TEXTS = ["the quick fox", "", "brown dogs jump", "狐狸", "the the lazy dogs", "over the dog"]
EXAMPLES_OF_TEXTS = [Example(str(i), text, (text[::-1],)) for i, text in enumerate(TEXTS)]


def rows_of(task: Task) -> list[list[int]]:
    """Return the ids of the texts as a task reads them."""
    if isinstance(task, SequenceToSequenceTask):
        return task.read(EXAMPLES_OF_TEXTS)
    return [[TOKENIZER.eos_id, *TOKENIZER.encode(text)] for text in TEXTS]


def answers(task: Task, search: Search, n_best: int = 1) -> list[list[int]]:
    """Return the ids that a task writes, which has an engine or none."""
    if isinstance(task, SequenceToSequenceTask):
        source = task.padded_sources(EXAMPLES_OF_TEXTS)
        found = task.decode(source, search, n_best=n_best)
        ids = zip(found.ids.tolist(), found.n_token.tolist(), strict=True)
        return [row[:n] for row, n in ids]
    task.search = search
    rows = rows_of(task)[:3]
    return task._by_length(rows, lambda found: task.continue_any_length(found, task.max_length))


@pytest.mark.parametrize("parts", FITTING.values(), ids=FITTING.keys())
def test_logits_are_equal(parts: ModelParts) -> None:
    task = build_task(parts)
    before = {name: weight.clone() for name, weight in task.state_dict().items()}
    engine = CTranslate2Engine.of_task(task, "float32", "cpu")
    for row, text in zip(rows_of(task), TEXTS, strict=True):
        target = torch.tensor([[TOKENIZER.bos_id, *TOKENIZER.encode(text[::-1])]])
        if parts.kind == "causal":
            target = torch.tensor([row])
            ours = task.logits(target)
        else:
            ours = logits_of_pairs(task, torch.tensor([row]), target)
        theirs = engine.logits(torch.tensor([row]), target)
        torch.testing.assert_close(theirs.double(), ours, rtol=0, atol=1e-4)
    CTranslate2Engine.of_task(task, "int8", "cpu")
    for name, weight in task.state_dict().items():
        assert torch.equal(weight, before[name]), "rounding leaves the weights of the run alone"


@pytest.mark.parametrize("parts", [PAIRS, FITTING["marian"], CAUSAL], ids=lambda p: p.position)
def test_answers_are_equal(parts: ModelParts) -> None:
    task = build_task(parts, max_length=20)
    searches = [Greedy(), Beam(4, early_stopping=True), Beam(3, 0.0, early_stopping=True)]
    searches += [Beam(4), Beam(3, 0.5), Beam(4, -1.0, early_stopping=True)]
    ours = [answers(task, search) for search in searches]
    task.engine = open_engine("ctranslate2", task)
    assert [answers(task, search) for search in searches] == ours


def test_greedy_search_has_the_same_limits() -> None:
    task = build_task(PAIRS, max_length=14, min_length=6)
    searches = [Greedy(), Greedy(no_repeat_ngram=1), Greedy(no_repeat_ngram=2)]
    ours = [answers(task, search) for search in searches]
    task.engine = open_engine("ctranslate2", task)
    assert [answers(task, search) for search in searches] == ours


def test_the_best_answers_have_the_same_probabilities() -> None:
    task = build_task(PAIRS, search=Beam(4, 1.5, early_stopping=True), max_length=20)
    ours = list(task.generate(EXAMPLES_OF_TEXTS, n_best=3))
    task.engine = open_engine("ctranslate2", task)
    for mine, other in zip(ours, task.generate(EXAMPLES_OF_TEXTS, n_best=3), strict=True):
        assert [each.output for each in other.alternatives] == [
            each.output for each in mine.alternatives
        ]
        nats = [each.nats for each in mine.alternatives]
        assert [each.nats for each in other.alternatives] == pytest.approx(nats, abs=1e-4)
        assert other.finish_reason == mine.finish_reason


@pytest.mark.parametrize("parts", [PAIRS, CAUSAL], ids=lambda p: p.kind)
def test_probabilities_are_equal(parts: ModelParts) -> None:
    task = build_task(parts, **({"stride": 4, "context": 8} if parts.kind == "causal" else {}))
    given = [("one", "the fox"), ("", "dog")]
    examples = EXAMPLES_OF_TEXTS[:2]
    ours = list(task.log_prob(examples, given))
    if parts.kind == "causal":
        ours += task.log_prob(EXAMPLES_OF_TEXTS)
    task.engine = open_engine("ctranslate2", task)
    theirs = list(task.log_prob(examples, given))
    if parts.kind == "causal":
        theirs += task.log_prob(EXAMPLES_OF_TEXTS)
    assert [p.n_token for p in theirs] == [p.n_token for p in ours]
    np.testing.assert_allclose([p.nats for p in theirs], [p.nats for p in ours], atol=1e-4)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (replace(PAIRS, d_v=6), r"backbone\.d_v=6 \(must be 4\).* --model\.backbone\.d_v 4"),
        (replace(PAIRS, **ALIBI), r"position=ALiBi \(must be Rotary or Sinusoidal or Learned\)"),
        (replace(CAUSAL, n_head=3, n_kv_head=3, **ALIBI), "position=ALiBi"),
        (replace(PAIRS, feed_forward="ChainedReLU", approximate=""), "feed_forward=ChainedReLU"),
    ],
)
def test_what_it_lacks_is_refused(parts: ModelParts, expected: str) -> None:
    with pytest.raises(NoLayoutError, match=expected):
        open_engine("ctranslate2", build_task(parts))


@pytest.mark.parametrize(
    ("parts", "search", "settings", "expected"),
    [
        (PAIRS, Sampling(), {}, "search=Sampling"),
        (PAIRS, Beam(2, no_repeat_ngram=3), {}, "no_repeat_ngram=3 has another meaning"),
        (PAIRS, Beam(2), {"min_length": 4}, "min_length=4 has another meaning"),
        (CAUSAL, Greedy(no_repeat_ngram=2), {}, "no_repeat_ngram=2 of a language model"),
    ],
)
def test_searches_that_it_lacks_are_refused(
    parts: ModelParts, search: Search, settings: dict[str, int], expected: str
) -> None:
    task = build_task(parts, **settings)
    task.search = search
    with pytest.raises(ValueError, match=expected):
        task.answering.use_engine("ctranslate2", "float32")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="engine='x' is not known; there are ctranslate2"):
        open_engine("x", build_task(CAUSAL))
    with pytest.raises(ValueError, match="dtype='int4' must be one of float32"):
        open_engine("ctranslate2", build_task(CAUSAL), "int4")


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", PAIRS)
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(ValueError, match=r"needs the package ctranslate2: .*\[export\]"):
        export_model(run, tmp_path / "out", to="ctranslate2")
    with pytest.raises(ValueError, match=r"needs the package ctranslate2: .*\[export\]"):
        open_engine("ctranslate2", load_run(run).task)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "pairs", PAIRS, max_source_length=9)


def used(folder: Path, texts: Sequence[str]) -> list[str]:
    """Return the greedy answers of the model in a folder, without code of this project."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    model = ctranslate2.Translator(str(folder))
    sources = [tokenizer.encode(text).tokens for text in texts]
    found = model.translate_batch(sources, beam_size=1, max_decoding_length=12)
    ids = [[tokenizer.token_to_id(token) for token in each.hypotheses[0]] for each in found]
    return [tokenizer.decode(row) for row in ids]


@pytest.mark.parametrize("dtype", CTranslate2Target.dtypes)
def test_a_folder_is_verified_and_used_without_us(dtype: str, run: Path, tmp_path: Path) -> None:
    export = export_model(run, tmp_path / "out", to="ctranslate2", dtype=dtype)
    assert {path.name for path in export.path.iterdir()} == {
        *("README.md", "config.json", "model.bin", "shared_vocabulary.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert export.layout == "Transformer"
    card = (export.path / "README.md").read_text()
    assert "ctranslate2.Translator" in card
    assert "beam_size=5" in card
    task = load_run(run).task
    task.search = Greedy()
    ours = [p.output for p in task.answer(EXAMPLES_OF_TEXTS)]
    if dtype == "float32":
        assert used(export.path, TEXTS) == [
            answer if text else "" for answer, text in zip(ours, TEXTS, strict=True)
        ]
    if dtype == "int8":
        assert "8 bits" in card
    else:
        found = export.verification
        assert found.worst < 1e-4
        assert found.n_equal + found.n_tie == found.n_text


def test_every_id_has_a_token_of_its_own() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "<unused_1>": 3}))
    tokens = tokens_of(backend, 5)
    assert tokens[0] == "a"
    assert tokens[3] == "<unused_1>"
    assert len(set(tokens)) == 5


def test_a_model_that_differs_is_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(CTranslate2Target):
        def write(self, model: exporting.ExportedModel, folder: Path) -> list[str]:
            notes = super().write(model, folder)
            config = json.loads((folder / "config.json").read_text())
            config["layer_norm_epsilon"] = 0.5
            (folder / "config.json").write_text(json.dumps(config))
            return notes

    monkeypatch.setattr(exporting, "TARGETS", {"ctranslate2": Wrong()})
    with pytest.raises(ValueError, match="logits differ from those of the run by"):
        export_model(run, tmp_path / "out", to="ctranslate2")
    assert list(tmp_path.iterdir()) == []


def test_a_search_stops_where_ours_does() -> None:
    answers_found = [Answer([5, 2], -2.0), Answer([5, 6, 2], -1.0), Answer([5, 7, 7, 2], -0.9)]
    beginning = np.log([0.5, 0.2, 0.1, 0.1])
    assert first_end(answers_found, 2) == 3
    unfinished = float(beginning[2] / 3)  # of the third answer when the second ended
    beginnings = [None, None, beginning]
    assert unfinished > -2.0, "better than the worst that ended"
    assert last_step(answers_found, beginnings, 2, 1.0, 9) is None, "and then nothing is known"
    assert last_step(answers_found, beginnings, 2, 1.0, 4) == 4
    worse = [None, None, beginning - 5]
    assert last_step(answers_found, worse, 2, 1.0, 9) == 3


def test_a_system_answers_like_the_run(run: Path) -> None:
    search = Beam(3, early_stopping=True)
    ours = Checkpoint(str(run), search, device="cpu")
    system = Engine(str(run), search=search, device="cpu")
    system.prepare(EXAMPLES_OF_TEXTS)
    answers_of = [
        {p.id: (p.output, p.n_token, p.finish_reason) for p in each.generate(EXAMPLES_OF_TEXTS)}
        for each in (ours, system)
    ]
    assert answers_of[0] == answers_of[1]
    assert system.signature("generate") == ours.signature("generate")
    assert system.fingerprint() != ours.fingerprint()
    int8 = Engine(str(run), dtype="int8", device="cpu")
    assert int8.fingerprint() != system.fingerprint()
    assert int8.info()["memory_bytes"] < system.info()["memory_bytes"]
    assert str(system.info()["engine"]).startswith("ctranslate2 ")
    with pytest.raises(ValueError, match="engine='x' is not known"):
        Engine(str(run), engine="x")


def test_generate_takes_an_engine(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", str(run), TEXTS[0], "--search", "greedy"]
    printed = []
    for more in ([], ["--engine", "ctranslate2"]):
        assert generate.main([*words, *more]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    words[-1] = "sampling"
    assert generate.main([*words, "--engine", "ctranslate2"]) == WRONG_ARGUMENTS
    assert "search=Sampling is no search of the engine ctranslate2" in capsys.readouterr().err


def test_texts_longer_than_the_positions_are_told() -> None:
    task = build_task(FITTING["mbart"])
    task.engine = open_engine("ctranslate2", task)
    source = torch.full((1, 40), 5)
    with pytest.raises(ValueError, match=r"CTranslate2 cannot answer: .*position"):
        task.decode(source, Greedy())
    with pytest.raises(ValueError, match=r"CTranslate2 cannot answer: .*position"):
        task.target_nats(source.tolist(), [[TOKENIZER.bos_id, TOKENIZER.eos_id]])
