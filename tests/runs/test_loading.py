"""From a directory, or an MLflow run, back to the same model; and what stands in the way, in one
line.
"""

import json
import shutil
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from safetensors.torch import save_file
from torch import Tensor, nn

from lslm_lightning.runs import LoadedRun, RunDirectory, find_run, load_run, new_run
from lslm_lightning.text.recipes import Characters
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.tracking import Tracker
from lslm_lightning.training.model_info import ModelInfo


class Block(nn.Module):
    def __init__(
        self,
        d_model: int = 8,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.norm = norm(d_model)
        self.layer = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.layer(self.norm(x)))


class TinyTask(LightningModule):
    def __init__(
        self,
        backbone: Block,
        tokenizer: Tokenizer,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.backbone = backbone
        self.optimizer = optimizer
        self.scale = scale
        self.embedding = nn.Embedding(tokenizer.vocab_size, backbone.layer.in_features)

    def forward(self, ids: Tensor) -> Tensor:
        return self.scale * self.backbone(self.embedding(ids))

    @property
    def model_info(self) -> ModelInfo:
        """Describe a model without files but its checkpoint."""
        return ModelInfo(self)


HERE = "tests.runs.test_loading"
CONFIG = {
    "seed_everything": 3,
    "trainer": {"max_steps": 10},
    "model": {
        "class_path": f"{HERE}.TinyTask",
        "init_args": {
            "backbone": {
                "class_path": f"{HERE}.Block",
                "init_args": {
                    "d_model": 6,
                    "norm": {"class_path": "torch.nn.LayerNorm", "init_args": {"bias": False}},
                    "dropout": 0.3,
                },
            },
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.25}},
            "scale": 2.5,
        },
    },
    "data": {"class_path": "anything.Data"},
}
IDS = torch.arange(5)[None]


def norm(n: int) -> nn.Module:
    return nn.LayerNorm(n, bias=False)


@pytest.fixture
def trained(project: Path) -> tuple[RunDirectory, TinyTask]:
    """A run directory as training leaves it, and the model that made it."""
    tokenizer = Characters().train(["hello world"])
    task = TinyTask(Block(6, norm, 0.3), tokenizer, scale=2.5)
    run = new_run("tiny", "first")
    run.config.write_text(yaml.safe_dump(CONFIG))
    tokenizer.save(run.tokenizer)
    run.checkpoints.mkdir()
    saved = {
        "state_dict": task.state_dict(),
        "tokenizer_digest": tokenizer.digest,
        "optimizer_states": [{"lr": 0.1}],
    }
    torch.save(saved, run.checkpoints / "best.ckpt")
    return run, task.eval()


def same(run: LoadedRun, task: TinyTask) -> bool:
    return torch.equal(run.task(IDS), task(IDS))


@pytest.mark.slow
def test_a_run_gives_its_model_back(trained: tuple[RunDirectory, TinyTask]) -> None:
    directory, task = trained
    run = load_run(directory.path, trust=True)
    assert same(run, task)
    assert not run.task.training
    assert run.tokenizer.digest == task.tokenizer.digest
    assert run.config == CONFIG
    assert run.task.optimizer(run.task.parameters()).defaults["lr"] == 0.25
    assert run.checkpoint == directory.checkpoints / "best.ckpt"


def test_a_checkpoint_can_be_chosen(
    trained: tuple[RunDirectory, TinyTask], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, task = trained
    with torch.no_grad():
        task.embedding.weight.add_(1)
    chosen = directory.checkpoints / "last.ckpt"
    torch.save({"state_dict": task.state_dict()}, chosen)
    assert same(load_run(chosen, trust=True), task)
    monkeypatch.setenv("HOME", str(project))
    assert same(load_run(f"~/{chosen.absolute().relative_to(project)}", trust=True), task)
    assert not same(load_run(directory.path, trust=True), task)


def track(directory: RunDirectory) -> str:
    tracker = Tracker("tiny", "first", directory.path, system_metrics=False)
    tracker.start()
    for path in (directory.config, directory.tokenizer, directory.checkpoint()):
        tracker.log_artifact(path)
    tracker.end("FINISHED")
    assert tracker.problems == []
    return tracker.version


@pytest.mark.slow
def test_an_mlflow_run_gives_its_model_back_here_and_where_its_directory_is_gone(
    trained: tuple[RunDirectory, TinyTask],
) -> None:
    directory, task = trained
    run_id = track(directory)
    assert directory.run_id == run_id
    assert load_run(run_id, trust=True).directory.path == directory.path.absolute()
    shutil.rmtree(directory.path)
    for reference in (run_id, run_id[:12]):
        run = load_run(reference, trust=True)
        assert same(run, task)
        assert run.directory.path.parent == Path("runs/tiny").absolute()
        assert run.directory.run_id == run_id
    assert len(list(Path("runs/tiny").iterdir())) == 1


@pytest.mark.slow
def test_the_beginning_of_an_id_must_be_of_one_run(
    trained: tuple[RunDirectory, TinyTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = trained
    run_id = track(directory)
    other = "0000" if run_id[:4] != "0000" else "1111"
    with pytest.raises(ValueError, match="has no run whose id begins with"):
        find_run(other)
    monkeypatch.setattr("lslm_lightning.runs.finding.search", lambda client, prefix: [1, 2])
    with pytest.raises(ValueError, match="more than one run"):
        find_run(run_id[:4])


def test_a_run_that_is_not_there(trained: tuple[RunDirectory, TinyTask]) -> None:
    directory, _ = trained
    with pytest.raises(ValueError, match=f"did you mean {directory.path}"):
        load_run(f"{directory.path}x")
    with pytest.raises(ValueError, match=r"no config.yaml"):
        load_run("runs")


def test_code_from_elsewhere_is_not_run_without_being_trusted(
    trained: tuple[RunDirectory, TinyTask],
) -> None:
    with pytest.raises(ValueError, match=rf"{HERE}.TinyTask.*--trust"):
        load_run(trained[0].path)


def edit(directory: RunDirectory, change: Callable[[dict], object]) -> None:
    config = yaml.safe_load(directory.config.read_text())
    change(config["model"]["init_args"])
    directory.config.write_text(yaml.safe_dump(config))


def widen(directory: RunDirectory, d_model: int) -> None:
    edit(directory, lambda it: it["backbone"]["init_args"].update(d_model=d_model))


def put(directory: RunDirectory, weights: object) -> None:
    torch.save({"state_dict": weights}, directory.checkpoints / "best.ckpt")


class Allocation:
    """A pickle that makes a bytearray; torch takes that for data."""

    def __init__(self, n_byte: int) -> None:
        self.n_byte = n_byte

    def __reduce__(self) -> tuple:
        return bytearray, (self.n_byte,)


def allocate(directory: RunDirectory, n_byte: int) -> None:
    put(directory, Allocation(n_byte))


HALF = Fraction(1, 2)  # an object that a checkpoint of plain weights cannot hold
OTHER = Characters().train(["abcdefghijklmnopqrstuvwxyz"])
SWAPPED = Characters().train(["HELLO WORLD"])
BREAKS: dict[str, tuple[Callable[[RunDirectory], object], str]] = {
    "another vocabulary": (
        lambda run: Characters().train(["abcdefghijklmnopqrstuvwxyz"]).save(run.tokenizer),
        "tokenizer.json has .* entries",
    ),
    "a vocabulary of the same size": (
        lambda run: SWAPPED.save(run.tokenizer),
        r"trained with another tokenizer\.json",
    ),
    "no tokenizer": (lambda run: run.tokenizer.unlink(), "tokenizer.json is missing"),
    "a tokenizer that is none": (lambda run: run.tokenizer.write_text("{}"), "tokenizer.json"),
    "no checkpoint": (
        lambda run: (run.checkpoints / "best.ckpt").unlink(),
        "neither best.ckpt nor last.ckpt",
    ),
    "text for a checkpoint": (
        lambda run: (run.checkpoints / "best.ckpt").write_text("hello"),
        "is not a checkpoint",
    ),
    "an empty checkpoint": (
        lambda run: (run.checkpoints / "best.ckpt").write_bytes(b""),
        "is not a checkpoint",
    ),
    "half a checkpoint": (
        lambda run: (run.checkpoints / "best.ckpt").write_bytes(
            (run.checkpoints / "best.ckpt").read_bytes()[:900]
        ),
        "is not a checkpoint",
    ),
    "a checkpoint of something else": (
        lambda run: torch.save({"weights": 1}, run.checkpoints / "best.ckpt"),
        "is not a checkpoint",
    ),
    "a checkpoint with code": (
        lambda run: torch.save({"state_dict": HALF}, run.checkpoints / "best.ckpt"),
        "is not a checkpoint",
    ),
    "another width": (
        lambda run: edit(run, lambda it: it["backbone"]["init_args"].update(d_model=10)),
        r"\(10,\) in the model$",
    ),
    "another layer": (
        lambda run: edit(
            run, lambda it: it["backbone"]["init_args"].update(norm="torch.nn.Identity")
        ),
        "only the checkpoint has backbone.norm.weight",
    ),
    "a setting that is not there": (
        lambda run: edit(run, lambda it: it.update(label_smooth=1)),
        "label_smooth",
    ),
    "a class that is not there": (
        lambda run: edit(run, lambda it: it["backbone"].update(class_path=f"{HERE}.Gone")),
        "Gone",
    ),
    "a width that the checkpoint cannot have": (
        lambda run: widen(run, 20_000),
        "a model of more than",
    ),
    "a width that no memory has": (
        lambda run: widen(run, 10**9),
        "model.backbone.d_model=1000000000 must be at most",
    ),
    "a width that is no number of torch": (
        lambda run: widen(run, 10**30),
        r"model.backbone.d_model=10\^30 must be at most",
    ),
    "numbers for weights": (
        lambda run: put(run, {"a": 1.0}),
        "'a' of its state_dict is a float, not a tensor",
    ),
    "a list for weights": (lambda run: put(run, [torch.zeros(2)]), "its state_dict is a list"),
    "sparse weights": (
        lambda run: put(run, {"embedding.weight": torch.eye(6).to_sparse()}),
        "is not a dense tensor",
    ),
    "weights without numbers": (
        lambda run: put(run, {"embedding.weight": torch.zeros(6, device="meta")}),
        "is not a dense tensor",
    ),
    "names that are none": (
        lambda run: put(run, {1: torch.zeros(2)}),
        "1 of its state_dict is a Tensor",
    ),
    "weights that are views of one number": (
        lambda run: put(run, {"embedding.weight": torch.zeros(1).expand(10**9, 10**6)}),
        "does not fit the model",
    ),
    "a pickle that asks for a terabyte": (
        lambda run: allocate(run, 1 << 40),
        "is not a checkpoint",
    ),
    "a config that is no YAML": (lambda run: run.config.write_text("model: ["), "is not YAML"),
    "a config without a model": (
        lambda run: run.config.write_text("trainer: {}"),
        "names no model",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_does_not_fit_is_said_in_one_line(
    trained: tuple[RunDirectory, TinyTask], name: str
) -> None:
    break_it, expected = BREAKS[name]
    break_it(trained[0])
    with pytest.raises(ValueError, match=expected) as caught:
        load_run(trained[0].path, trust=True)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["state_dict", "tokenizer_digest"])
def test_notes_of_a_safetensors_file_replace_no_weights(
    trained: tuple[RunDirectory, TinyTask], name: str
) -> None:
    directory, task = trained
    path = directory.checkpoints / "best.safetensors"
    save_file(task.state_dict(), path, {name: "x"})
    if name == "state_dict":
        assert same(load_run(path, trust=True), task)
    else:
        with pytest.raises(ValueError, match=r"trained with another tokenizer\.json"):
            load_run(path, trust=True)


def lying(shape: list[int], end: int) -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        lying([10**12], 4 * 10**12),
        lying([10**12], 8),
        lying([2**62, 2**62], 8),
        lying([-1], 8),
        struct.pack("<Q", 2**62),
        b"",
    ],
)
def test_a_safetensors_file_that_lies_is_refused(
    trained: tuple[RunDirectory, TinyTask], content: bytes
) -> None:
    path = trained[0].checkpoints / "best.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a checkpoint of plain weights"):
        load_run(path, trust=True)


class Server(SimpleNamespace):
    """An MLflow server with one run, in an experiment of that name."""

    file = None

    def client(self) -> "Server":
        return self

    def request(self, question: Callable[[], object]) -> object:
        return question()

    def get_experiment(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(name=self.name)

    def check_artifacts(self, address: str) -> None:
        assert address == "mlflow-artifacts:/1"


@pytest.mark.parametrize(
    "name",
    ["../../outside", "/outside", "..", ".", "", r"..\outside", "a/../../../outside", "tiny"],
)
def test_an_experiment_of_any_name_is_fetched_into_the_folder_of_runs(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow takes any text for the name of an experiment."""
    info = SimpleNamespace(
        run_id="0123456789", experiment_id="1", artifact_uri="mlflow-artifacts:/1"
    )
    run = SimpleNamespace(
        info=info, data=SimpleNamespace(tags={"lslm.directory": f"/nowhere/{name}"})
    )
    monkeypatch.setattr("lslm_lightning.runs.finding.Store", lambda: Server(name=name))
    monkeypatch.setattr("lslm_lightning.runs.finding.search", lambda client, prefix: [run])
    monkeypatch.setattr("lslm_lightning.runs.finding.fetch", lambda client, run, folder: None)
    found = find_run("0123456789").path
    assert found.resolve().parent.parent == Path("runs").resolve()
    assert name != "tiny" or found.parent.name == "tiny"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "1",
        "[" * 100_000,
        '{"run_id": 5}',
        '{"store": []}',
        '{"tags": [1]}',
        '{"sent": 1}',
        '{"began": "x"}',
    ],
)
def test_a_damaged_record_of_mlflow_is_named(
    trained: tuple[RunDirectory, TinyTask], content: str
) -> None:
    (trained[0].path / "mlflow.json").write_text(content)
    with pytest.raises(ValueError, match=r"mlflow\.json is (damaged|not a JSON object)"):
        _ = trained[0].run_id
