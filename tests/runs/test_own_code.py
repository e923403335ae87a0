"""Of the working directory, nothing is imported but what a class path of the user's names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lslm_lightning.__main__ import main
from lslm_lightning.commands import sync
from lslm_lightning.runs.own_code import add_working_directory
from lslm_lightning.runs.trust import only_trusted

ROOT = Path(__file__).parents[2]
SHADOWS = (
    "bz2",
    "jieba",
    "json",
    "kernels",
    "lzma",
    "msvcrt",
    "org",
    "peft",
    "tarfile",
    "winreg",
    "yaml",
)


@pytest.fixture
def paths(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`sys.path` as the `lslm` command finds it, in a directory with a module of the user's."""
    found = [path for path in sys.path if path not in ("", os.getcwd())]
    monkeypatch.setattr(sys, "path", found)
    (project / "mine.py").write_text("class Callback: pass\n")
    (project / "ours").mkdir()
    return found


@pytest.mark.parametrize(
    "value",
    [
        {"trainer": {"callbacks": [{"class_path": "mine.Callback"}]}},
        {"model": {"init_args": {"norm": "ours.layers.Norm"}}},
        ["run", "--model", "mine.Task"],
        ["--trainer.callbacks", "[{class_path: mine.Callback}]"],
        ["--trainer.callbacks", "- class_path: mine.Callback"],
    ],
    ids=str,
)
def test_a_class_of_the_users_brings_its_directory_last(
    paths: list[str], project: Path, value: object
) -> None:
    before = list(paths)
    with only_trusted():
        add_working_directory(value)
        assert paths == before
    add_working_directory(value)
    assert paths == [*before, str(project)]


@pytest.mark.parametrize(
    "value",
    [
        {"class_path": "torch.optim.AdamW"},
        {"class_path": "json.JSONDecoder"},  # json.py is not the one that is meant
        {"corpus": "pairs", "columns": {"source": "answers.text"}, "text": "mine.", "n": 3},
        ["run", "--config", "mine.yaml", "mine"],
        [{"mine": "no path"}],
        {"chat_template": "{% for turn in class_path %}{{ mine.Turn }}{% endfor %}"},
    ],
    ids=str,
)
def test_nothing_else_does(paths: list[str], project: Path, value: object) -> None:
    for name in SHADOWS:
        (project / f"{name}.py").touch()
    (project / "mine.yaml").touch()
    before = list(paths)
    add_working_directory(value)
    assert paths == before


def shadowed(folder: Path) -> Path:
    """Fill a folder with modules that libraries look for; each leaves its name in the file that is
    returned.
    """
    log = folder / "log"
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"open({str(log)!r}, 'a').write({name + chr(10)!r})\n")
    return log


@pytest.mark.slow
def test_python_processes_that_a_command_starts_leave_it_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = shadowed(project)
    before = os.environ.get("PYTHONSAFEPATH")
    words = [sys.executable, "-c", "import json, multiprocessing.pool, tarfile"]
    monkeypatch.setattr(sync, "main", lambda argv: subprocess.run(words).returncode)
    assert main(["sync", "x"]) == 0
    assert not log.exists()
    assert os.environ.get("PYTHONSAFEPATH") == before


@pytest.mark.slow
def test_python_m_leaves_it_alone(project: Path) -> None:
    """As far as it can: what Python imports before the command is Python's own affair."""
    log = shadowed(project)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"} | {
        "PYTHONPATH": str(ROOT)
    }
    words = [sys.executable, "-m", "lslm_lightning", "data", "list"]
    outcome = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert not log.exists(), log.read_text()
