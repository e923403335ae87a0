"""From what a user calls a run to its directory: patterns."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from lslm_lightning.commands.named_run import named_run
from lslm_lightning.runs import find_run
from lslm_lightning.runs.finding import make_folder
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.fusion import ShallowFusion
from lslm_lightning.systems.interpolation import Interpolation
from tests.support.waiting import PATIENCE


@pytest.fixture
def runs(project) -> Path:
    """a-1 to a-3, made in the order 1, 3, 2; a-4 is newer and has no checkpoint, a-5 no config."""
    folder = Path("runs/toy")
    for when, name in enumerate(("a-1", "a-3", "a-2", "a-4", "a-5", "b-1"), 1):
        (folder / name / "checkpoints").mkdir(parents=True)
        if name != "a-4":
            (folder / name / "checkpoints/best.ckpt").touch()
        if name != "a-5":
            (folder / name / "config.yaml").write_text(
                "model: {class_path: tasks.translation.task.TranslationTask}\n"
            )
            os.utime(folder / name / "config.yaml", (when, when))
    return folder


def test_a_pattern_stands_for_the_newest_run_and_says_of_how_many(runs):
    chosen = find_run("runs/toy/a-*")
    assert (chosen.path, chosen.n_match) == (runs / "a-2", 3)
    assert str(chosen) == "run runs/toy/a-*: chose runs/toy/a-2, the newest of 3"
    assert (
        str(find_run("runs/*/b-*"))
        == "run runs/*/b-*: chose runs/toy/b-1, the only one that matches"
    )
    assert (find_run("runs/toy/a-?").path, find_run("runs/toy/a-?").n_match) == (runs / "a-2", 3)
    with pytest.raises(ValueError, match="no run with a checkpoint matches 'runs/toy/a-\\?\\?'"):
        find_run("runs/toy/a-??")
    assert find_run("runs/toy/a-1").pattern == ""
    for pattern in ("runs/toy/c-*", "runs/toy/a-4*", "runs/toy/a-5*"):
        with pytest.raises(ValueError, match="no run with a checkpoint matches"):
            find_run(pattern)


def test_a_checkpoint_names_itself_and_its_run(runs):
    for name in ("best.ckpt", "step-1.ckpt"):
        path = runs / "a-1/checkpoints" / name
        path.touch()
        found = find_run(path)
        assert found.checkpoint == path.absolute()
        assert found.directory.path == (runs / "a-1").absolute()
    assert find_run(runs / "a-1").checkpoint == runs / "a-1/checkpoints/best.ckpt"


def test_the_config_of_a_run_is_read_once(runs):
    found = find_run("runs/toy/a-1")
    assert found.config["model"]["class_path"].endswith("TranslationTask")
    found.directory.config.unlink()
    assert found.config


def test_a_name_with_a_star_is_a_name(runs):
    (runs / "a-*").mkdir()
    (runs / "a-*/config.yaml").touch()
    found = find_run("runs/toy/a-*")
    assert (found.path, found.pattern) == (runs / "a-*", "")


def test_commands_say_on_standard_error_which_run_a_pattern_chose(runs, capsys):
    """Standard output has the answers."""
    assert named_run("runs/toy/a-*").path == runs / "a-2"
    assert named_run("runs/toy/b-1").path == runs / "b-1"
    said = capsys.readouterr()
    assert said.err == "run runs/toy/a-*: chose runs/toy/a-2, the newest of 3\n"
    assert said.out == ""


def test_systems_say_which_runs_their_patterns_chose(runs):
    fused = Checkpoint("runs/toy/a-*", fusion=ShallowFusion("runs/toy/b-*"))
    assert [chosen.path.name for chosen in fused.chosen_runs()] == ["a-2", "b-1"]
    mixed = Interpolation(["runs/toy/a-*", "runs/toy/b-1"])
    assert [chosen.path.name for chosen in mixed.chosen_runs()] == ["a-2"]
    assert Checkpoint("runs/toy/a-1").chosen_runs() == []


def test_a_pattern_may_stand_for_a_run_that_was_tested(project):
    """A run of `lslm test`, or the parent of seeds, has no checkpoint; one in training has no
    scores yet.
    """
    for name, file in (("a-1", "metrics.json"), ("a-2", "checkpoints/last.ckpt")):
        path = project / "runs/toy" / name / file
        path.parent.mkdir(parents=True)
        path.touch()
        (project / "runs/toy" / name / "config.yaml").touch()
    assert find_run("runs/toy/a-*", is_tested=True).path.name == "a-1"
    assert find_run("runs/toy/a-*").path.name == "a-2"
    with pytest.raises(ValueError, match="no run that was tested matches 'runs/toy/a-2\\*'"):
        find_run("runs/toy/a-2*", is_tested=True)


def test_a_folder_that_several_want_at_once_is_made_once(tmp_path):
    """As the processes of a training on several devices do, which all read the run it starts
    from.
    """
    path = tmp_path / "runs" / "copy"
    together = Barrier(4)
    filled = []

    def fill(folder: Path) -> None:
        filled.append(folder)
        (folder / "config.yaml").write_text("model: {}")

    def want(_: int) -> bool:
        together.wait(PATIENCE)
        return make_folder(path, fill)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(want, range(4))) == [False, False, False, True]
    assert len(filled) == 1
    assert [each.name for each in path.iterdir()] == ["config.yaml"]


def test_a_folder_that_cannot_be_made_leaves_the_way_free(tmp_path):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ValueError("the connection broke")

    with pytest.raises(ValueError, match="the connection broke"):
        make_folder(tmp_path / "copy", fail)
    assert not [*tmp_path.iterdir()]
    assert make_folder(tmp_path / "copy", lambda folder: None)


def test_a_folder_that_another_machine_makes_first_is_taken(tmp_path):
    """Locks do not always reach over networks."""
    path = tmp_path / "copy"

    def fill(folder: Path) -> None:
        (folder / "mine").write_text("")
        path.mkdir()
        (path / "theirs").write_text("")

    assert not make_folder(path, fill)
    assert [each.name for each in path.iterdir()] == ["theirs"]
    assert [each.name for each in tmp_path.iterdir()] == ["copy"]
