"""ONNX against this project: logits, searches, probabilities, and what cannot leave."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lslm_lightning.commands import generate
from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Beam, Greedy, Sampling, Search
from lslm_lightning.decoding.engine import open_engine
from lslm_lightning.interchange import exporting, onnx_files
from lslm_lightning.interchange.exporting import Export, export_model
from lslm_lightning.interchange.importing import import_model
from lslm_lightning.interchange.made_runs import write_run
from lslm_lightning.interchange.onnx_engine import OnnxRuntimeEngine
from lslm_lightning.interchange.onnx_graphs import (
    DecoderGraph,
    EncoderGraph,
    TracedModel,
    no_past,
    write_graphs,
)
from lslm_lightning.interchange.onnx_target import OnnxTarget
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.verification import BUILT_IN, logits_of_pairs, written_tokens
from lslm_lightning.runs import load_run
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.engine import Engine
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.task import Task
from tests.interchange import models
from tests.interchange.models import (
    BUCKETS,
    CAUSAL,
    GATED,
    LEARNED,
    PLAIN,
    TOKENIZER,
    build_task,
    task_spec,
)
from tests.interchange.test_import import LLAMA, their_folder

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ONE = replace(CAUSAL, n_decoder_layer=1)
PAIRS = replace(ONE, **models.PAIRS | {"n_encoder_layer": 1})
LSTM = {
    "class_path": "lslm_lightning.models.recurrent.LSTM",
    "init_args": {"d_model": 8, "n_encoder_layer": 0, "n_decoder_layer": 1},
}
POINTER = {"class_path": "lslm_lightning.models.heads.PointerGenerator"}
MODELS: dict[str, tuple[ModelParts, dict[str, object]]] = {
    "pairs": (
        replace(PAIRS, **GATED, **PLAIN, **BUCKETS, n_kv_head=2, d_v=6),
        {"head": POINTER, "max_source_length": 9, "scale_embedding": True},
    ),
    "causal": (
        replace(ONE, position="ALiBi", position_base=None, norm_first=False, embedding_norm=True),
        {"stride": 4},
    ),
    "learned": (replace(ONE, **LEARNED, head="LinearHead", head_bias=True, blocked_ids=(7,)), {}),
}
"""Parts of models that together have all kinds, and more arguments of their tasks."""
SEVERAL = [
    PAIRS,
    replace(CAUSAL, position="Sinusoidal"),
    replace(CAUSAL, position="NoPositionalEncoding", position_base=None, approximate="tanh"),
    replace(PAIRS, position="ALiBi", position_base=None, n_kv_head=1),
    replace(PAIRS, **LEARNED, norm_bias=False, scale_embedding=True),
]
TEXTS = ["the quick fox", "", "brown dogs jump", "狐狸", "the the lazy dogs", "over the dog"]
EXAMPLES = [Example(str(i), text, (text[::-1],)) for i, text in enumerate(TEXTS)]


def make_run(folder: Path, name: str) -> Path:
    """Write a run of a random model whose weights any type of 16 bits holds exactly."""
    parts, settings = MODELS[name]
    task = build_task(parts, max_length=12, **settings).float()
    for weight in task.parameters():
        weight.data.mul_(32).round_().clamp_(-128, 128).div_(32)
    config = {"model": task_spec(parts, max_length=12, **settings)}
    write_run(folder, "lslm test", config, TOKENIZER, task.state_dict(), {})
    return folder


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Export]]:
    """Function that returns the run of a model and its export, which is made once."""
    made: dict[str, tuple[Path, Export]] = {}

    def exported(name: str) -> tuple[Path, Export]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            (folder / "run").mkdir()
            run = make_run(folder / "run", name)
            made[name] = run, export_model(run, folder / "out", to="onnx")
        return made[name]

    return exported


@pytest.fixture
def kept(
    exports: Callable[[str], tuple[Path, Export]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Path, Task]]:
    """Function that returns the run of a model and its task, in float64; its graphs, which take
    seconds, are not traced again.
    """

    def keep(name: str) -> tuple[Path, Task]:
        run, export = exports(name)

        def copy_graphs(task: object, folder: Path, dtype: torch.dtype = torch.float32) -> None:
            for path in export.path.glob("*.onnx"):
                shutil.copy(path, folder)

        monkeypatch.setattr(onnx_files, "write_graphs", copy_graphs)
        return run, load_run(run).task.double().eval()

    return keep


@contextmanager
def exporting_to_a_graph() -> Iterator[None]:
    """Let the model compute as it does while a graph is traced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "is_exporting", lambda: True)
        yield


def rows_of(task: Task) -> list[list[int]]:
    """Return the ids of the texts as a task reads them."""
    if isinstance(task, SequenceToSequenceTask):
        return task.read(EXAMPLES)
    return [[TOKENIZER.eos_id, *TOKENIZER.encode(text)] for text in TEXTS]


def answers(task: Task, search: Search) -> list[list[int]]:
    """Return the ids that a task writes, which has an engine or none."""
    if isinstance(task, SequenceToSequenceTask):
        found = task.decode(task.padded_sources(EXAMPLES), search)
        ids = zip(found.ids.tolist(), found.n_token.tolist(), strict=True)
        return [row[:n] for row, n in ids]
    task.search = search
    return task._by_length(rows_of(task), lambda rows: task.continue_any_length(rows, 35))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_equal(name: str, kept: Callable[[str], tuple[Path, Task]]) -> None:
    _, task = kept(name)
    engine = open_engine("onnxruntime", task)
    tokens = written_tokens(task)
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-4)
    for row, text in zip(rows_of(task), TEXTS, strict=True):
        target = torch.tensor([[TOKENIZER.bos_id, *TOKENIZER.encode(text[::-1])]])
        if isinstance(task, CausalTask):
            ours = task.logits(target)
            shared = ()
        else:
            ours = logits_of_pairs(task, torch.tensor([row]), target)
            shared = engine.encode([row])
        theirs = engine.logits(torch.tensor([row]), target)
        close(theirs.double()[..., tokens], ours[..., tokens])
        state = None
        for at in range(target.size(1)):  # three beams at once, one token after the other
            step, state = engine.decode(target[:, at : at + 1].expand(3, -1), state, shared)
            for beam in step:
                close(beam[0, tokens].double(), ours[0, at, tokens])


@pytest.mark.parametrize("parts", SEVERAL, ids=lambda parts: parts.position)
def test_what_is_traced_computes_the_model(parts: ModelParts) -> None:
    task = build_task(parts)
    model = TracedModel(task)
    decoder = DecoderGraph(model)
    [row] = rows_of(task)[:1]
    target = torch.tensor([[TOKENIZER.bos_id, *row]])
    given: tuple[object, ...] = ()
    ours = task.logits(target) if isinstance(task, CausalTask) else None
    if ours is None:
        source = torch.tensor([row])
        ours = logits_of_pairs(task, source, target)
        given = (source, *EncoderGraph(model)(source))
    past = tuple((key.double(), value.double()) for key, value in no_past(model.decoder, 1, 0))
    with exporting_to_a_graph():
        first, past = decoder(target[:, :3], past, *given)
        rest, _ = decoder(target[:, 3:], past, *given)
        last, _ = decoder(target[:, 3:], past, *given, wanted=torch.tensor([rest.size(1) - 1]))
    torch.testing.assert_close(torch.cat([first, rest], 1), ours, rtol=0, atol=1e-12)
    torch.testing.assert_close(last, ours[:, -1:], rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_equal(name: str, kept: Callable[[str], tuple[Path, Task]]) -> None:
    _, task = kept(name)
    searches = [Greedy(), Greedy(no_repeat_ngram=2), Sampling(0.7, top_k=5, seed=3)]
    searches += [Beam(4), Beam(3, 0.5, no_repeat_ngram=2), Beam(3, early_stopping=True)]
    task.min_length = 3
    ours = [answers(task, search) for search in searches]
    task.engine = open_engine("onnxruntime", task)
    assert [answers(task, search) for search in searches] == ours


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pairs", "causal"])
def test_probabilities_are_equal(
    name: str, kept: Callable[[str], tuple[Path, Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, task = kept(name)
    task.search = Beam(4, 1.5)
    given = [("one", "the fox"), ("", "dog")]

    def found() -> list[float]:
        scored = list(task.log_prob(EXAMPLES[:2], given))
        if isinstance(task, CausalTask):
            scored += task.log_prob(EXAMPLES)
        best = [each for p in task.generate(EXAMPLES, n_best=3) for each in p.alternatives]
        return [each.nats for each in [*scored, *best]]

    ours = found()
    task.engine = engine = open_engine("onnxruntime", task)
    n_encoded = []
    encode = engine.encode
    monkeypatch.setattr(engine, "encode", lambda rows: n_encoded.append(len(rows)) or encode(rows))
    np.testing.assert_allclose(found(), ours, rtol=0, atol=1e-4)
    if name == "pairs":
        assert n_encoded[0] == 2, "each source of two texts is encoded once"


def test_texts_are_scored_within_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where texts with one source are together, the next need not be the longest."""
    engine = object.__new__(OnnxRuntimeEngine)
    engine.pad_id, engine.vocab_size = 0, 3
    sizes = []

    def decode(ids: Tensor, *given: object) -> tuple[Tensor, tuple[Tensor, ...]]:
        sizes.append(ids.numel() + len(ids))
        return torch.zeros(*ids.shape, 3), ()

    monkeypatch.setattr(engine, "decode", decode)
    monkeypatch.setattr(engine, "encode_each", lambda rows: ())
    monkeypatch.setattr("lslm_lightning.interchange.onnx_engine.MOST_LOGITS", 30)
    sources = [[1], [1], [2], [2], [2]]
    targets = [[1] * n for n in (10, 2, 9, 3, 3)]
    found = engine.nats(sources, targets)
    assert [len(each) for each in found] == [9, 1, 8, 2, 2]
    assert sizes == [10, 2, 9, 6]


@pytest.mark.slow
def test_long_texts_are_read_in_pieces(
    kept: Callable[[str], tuple[Path, Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, task = kept("causal")
    engine = open_engine("onnxruntime", task)
    ids = torch.randint(5, TOKENIZER.vocab_size, (2, 9))
    every, _ = engine.decode(ids, None, ())
    sizes = []
    decode = engine.decode
    monkeypatch.setattr(
        engine, "decode", lambda *given: sizes.append((made := decode(*given))[0].shape) or made
    )
    whole, _ = engine.step(ids, None, ())
    torch.testing.assert_close(whole, every[:, -1], rtol=0, atol=1e-5)
    assert sizes == [(2, 1, TOKENIZER.vocab_size)], "logits of the last token alone"
    monkeypatch.setattr("lslm_lightning.interchange.onnx_engine.MOST_TOKENS", 2)
    pieces, state = engine.step(ids, None, ())
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5)
    assert state[0].size(2) == 9


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
def test_other_types_are_verified(
    dtype: str,
    kept: Callable[[str], tuple[Path, Task]],
    exports: Callable[[str], tuple[Path, Export]],
    tmp_path: Path,
) -> None:
    run, _ = kept("pairs")
    _, exact = exports("pairs")
    export = export_model(run, tmp_path / "out", to="onnx", dtype=dtype)
    assert export.n_byte < exact.n_byte
    card = (export.path / "README.md").read_text()
    found = export.verification
    if dtype == "int8":
        assert "rounded to 8 bits" in card
        assert found.worst > 1e-4, "it computes with rounded weights"
    else:
        assert "in 16 bits" in card
        assert found.worst < 1e-4
        assert found.n_equal + found.n_tie == found.n_text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pairs", "learned"])
def test_the_code_of_the_card_needs_no_torch(
    name: str, exports: Callable[[str], tuple[Path, Export]], tmp_path: Path
) -> None:
    run, export = exports(name)
    assert {path.name for path in export.path.iterdir()} == {
        *(["encoder.onnx"] if name == "pairs" else []),
        *("README.md", "config.json", "decoder.onnx", "generation_config.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    check_code(export.path, run)


def check_code(folder: Path, run: Path) -> None:
    """Check that the code of a model card answers as the run does, without PyTorch."""
    card = (folder / "README.md").read_text()
    code = card.partition("```python\n")[2].partition("```")[0]
    code = code.replace("FOLDER", str(folder)).replace("TEXT", TEXTS[0])
    blocked = "import sys\nsys.modules['torch'] = sys.modules['lslm_lightning'] = None\n"
    done = subprocess.run([sys.executable, "-c", blocked + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    task = load_run(run).task
    task.search = Greedy()
    [ours] = task.generate(EXAMPLES[:1])
    assert done.stdout == f"{ours.output}\n"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), [("pairs", "float16"), ("learned", "float32")])
def test_a_whole_search_is_one_graph(
    name: str, dtype: str, kept: Callable[[str], tuple[Path, Task]], tmp_path: Path
) -> None:
    run, _ = kept(name)
    layout = {"to": "onnx", "layout": "opset20-greedy"}
    export = export_model(run, tmp_path / "out", dtype=dtype, **layout)
    assert export.verification.n_equal + export.verification.n_tie == len(BUILT_IN.sources)
    check_code(export.path, run)
    config = json.loads((export.path / "config.json").read_text())
    session = onnxruntime.InferenceSession(export.path / config["greedy"])
    names = {each.name for each in [*session.get_inputs(), *session.get_outputs()]}
    assert names - {"source"} == set(config["inputs of greedy"])
    with pytest.raises(ValueError, match="dtype=int8 cannot be written with layout=opset20-gr"):
        export_model(run, tmp_path / "other", dtype="int8", **layout)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_config_describes_the_graphs(
    name: str, exports: Callable[[str], tuple[Path, Export]]
) -> None:
    folder = exports(name)[1].path
    config = json.loads((folder / "config.json").read_text())
    told = set()
    for graph in ("encoder", "decoder"):
        if graph not in config:
            continue
        session = onnxruntime.InferenceSession(folder / config[graph])
        for each in [*session.get_inputs(), *session.get_outputs()]:
            [key] = [key for key in config["inputs"] if fnmatch(each.name, key)]
            told.add(key)
            assert isinstance(each.shape[0], str), "any number of rows"
            if each.name != "wanted":
                assert isinstance(each.shape[2 if "." in each.name else 1], str), "of any length"
    assert told == set(config["inputs"])
    assert config["max_positions"] == (32 if name == "learned" else None)


@pytest.mark.slow
def test_a_system_answers_like_the_run(
    kept: Callable[[str], tuple[Path, Task]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = kept("pairs")
    ours = Checkpoint(str(run), device="cpu")
    system = Engine(str(run), engine="onnxruntime", device="cpu")
    system.prepare(EXAMPLES)
    answers_of = [
        {p.id: (p.output, p.n_token, p.finish_reason) for p in each.generate(EXAMPLES)}
        for each in (ours, system)
    ]
    assert answers_of[0] == answers_of[1]
    assert system.signature("generate") == ours.signature("generate")
    assert system.fingerprint() != ours.fingerprint()
    assert str(system.info()["engine"]).startswith("onnxruntime ")
    arguments = ["generate", str(run), TEXTS[0], "--device=cpu", "--n-best=2"]
    printed = []
    for more in ([], ["--engine", "onnxruntime"]):
        assert generate.main([*arguments, *more]) == 0
        printed.append([line.split("\t")[-1] for line in capsys.readouterr().out.splitlines()])
    assert printed[0] == printed[1]


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    run = make_run(tmp_path / "run", "causal")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"needs the package onnxscript: .*\[export\]"):
        export_model(run, tmp_path / "out", to="onnx")
    with pytest.raises(ValueError, match=r"needs the package onnxscript: .*\[export\]"):
        open_engine("onnxruntime", load_run(run).task)
    assert not (tmp_path / "out").exists()


class Branching(torch.nn.Module):
    """Layer that chooses what to compute by what it reads."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_traced_is_refused(tmp_path: Path) -> None:
    task = build_task(MODELS["causal"][0])
    task.backbone.decoder.layers[0].feed_forward = Branching()
    with pytest.raises(ValueError, match=r"torch\.onnx cannot trace this model: .*by the values"):
        write_graphs(task, tmp_path)
    recurrent = build_task(CAUSAL, backbone=LSTM)
    with pytest.raises(ValueError, match=r"model\.backbone=LSTM .*; train with it to export"):
        open_engine("onnxruntime", recurrent)


def test_settings_are_checked(tmp_path: Path) -> None:
    task = build_task(CAUSAL)
    with pytest.raises(ValueError, match="dtype='int4' must be one of float32"):
        open_engine("onnxruntime", task, "int4")
    with pytest.raises(ValueError, match="device=cuda: the engine onnxruntime computes on the CPU"):
        open_engine("onnxruntime", task, device="cuda")
    (tmp_path / "run").mkdir()
    run = make_run(tmp_path / "run", "causal")
    with pytest.raises(
        ValueError, match="layout='llama' must be opset20 or opset20-greedy for ONNX; leave it out"
    ):
        export_model(run, tmp_path / "out", to="onnx", layout="llama")
    with pytest.raises(ValueError, match="dtype='int4' must be one of float32"):
        export_model(run, tmp_path / "out", to="onnx", dtype="int4")
    task.embedding.weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"dtype=float16 cannot hold the weight embedding\.weight"):
        open_engine("onnxruntime", task, "float16")


@pytest.mark.slow
def test_an_imported_model_without_padding_leaves(tmp_path: Path) -> None:
    import_model(their_folder(tmp_path / "theirs", "llama", **LLAMA), tmp_path / "run")
    assert export_model(tmp_path / "run", tmp_path / "out", to="onnx").verification.n_equal


def test_graphs_too_large_for_a_type_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lslm_lightning.interchange.onnx_target.MOST_BYTES", 1000)
    (tmp_path / "run").mkdir()
    run = make_run(tmp_path / "run", "causal")
    with pytest.raises(ValueError, match=r"dtype=int8: a graph of .*leave --dtype out"):
        export_model(run, tmp_path / "out", to="onnx", dtype="int8")


@pytest.mark.slow
def test_texts_longer_than_the_positions_are_told(kept: Callable[[str], tuple[Path, Task]]) -> None:
    _, task = kept("learned")
    task.engine = open_engine("onnxruntime", task)
    with pytest.raises(ValueError, match="a text of 33 tokens is longer than the positions"):
        task.continue_rows([[5] * 33], 1)


@pytest.mark.slow
def test_a_model_that_differs_is_not_kept(
    kept: Callable[[str], tuple[Path, Task]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(OnnxTarget):
        def write(self, model: exporting.ExportedModel, folder: Path) -> list[str]:
            notes = super().write(model, folder)
            path = folder / "decoder.onnx"
            graph = onnx.load(path)
            weights = graph.graph.initializer
            [norm] = [each for each in weights if each.name.endswith("feed_forward_norm.weight")]
            doubled = onnx.numpy_helper.to_array(norm) * 2
            norm.CopyFrom(onnx.numpy_helper.from_array(doubled, norm.name))
            onnx.save(graph, path)
            return notes

    run, _ = kept("causal")
    monkeypatch.setattr(exporting, "TARGETS", {"onnx": Wrong()})
    with pytest.raises(ValueError, match="logits differ from those of the run by"):
        export_model(run, tmp_path / "out", to="onnx")
    assert list(tmp_path.iterdir()) == []
