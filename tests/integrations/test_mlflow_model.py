"""MLflow models of runs: MLflow's own prediction gives the answers of `lslm generate`, in this
process and over HTTP, without pickled objects and without the folder that the run was made in.
"""

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from copy import deepcopy
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from packaging.requirements import Requirement

from lslm_lightning import generate, load_run
from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.experiments.mlflow_model import copies_of, is_model_of, model_facts
from lslm_lightning.experiments.needed_code import NeededCode, is_from_sources, needed_code
from lslm_lightning.experiments.project_wheel import pinned_requirements, write_wheel
from lslm_lightning.integrations.mlflow_model import rows_as_texts
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.trust import UntrustedClassError
from tasks.translation.task import TranslationTask
from tests.commands.conftest import lslm, only_run, translation  # noqa: F401 - fixtures
from tests.commands.written_runs import TRANSLATION, write_language_model, write_run
from tests.support.mlflow_models import write_mlflow_model
from tests.training.tiny_tasks import tokenizer_of

REFUSED = (
    "the first column is 'id', but a table of texts has the column 'source' alone; give it that "
    "name, or pass a list of texts"
)
TEXTS = ["abc", "a de", "dd", ""]


def write_short_translator(folder: Path) -> Path:
    """Write a run of random weights whose answers are of 8 letters, and not all the same."""
    torch.manual_seed(8)
    backbone = Transformer(16, 2, 1, 1, dropout=0.0)
    task = TranslationTask(backbone, tokenizer_of("abc de"), max_length=8)
    config = deepcopy(TRANSLATION)
    arguments = config["model"]["init_args"]
    arguments["max_length"] = 8
    del arguments["backbone"]["init_args"]["position"]
    return write_run(folder, config, task)


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_short_translator, write_language_model])
def test_predictions_are_the_answers_of_generate(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    run = write(tmp_path / "runs/letters/a-1")
    short = SearchSettings(max_length=5)
    texts = TEXTS[:-1]
    expected = [each.output for each in generate(run, texts)]
    shorter = [each.output for each in generate(run, texts, short)]
    facts = write_mlflow_model(run, tmp_path / "model")
    shutil.rmtree(run)
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert model.predict(texts) == expected
    assert model.predict(texts, {"max_length": 5}) == shorter != expected
    assert model.predict(pd.DataFrame({"source": texts})) == expected, "settings are of one call"
    assert model.predict(pd.Series(texts)) == expected
    with pytest.raises(MlflowException, match="the column 'source' alone"):
        model.predict(pd.DataFrame({"id": texts, "source": texts}))
    with pytest.raises(MlflowException, match="max_length=-1"):
        model.predict(texts, {"max_length": -1})
    inputs, params = model.metadata.signature.inputs, model.metadata.signature.params
    assert [str(each.type) for each in inputs] == ["DataType.string"]
    assert {each.name for each in params} == {name for name, _, _ in facts["parameters"]}


@pytest.mark.slow
def test_a_model_holds_the_run_the_code_and_its_requirements_and_no_objects(
    tmp_path: Path,
) -> None:
    run = write_short_translator(tmp_path / "runs/letters/a-1")
    (run / "secrets.json").write_text("{}")
    write_mlflow_model(run, tmp_path / "model")
    names = {
        path.relative_to(tmp_path / "model").as_posix()
        for path in (tmp_path / "model").rglob("*")
        if path.is_file()
    }
    [wheel] = [name for name in names if name.startswith("wheels/")]
    assert names - {wheel} == {
        "MLmodel",
        "conda.yaml",
        "python_env.yaml",
        "requirements.txt",
        "input_example.json",
        "serving_input_example.json",
        *(f"data/run/{name}" for name in ("config.yaml", "tokenizer.json", "mlflow.json")),
        "data/run/checkpoints/best.ckpt",
    }
    lines = (tmp_path / "model/requirements.txt").read_text().splitlines()
    assert wheel in lines
    assert "python_model" not in (tmp_path / "model/MLmodel").read_text()
    assert not list((tmp_path).glob("model.*"))


def test_requirements_are_pinned_and_closed() -> None:
    pinned = [Requirement(line) for line in pinned_requirements()]
    names = {each.name for each in pinned}
    assert {"torch", "lightning", "mlflow", "tokenizers", "filelock"} <= names
    assert not names & {"lslm-lightning", "pytest", "jieba", "ruff"}
    assert all(len(each.specifier) == 1 and "+" not in str(each) for each in pinned)
    more = set(pinned_requirements(["chinese"], ["iniconfig"])) - {str(each) for each in pinned}
    assert {line.partition("=")[0] for line in more} == {"iniconfig", "jieba"}


def test_the_wheel_of_equal_files_has_one_name(tmp_path: Path) -> None:
    first, second = write_wheel(tmp_path / "1"), write_wheel(tmp_path / "2")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        [name] = [name for name in archive.namelist() if name.endswith("METADATA")]
        lines = archive.read(name).decode().splitlines()
    version = first.name.split("-")[1]
    assert lines.count(f"Version: {version}") == 1
    assert "Name: lslm-lightning" in lines


def test_rows_are_texts_as_a_user_types_them() -> None:
    table = pd.DataFrame({"context": ["It rained.\nThen it\tdid not."], "question": ["Did\tit\n?"]})
    assert rows_as_texts(table, ("question", "context")) == [
        "Did it ?\nIt rained.\nThen it\tdid not."
    ]
    for name in ("source", "prompt", "text", 0):
        assert rows_as_texts(pd.DataFrame({name: ["a", "b"]}), ("source",)) == ["a", "b"]
    with pytest.raises(ValueError, match="row 2 of 2 lacks a value"):
        rows_as_texts(pd.DataFrame({"source": ["a", None]}), ("source",))


def test_facts_of_a_stranger_name_no_files_outside_of_the_run(tmp_path: Path) -> None:
    run = write_short_translator(tmp_path / "a-1")
    directory = RunDirectory(run)
    facts = model_facts(load_run(run).task, directory, "letters", None)
    assert is_model_of(facts, directory)
    for files in (["../../secret"], ["/etc/passwd"], ["a/b"], [None]):
        assert not is_model_of({**facts, "files": files}, directory)
    assert not is_model_of({"registered": "letters"}, directory)
    (tmp_path / "secret").write_text("key")
    (directory.checkpoints / "link").symlink_to(tmp_path / "secret")
    assert not is_model_of({**facts, "files": ["link"]}, directory)
    directory.best.write_bytes(b"another")
    assert not is_model_of(facts, directory)


@pytest.mark.slow
def test_a_registered_model_answers_as_its_run(
    lslm: Callable[..., Any],  # noqa: F811
    translation: Path,  # noqa: F811
    only_run: Callable[[], Path],  # noqa: F811
    server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a server: trained, registered, found by name by commands, MLflow and HTTP."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    more = ("--trainer.max_steps=100", "--trainer.val_check_interval=50", "--model.min_length=3")
    done = lslm("run", "--config", translation, "--job.registered_model", "words", *more)
    assert done.status == 0, done.err
    assert "registered models:/words/1, which is now @best\n" in done.out
    run = only_run()
    texts = ["red cat", "one two three"]
    expected = [lslm("generate", run, text).out.removesuffix("\n") for text in texts]
    assert all(expected), lslm("generate", run, texts[0])
    assert lslm("generate", "models:/words@best", texts[0]).out == f"{expected[0]}\n"
    with monkeypatch.context() as patch:  # what another store lacks is brought by sync
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/mlflow.db")
        assert lslm("sync", run).status == 0
        assert lslm("generate", "models:/words@best", texts[1]).out == f"{expected[1]}\n"
    shutil.rmtree(run)
    model = mlflow.pyfunc.load_model("models:/words@best")
    assert model.predict(texts) == expected
    assert answers_over_http(model, texts) == expected
    again = lslm("generate", "models:/words/latest", texts[1])
    assert again.out == f"{expected[1]}\n", again.err
    logged = MlflowClient(server).get_model_version("words", "1")
    assert logged.description.startswith("val/bleu")
    refused = lslm("generate", "models:/words@prod", "red")
    assert refused.err == "lslm: models:/words has no alias @prod; it has @best\n"


def answers_over_http(model: Any, texts: list[str]) -> list[str]:
    """The answers of the application that `mlflow models serve` runs."""
    from fastapi.testclient import TestClient
    from mlflow.pyfunc.scoring_server import init

    client = TestClient(init(model))
    refused = client.post("/invocations", json={"dataframe_records": [{"id": "1"}]})
    assert refused.status_code == 400
    assert refused.json()["message"].endswith(REFUSED)
    for body in ({"inputs": texts}, {"dataframe_records": [{"source": text} for text in texts]}):
        response = client.post("/invocations", json=body)
        assert response.status_code == 200, response.text
    return response.json()["predictions"]


@pytest.mark.slow
def test_a_model_brings_the_users_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_short_translator(tmp_path / "project/runs/letters/a-1")
    expected = [each.output for each in generate(run, TEXTS[:2])]
    source = "from my_layers import Base\nclass Mine(Base): ...\n"
    (tmp_path / "project/mine.py").write_text(source)
    source = "from tasks.translation.task import TranslationTask as Base\n"
    (tmp_path / "project/my_layers.py").write_text(source)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["class_path"] = "mine.Mine"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(sys, "path", list(sys.path))
    write_mlflow_model(run, tmp_path / "model", trust=True)
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(tmp_path / "project")
    sys.path.remove(str(tmp_path / "project"))
    for name in ("mine", "my_layers"):
        del sys.modules[name]
    try:
        model = mlflow.pyfunc.load_model("model")
        assert model.predict(TEXTS[:2]) == expected
        assert Path(sys.modules["mine"].__file__).is_relative_to(tmp_path / "model/code")
    finally:
        for name in ("mine", "my_layers"):
            sys.modules.pop(name, None)
    with pytest.raises(UntrustedClassError, match=r"wants to use mine\.Mine"):
        load_run(tmp_path / "model/data/run")


def test_own_files_are_followed_and_packages_are_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "mine.py": "import json\nimport my_layers.attention\nfrom .near import x\nimport wandbx\n",
        "my_layers/attention.py": "def f():\n    from my_constants import WIDTH\n",
        "my_layers/old.py": "print 1",
        "my_constants.py": "import jieba\nimport tasks.translation\nimport nowhere_at_all\n",
        "json.py": "",
        "other.py": "",
        "wandbx/.env": "KEY=secret",
        "wandbx/.cache.py": "",
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "my_layers/.#attention.py").symlink_to("me@here.1")  # a lock of Emacs
    (tmp_path / "my_layers/data.py").mkdir()
    monkeypatch.chdir(tmp_path)
    code = needed_code({"class_path": "mine.Mine", "init_args": {"net": "yaml.SafeLoader"}})
    own = ("mine.py", "my_constants.py", "my_layers")
    assert code == NeededCode(
        tuple(str(tmp_path / name) for name in own), ("PyYAML", "jieba"), True
    )
    assert needed_code({"class_path": "torch.nn.Linear"}) == NeededCode((), (), False)
    with pytest.raises(ValueError, match="the code of nowhere, which config"):
        needed_code({"class_path": "nowhere.Mine"})
    copies = tmp_path / "copies"
    copies_of(code.files, copies)
    assert {path.relative_to(copies).as_posix() for path in copies.rglob("*.py")} == {
        *(name for name in files if name.startswith("my_")),
        "mine.py",
        "my_layers/data.py",
    }


def test_code_of_a_hook_is_own_and_a_shared_name_requires_what_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "elsewhere/hooked.py"
    path.parent.mkdir()
    path.write_text("from google.protobuf import message\n")

    class Hook:
        @staticmethod
        def find_spec(name: str, *_: object) -> ModuleSpec | None:
            return spec_from_file_location(name, path) if name == "hooked" else None

    assert needed_code({"class_path": "torch.nn.Linear"}).files == ()
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Hook])
    owners = {"google": ["protobuf", "google-auth"]}
    monkeypatch.setattr(f"{needed_code.__module__}.owners", lambda: owners)
    code = needed_code({"class_path": "hooked.Mine"})
    assert code == NeededCode((str(path),), ("protobuf",), True)


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ({"url": "file:///tmp/mine-1-py3-none-any.whl", "archive_info": {}}, True),
        ({"url": "https://example.org/mine-1-py3-none-any.whl", "archive_info": {}}, False),
        ({"url": "file:///tmp/mine", "dir_info": {"editable": True}}, True),
        ({"url": "https://example.org/mine.git", "vcs_info": {}}, True),
        ({}, False),
    ],
)
def test_what_was_installed_from_a_file_is_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: dict[str, Any], is_own: bool
) -> None:
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "RECORD").write_text("mine.py,,\n")
    (info / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path)
    assert is_from_sources("mine") == is_own
