"""Libraries that take long to import, and that a command does not import unless it uses them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support.forked_commands import Forked, Origin
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

CHECKPOINT = "lslm_lightning.systems.checkpoint.Checkpoint"
CORPUS = ("corpus", "source_language", "target_language")
UNUSED = (  # by a run and an evaluation of a translation on a CPU
    *("accelerate", "ctranslate2", "datasets", "docker", "fastapi.testclient", "flask", "gguf"),
    *("git", "graphene", "IPython", "joblib", "mlflow.pyfunc", "mlflow.pytorch", "mlflow.server"),
    *("networkx", "nltk", "onnx", "onnxruntime", "onnxscript", "openai", "peft", "rouge_score"),
    *("sklearn", "soundfile", "sphinx", "tensorboard", "torch.utils.tensorboard", "torchvision"),
    *("torch._inductor.compile_fx", "transformers.generation.utils", "transformers.modeling_utils"),
    "uvicorn",
)
SCRIPT = f"""
import json, sys
from lslm_lightning.__main__ import main

assert main(sys.argv[1:]) == 0
print(json.dumps([name for name in {UNUSED!r} if name in sys.modules]))
"""


@pytest.fixture
def imported(
    origin: Origin, environment: dict[str, str], project: Path, empty_store: Path
) -> Callable[..., list[str]]:
    """Run a command to its end in a process that is forked from one with none of `UNUSED`, and
    return those that it imported.
    """
    script = project / "command.py"
    script.write_text(SCRIPT)
    shutil.copy(empty_store, project)

    def run(*words: object) -> list[str]:
        arguments = list(map(str, words))
        process: Forked = origin.fork(arguments, environment, project, script=script)
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, output
        found: list[str] = json.loads(output.splitlines()[-1])
        return found

    return run


def test_a_run_and_an_evaluation_import_nothing_heavy_that_they_do_not_use(
    imported: Callable[..., list[str]], translation: Path, project: Path
) -> None:
    assert imported("run", "--config", translation) == []
    given = yaml.safe_load(translation.read_text())
    data = {name: given["data"]["init_args"][name] for name in CORPUS}
    system = {"class_path": CHECKPOINT, "init_args": {"run": "runs/translation/*"}}
    evaluation = {
        "task": given["model"]["class_path"],
        "data": {**given["data"], "init_args": data},
        "systems": {"trained": system},
    }
    config = project / "evaluation.yaml"
    config.write_text(yaml.safe_dump(evaluation))
    assert imported("evaluate", "--config", config) == []
