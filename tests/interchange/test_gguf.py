"""GGUF against this project: logits, answers, and what stands in the way."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from lslm_lightning.decoding import Beam, Sampling
from lslm_lightning.interchange import exporting
from lslm_lightning.interchange.exporting import export_model
from lslm_lightning.interchange.gguf_files import DTYPES, FILE
from lslm_lightning.interchange.gguf_layout import interleaved
from lslm_lightning.interchange.gguf_target import GgufTarget
from lslm_lightning.interchange.layouts import NoLayoutError
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.verification import SCRIPTS
from lslm_lightning.runs import load_run
from lslm_lightning.text.recipes import BytePair
from lslm_lightning.training.causal import CausalTask
from tests.interchange.models import CAUSAL, EXAMPLES, GATED, PLAIN, exact
from tests.interchange.test_export import make_run

gguf = pytest.importorskip("gguf")

TEXTS = list(SCRIPTS) * 3
BYTES = BytePair(vocab_size=400).train(TEXTS)
SIZES = {"vocab_size": BYTES.vocab_size, "d_model": 32}
FITTING: dict[str, ModelParts] = {
    "grouped keys": replace(CAUSAL, **GATED, **PLAIN, **SIZES, n_kv_head=2, d_k=6, d_v=6),
    "not tied": replace(
        CAUSAL,
        **{**GATED, "norm_eps": 1e-4},
        **PLAIN,
        **SIZES,
        head="LinearHead",
        position_base=300.0,
    ),
    "biases": replace(CAUSAL, **GATED, **SIZES, n_head=2, n_kv_head=2, d_k=8, d_v=8),
    "starcoder2": replace(
        CAUSAL, **SIZES, n_kv_head=1, d_k=8, d_v=8, approximate="tanh", position_base=300.0
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("runs")

    def run_of(name: str) -> Path:
        if not (folder / name).exists():
            make_run(folder / name, FITTING[name], BYTES)
        return folder / name

    return run_of


def read_back(folder: Path, **settings: object) -> torch.nn.Module:
    """Return the model of a folder, read by `transformers`, in float64."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=FILE, dtype=torch.float64, **settings
    )
    return exact(model.eval())


@pytest.mark.parametrize("name", FITTING)
def test_logits_and_answers_are_equal(name: str, runs: Callable[..., Path], tmp_path: Path) -> None:
    export = export_model(runs(name), tmp_path / "out", to="gguf")
    assert export.layout == ("starcoder2" if name == "starcoder2" else "llama")
    assert {path.name for path in export.path.iterdir()} == {"README.md", "model.gguf"}
    found = export.verification
    assert found.n_equal + found.n_tie == found.n_text == len(SCRIPTS)
    assert any("0.3.21" in note for note in export.notes) == (name == "biases"), "queries are wide"
    given = {"biases": {"attention_bias": True, "mlp_bias": True}}.get(name, {})
    if name == "starcoder2":
        given = {"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}
    task = load_run(runs(name)).task
    ids = torch.tensor([BYTES.encode("".join(SCRIPTS))[:32]])
    theirs = read_back(export.path, **given)
    torch.testing.assert_close(theirs(ids).logits, task.double().logits(ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_type_is_written_as_such(
    dtype: str, runs: Callable[..., Path], tmp_path: Path
) -> None:
    export = export_model(runs("not tied"), tmp_path / "out", to="gguf", dtype=dtype)
    tensors = {each.name: each for each in gguf.GGUFReader(export.path / FILE).tensors}
    kinds = {name: each.tensor_type.name for name, each in tensors.items()}
    wanted = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "Q8_0"}[dtype]
    assert kinds["output.weight"] == kinds["blk.0.attn_q.weight"] == wanted
    assert kinds["blk.0.ffn_down.weight"] == ("F16" if dtype == "int8" else wanted), "24 columns"
    assert kinds["output_norm.weight"] == "F32"
    found = export.verification
    card = (export.path / "README.md").read_text()
    assert ("8 bits" in card) == (dtype == "int8")
    assert "n_ctx=32" in card
    if dtype != "int8":
        assert found.worst < 1e-4
        assert found.n_equal + found.n_tie == found.n_text
        return
    tensor = tensors["output.weight"]
    ours = load_run(runs("not tied")).task.head.weight.detach().numpy()
    step = np.abs(ours).reshape(-1, 32).max(1, keepdims=True) / 127
    wrong = np.abs(gguf.dequantize(tensor.data, tensor.tensor_type) - ours).reshape(-1, 32)
    assert (wrong <= 0.57 * step).all(), "to the nearest of 255 steps, themselves in float16"
    assert found.worst > 0


def test_neighbours_are_rotated() -> None:
    weight = torch.arange(12.0)[:, None].repeat(1, 2)  # 2 heads of 6 features
    assert interleaved(weight, 6)[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert interleaved(weight[:, 0], 6).tolist() == interleaved(weight, 6)[:, 0].tolist()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            CAUSAL,
            r"no layout of llama\.cpp .* nearest, starcoder2: "
            r"backbone\.feed_forward\.approximate=none \(must be tanh\)\. Trained with "
            r"--model\.backbone\.feed_forward\.approximate tanh",
        ),
        (EXAMPLES["llama"][2], "feed_forward=GEGLU .must be SwiGLU"),
        (EXAMPLES["starcoder2"][1], "ReLU|bias"),
        (EXAMPLES["gpt2"][0], r"position=Learned \(must be Rotary\)"),
        (EXAMPLES["pegasus"][0], "for language models, and this one is sequence-to-sequence"),
    ],
)
def test_models_without_a_home_are_refused(
    parts: ModelParts, expected: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", parts)
    with pytest.raises(NoLayoutError, match=expected):
        export_model(run, tmp_path / "out", to="gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_layout_can_be_named(runs: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(NoLayoutError, match=r"layout=starcoder2 cannot .*, and llama can"):
        export_model(runs("biases"), tmp_path / "out", to="gguf", layout="starcoder2")
    with pytest.raises(ValueError, match="layout='gpt2' is not known; there are llama, starcoder2"):
        export_model(runs("biases"), tmp_path / "out", to="gguf", layout="gpt2")


def test_a_file_that_differs_is_not_kept(
    runs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(GgufTarget):
        def write(self, model: exporting.ExportedModel, folder: Path) -> list[str]:
            parts = replace(model.parts, position_base=9.0)
            return super().write(replace(model, parts=parts), folder)

    monkeypatch.setattr(exporting, "TARGETS", {"gguf": Wrong()})
    with pytest.raises(ValueError, match="logits differ from those of the run by"):
        export_model(runs("not tied"), tmp_path / "out", to="gguf")
    assert list(tmp_path.iterdir()) == []


class FakeLlama:
    """Model of ours in the place of one that llama.cpp reads, as its Python package offers it."""

    task: CausalTask
    error = 0.0

    def __init__(self, path: str, **settings: object) -> None:
        assert Path(path).is_file()
        assert settings["n_ctx"] == self.task.context
        self.scores = np.empty((0, 0))

    def tokenize(self, text: bytes, special: bool) -> list[int]:
        return [self.task.tokenizer.eos_id, *self.task.tokenizer.encode(text.decode())]

    def reset(self) -> None:
        self.scores = np.empty((0, 0))

    @torch.no_grad()
    def eval(self, ids: list[int]) -> None:
        self.scores = self.task.logits(torch.tensor([ids]))[0].numpy() + self.error

    def generate(self, ids: list[int], temp: float) -> Iterator[int]:
        assert temp == 0
        while True:
            self.eval(ids)
            ids = [*ids, int(self.scores[-1].argmax())]
            yield ids[-1]

    def close(self) -> None:
        del self.scores


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_llama_cpp_must_agree_where_it_is_installed(
    dtype: str, runs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"Llama": FakeLlama, "GGML_TYPE_F32": 0}
    monkeypatch.setitem(sys.modules, "llama_cpp", SimpleNamespace(**names))
    monkeypatch.setattr(FakeLlama, "task", load_run(runs("biases")).task.eval(), raising=False)
    export_model(runs("biases"), tmp_path / "out", to="gguf", dtype=dtype)
    monkeypatch.setattr(FakeLlama, "error", 1.0)
    with pytest.raises(ValueError, match=r"in llama\.cpp its logits differ from those of the run"):
        export_model(runs("biases"), tmp_path / "other", to="gguf", dtype=dtype)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_weight_that_a_type_cannot_hold_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", FITTING["not tied"], BYTES)
    path = run / "checkpoints" / "best.ckpt"
    saved = torch.load(path, weights_only=True)
    saved["state_dict"]["head.weight"][0, 0] = 1e6
    torch.save(saved, path)
    with pytest.raises(ValueError, match=r"float16 cannot hold the weight output\.weight"):
        export_model(run, tmp_path / "out", to="gguf", dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("package", ["gguf", "accelerate", "transformers"])
def test_a_package_that_is_missing_is_named(
    package: str, runs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"GGUF needs the package {package}: .*\[\w+\]"):
        export_model(runs("biases"), tmp_path / "out", to="gguf")


def test_the_card_samples_as_the_run_does(runs: Callable[..., Path], tmp_path: Path) -> None:
    search = {
        "class_path": f"{Sampling.__module__}.Sampling",
        "init_args": {"top_p": 0.5, "temperature": 0.7},
    }
    run = make_run(tmp_path / "run", FITTING["biases"], BYTES, search=search)
    card = (export_model(run, tmp_path / "out", to="gguf").path / "README.md").read_text()
    assert "temperature=0.7, top_k=0, top_p=0.5, min_p=0.0)" in card
    assert "`top_p` before the temperature" in card


def test_the_card_names_what_llama_cpp_is_asked_without(tmp_path: Path) -> None:
    search = {
        "class_path": f"{Beam.__module__}.Beam",
        "init_args": {"beam_size": 3, "no_repeat_ngram": 2},
    }
    run = make_run(tmp_path / "run", FITTING["biases"], BYTES, search=search)
    card = (export_model(run, tmp_path / "out", to="gguf").path / "README.md").read_text()
    assert "without beam_size=3 and no_repeat_ngram=2 of the run" in card.replace("\\", "")
