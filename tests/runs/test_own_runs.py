"""A run is the user's own by a record that its directory cannot make."""

import shutil
from pathlib import Path

import pytest

from lslm_lightning.runs.own_runs import is_own_run, register_run, registry

CONFIG = (
    "# lslm run\nmodel: {class_path: tasks.a.B}\ntrainer: {callbacks: [{class_path: "
    "mine.Callback}]}\n"
)


@pytest.fixture
def config(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """config.yaml of a run that was started here."""
    monkeypatch.setenv("XDG_STATE_HOME", str(project / "state"))
    (project / "mine.py").touch()
    path = project / "runs/config.yaml"
    path.parent.mkdir()
    path.write_text(CONFIG)
    register_run(path)
    return path


def test_a_run_is_known_where_it_was_started(config: Path) -> None:
    assert is_own_run(config)


def test_a_copy_of_the_run_is_known_beside_the_same_code(config: Path, project: Path) -> None:
    shutil.move(config.parent, project / "moved")
    assert is_own_run(project / "moved/config.yaml")


def test_code_may_change(config: Path, project: Path) -> None:
    (project / "mine.py").write_text("class Callback: pass\n")
    assert is_own_run(config)


@pytest.mark.parametrize(
    "change", [lambda text: text + " ", lambda text: text.replace("mine.C", "mine.D")]
)
def test_another_config_is_another_run(config: Path, change) -> None:
    config.write_text(change(CONFIG))
    assert not is_own_run(config)


def test_a_run_that_comes_back_with_code_of_its_own_is_not_known(
    config: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned = project / "returned"
    shutil.copytree(config.parent, returned / "runs")
    (returned / "mine.py").write_text("raise AssertionError\n")
    monkeypatch.chdir(returned)
    assert not is_own_run(returned / "runs/config.yaml")


def test_another_user_does_not_know_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(config.parent))
    assert not is_own_run(config)
    monkeypatch.setenv("XDG_STATE_HOME", "runs")  # not absolute, and so not to be used
    assert registry().is_relative_to(Path.home())


def test_the_record_is_outside_of_the_run_and_the_users_alone(config: Path, project: Path) -> None:
    [record] = registry().iterdir()
    assert record.stat().st_mode & 0o077 == 0
    assert record.read_bytes() == b""
    assert [path.name for path in config.parent.iterdir()] == ["config.yaml"]


def test_a_place_that_cannot_be_written_fails_no_run(
    config: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(project / "file"))
    register_run(config)
    assert not is_own_run(config)
