"""Both names of the package of tasks mean the same classes, in a checkout and in a wheel."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from lslm_lightning.experiments.project_wheel import ENTRY_POINTS, wheel_files
from lslm_lightning.runs.trust import only_trusted, resolve
from lslm_lightning.task_package import ALIAS, INSTALLED
from tests.support.waiting import PATIENCE
from tests.support.wheels import copy_tree, files_of_wheel

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs/translation/cldr_demo.yaml"
WITHOUT_CHECKOUT = f"""
import sys
sys.path[:] = [path for path in sys.path if path != {str(ROOT)!r}]
sys.meta_path[:] = [
    finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")
]
"""


def test_both_names_mean_the_same_classes() -> None:
    assert (INSTALLED, ALIAS) == ("tasks", "lslm_tasks")
    ours = import_module("tasks.translation.task")
    alias = import_module("lslm_tasks.translation.task")
    assert alias is ours
    assert ours.__spec__.name == ours.__name__ == "tasks.translation.task"
    with only_trusted():
        assert resolve("lslm_tasks.translation.task.TranslationTask") is ours.TranslationTask
    with pytest.raises(ModuleNotFoundError):
        import_module("lslm_tasks.cooking")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    tree = copy_tree(folder / "tree")
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    done = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.fixture
def python(wheel: Path, tmp_path: Path) -> Callable[[str], str]:
    """Run a program with the wheel's packages, and without those of the checkout."""

    def run(program: str) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": str(wheel),
            "LSLM_CACHE": str(tmp_path / "cache"),
            "XDG_STATE_HOME": str(tmp_path / "state"),
        }
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_CHECKOUT + program],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_a_wheel_claims_two_names(wheel: Path) -> None:
    names = {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"lslm_lightning", "lslm_tasks"}
    [top_level] = wheel.glob("*.dist-info/top_level.txt")
    assert set(top_level.read_text().split()) == names
    files = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    assert {file for file in files if ".dist-info/" not in file} == {*files_of_wheel()}


@pytest.mark.slow
def test_the_wheel_of_a_model_has_the_same_files(wheel: Path) -> None:
    files = {
        path.relative_to(wheel).as_posix(): path.read_bytes()
        for path in wheel.rglob("*")
        if path.is_file() and ".dist-info" not in path.parent.name
    }
    assert dict(wheel_files()) == {
        name: content for name, content in files.items() if "LICENSE" not in name
    }
    [entry_points] = wheel.glob("*.dist-info/entry_points.txt")
    assert entry_points.read_text() == ENTRY_POINTS


@pytest.mark.slow
def test_a_wheel_reads_configs_with_either_name(
    python: Callable[[str], str], tmp_path: Path
) -> None:
    names = ("tasks", "lslm_tasks")
    program = "from lslm_lightning.__main__ import main\nfrom importlib import import_module\n"
    for name in names:
        config = tmp_path / f"{name}.yaml"
        config.write_text(CONFIG.read_text("utf-8").replace(": tasks.", f": {name}."), "utf-8")
        program += (
            f"main(['run', '--config', {str(config)!r}, '--print_config'])\n"
            f"print(import_module('{name}.translation.task').TranslationTask.__module__)\n"
        )
    *printed, rest = python(program).split("\nlslm_tasks.translation.task\n")
    assert not rest
    for name, text in zip(names, printed, strict=True):
        assert f"class_path: {name}.translation.task.TranslationTask" in text
        assert f"class_path: {name}.translation.data.TranslationData" in text


@pytest.mark.slow
@pytest.mark.parametrize("file", ["tasks.py", "tasks/__init__.py"])
def test_a_package_of_the_users_keeps_its_name(
    python: Callable[[str], str], tmp_path: Path, file: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("MINE = True\n")
    program = (
        "import lslm_lightning, tasks\n"
        "from lslm_tasks.translation import prompt\n"
        "assert tasks.MINE\n"
        "print(prompt.__name__)\n"
    )
    assert python(program) == "lslm_tasks.translation.prompt\n"
