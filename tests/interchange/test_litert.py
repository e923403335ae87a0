"""LiteRT against this project. Where `litert_torch` is not installed, PyTorch computes the modules
that it would convert: what is given to it and read from it is tested all the same.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lslm_lightning.decoding import Greedy
from lslm_lightning.interchange import litert_files, litert_model, litert_target
from lslm_lightning.interchange.exporting import Export, export_model
from lslm_lightning.interchange.litert_files import Runner
from lslm_lightning.runs import load_run
from tests.interchange.test_onnx import EXAMPLES, TEXTS, exporting_to_a_graph, make_run


class TorchModels:
    """Stand-in for the converter and for LiteRT: modules, computed by PyTorch, that accept what
    LiteRT accepts alone: all inputs by their names, of the shapes and types that were traced.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Runner]] = {}

    def convert(
        self,
        signatures: Mapping[str, nn.Module],
        inputs: Mapping[str, Mapping[str, Tensor]],
        path: Path,
    ) -> None:
        name = str(len(self.files))
        runners = {key: self.runner(signatures[key], inputs[key]) for key in signatures}
        self.files[name] = runners
        path.write_text(name)

    @staticmethod
    def runner(module: nn.Module, traced: Mapping[str, Tensor]) -> Runner:
        def run(**given: np.ndarray) -> dict[str, np.ndarray]:
            assert given.keys() == traced.keys()
            tensors = {name: torch.from_numpy(each) for name, each in given.items()}
            for name, each in tensors.items():
                assert (each.shape, each.dtype) == (traced[name].shape, traced[name].dtype)
            with exporting_to_a_graph(), torch.no_grad():
                return {name: each.numpy() for name, each in module(**tensors).items()}

        return run

    def open_model(self, path: str | Path) -> dict[str, Runner]:
        return self.files[Path(path).read_text()]


@pytest.fixture
def torch_models(monkeypatch: pytest.MonkeyPatch) -> TorchModels:
    models = TorchModels()
    monkeypatch.setattr(litert_files, "convert", models.convert)
    monkeypatch.setattr(litert_model, "open_model", models.open_model)
    monkeypatch.setattr(litert_target, "check_installed", lambda: None)
    return models


@pytest.fixture
def exported(torch_models: TorchModels, tmp_path: Path) -> Callable[..., tuple[Path, Export]]:
    """Function that returns the run of a model and its export."""

    def export(name: str, layout: str | None = None) -> tuple[Path, Export]:
        (tmp_path / "run").mkdir()
        run = make_run(tmp_path / "run", name)
        return run, export_model(run, tmp_path / "out", to="litert", layout=layout)

    return export


def code_of(folder: Path, text: str) -> str:
    """Return the code of a model card."""
    card = (folder / "README.md").read_text()
    code = card.partition("```python\n")[2].partition("```")[0]
    return code.replace("FOLDER", str(folder)).replace("TEXT", text)


@pytest.mark.parametrize("name", ["pairs", "learned"])
def test_the_model_and_its_card_answer_like_the_run(
    name: str,
    exported: Callable[..., tuple[Path, Export]],
    torch_models: TorchModels,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, export = exported(name)
    found = export.verification
    assert found.worst < 1e-4
    assert found.n_equal + found.n_tie == found.n_text
    assert {path.name for path in export.path.iterdir()} == {
        *("README.md", "config.json", "generation_config.json", "model.tflite"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    interpreter = SimpleNamespace(
        Interpreter=lambda path: SimpleNamespace(
            get_signature_runner=torch_models.open_model(path).__getitem__
        )
    )
    monkeypatch.setitem(sys.modules, "ai_edge_litert", SimpleNamespace(interpreter=interpreter))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", interpreter)
    code = code_of(export.path, TEXTS[0])
    assert "torch" not in code
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    task = load_run(run).task
    task.search = Greedy()
    [ours] = task.generate(EXAMPLES[:1])
    assert printed.getvalue() == f"{ours.output}\n"
    if name == "learned":  # a run that cuts its sources does so in the tokenizer too
        with pytest.raises(ValueError, match="the text has 41 tokens, more than 32; shorten it"):
            exec(code_of(export.path, "fox " * 10), {})


@pytest.mark.parametrize("name", ["pairs", "learned"])
def test_the_config_describes_the_signatures(
    name: str, exported: Callable[..., tuple[Path, Export]], torch_models: TorchModels
) -> None:
    layout = "8x6" if name == "pairs" else "6"
    _, export = exported(name, layout)
    assert export.layout == layout
    config = json.loads((export.path / "config.json").read_text())
    runners = torch_models.open_model(export.path / config["model"])
    assert list(runners) == config["signatures"]
    given = {}
    if name == "pairs":
        source = np.full((1, config["source_length"]), config["eos_id"], np.int32)
        given = {"source": source, **runners["encode"](source=source)}
    ids = np.full((1, config["length"]), config["bos_id"], np.int32)
    [(out, logits)] = runners["decode"](ids=ids, **given).items()
    assert logits.shape == (1, 6, config["vocab_size"])
    told = {"cross_*" if each.startswith("cross_") else each for each in (*given, "ids", out)}
    assert told == set(config["inputs"])


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("pairs", "llama", r"layout='llama' must be the lengths .*source x answer.*such as 9x12"),
        ("pairs", "12", r"layout='12' must be the lengths"),
        ("causal", "8x8", r"layout='8x8' must be the lengths .*tokens of a text.*such as 32"),
        ("pairs", "10x12", r"layout=10x12 .* at most 9x12"),
        ("causal", "1", "layout=1 must be lengths of at least 2 tokens, and at most 32"),
    ],
)
def test_lengths_are_checked(
    name: str,
    layout: str,
    message: str,
    exported: Callable[..., tuple[Path, Export]],
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=message):
        exported(name, layout)
    assert not (tmp_path / "out").exists()


def test_a_model_that_differs_is_not_kept(
    exported: Callable[..., tuple[Path, Export]],
    torch_models: TorchModels,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def open_wrong(path: Path) -> dict[str, Runner]:
        decode = torch_models.open_model(path)["decode"]
        return {"decode": lambda **given: {"logits": decode(**given)["logits"] + 0.01}}

    monkeypatch.setattr(litert_model, "open_model", open_wrong)
    with pytest.raises(ValueError, match=r"logits differ from those of the run by 0\.01"):
        exported("causal")
    assert not (tmp_path / "out").exists()


def test_an_operation_that_litert_lacks_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **given: object) -> None:
        raise RuntimeError("Node number 8 (STABLEHLO_SCATTER) failed to prepare.\nmore")

    opened = SimpleNamespace(
        get_signature_list=lambda: ["decode"], get_signature_runner=lambda name: fail
    )
    interpreter = SimpleNamespace(Interpreter=lambda *args, **given: opened)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", SimpleNamespace(interpreter=interpreter))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", interpreter)
    told = r"LiteRT cannot compute this model: Node number 8"
    runner = litert_files.open_model(Path("model.tflite"))["decode"]
    with pytest.raises(ValueError, match=told):
        runner(ids=None)
    interpreter.Interpreter = fail
    with pytest.raises(ValueError, match=told):
        litert_files.open_model(Path("model.tflite"))


@pytest.mark.parametrize("error", [OSError("No space left on device"), MemoryError()])
def test_a_full_disk_is_no_fault_of_the_model(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise error

    converter = SimpleNamespace(convert=lambda: SimpleNamespace(export=fail))
    library = SimpleNamespace(Converter=lambda: converter)
    monkeypatch.setitem(sys.modules, "litert_torch", library)
    with pytest.raises(type(error)):
        litert_files.convert({}, {}, Path("model.tflite"))


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    run = make_run(tmp_path / "run", "causal")
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(ValueError, match=r"needs the package litert_torch: .*\[litert\]"):
        export_model(run, tmp_path / "out", to="litert")
    with pytest.raises(ValueError, match="dtype='int8' must be one of float32"):
        export_model(run, tmp_path / "out", to="litert", dtype="int8")


@pytest.mark.slow
def test_litert_computes_the_model(tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    (tmp_path / "run").mkdir()
    run = make_run(tmp_path / "run", "pairs")
    found = export_model(run, tmp_path / "out", to="litert").verification
    assert found.n_equal + found.n_tie == found.n_text
