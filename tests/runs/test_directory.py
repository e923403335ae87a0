"""A run has a directory of its own."""

import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from lslm_lightning.experiments.finished_runs import Finished, config_text
from lslm_lightning.experiments.resuming import command_of
from lslm_lightning.runs import RunDirectory, new_run
from lslm_lightning.runs.config import read_config
from lslm_lightning.runs.directory import as_name, refuse_links


def test_runs_made_at_once_never_share_a_directory(project: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: new_run("toy", "same.name"), range(200)))
    assert len({run.path for run in runs}) == 200
    assert all(
        run.path.is_dir()
        and run.path.parent == Path("runs/toy")
        and run.path.name.startswith("same.name-")
        for run in runs
    )


def test_a_name_that_is_taken_is_an_error_and_not_shared(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda n: "abcd")
    new_run("toy", "one")
    with pytest.raises(FileExistsError):
        new_run("toy", "one")


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "", ".hidden", "a b"])
def test_a_name_stays_in_its_folder(project: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name="):
        new_run("toy", name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a b", "a_b"),
        ("a-1.x+y", "a-1.x+y"),
        ("-x", "_x"),
        ("", "_"),
        ("../a/b", "_._a_b"),
        ("诗 1", "诗_1"),
    ],
)
def test_any_text_becomes_a_name(project: Path, text: str, name: str) -> None:
    assert as_name(text) == name
    assert new_run("toy", name).path.is_dir()


def test_a_root_that_cannot_be_written_is_said_in_one_line(project: Path) -> None:
    (project / "runs").write_text("I am a file")
    with pytest.raises(OSError, match="cannot make a run directory in runs/toy") as caught:
        new_run("toy", "one")
    assert "\n" not in str(caught.value)


def test_a_configuration_is_kept_as_it_was(project: Path) -> None:
    run = new_run("toy", "one")
    for config in ({"name": "中文"}, {"seed_everything": 1}):
        run.save_settings("lslm run", config)
        text = run.config.read_text("utf-8")
        assert text.startswith("# lslm run\n")
        assert yaml.safe_load(text) == config
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_a_checkpoint_belongs_to_the_run_two_folders_up(project: Path) -> None:
    run = new_run("toy", "one")
    assert RunDirectory.of_checkpoint(run.best).path == run.path.absolute()


def test_the_best_checkpoint_goes_before_the_last(project: Path) -> None:
    run = new_run("toy", "one")
    with pytest.raises(ValueError, match=r"neither best\.ckpt nor last\.ckpt"):
        run.checkpoint()
    run.checkpoints.mkdir()
    for name in ("last.ckpt", "best.ckpt"):
        (run.checkpoints / name).touch()
        assert run.checkpoint() == run.checkpoints / name


def test_a_run_without_mlflow_has_no_id(project: Path) -> None:
    assert RunDirectory(project).run_id is None


@pytest.mark.parametrize(
    "name",
    ["report", "report/index.html", "checkpoints/settled", "checkpoints/.best.part", "x/y/z"],
)
@pytest.mark.parametrize("target", ["elsewhere", "missing", "one-2"])
def test_links_that_lead_out_are_refused(project: Path, name: str, target: str) -> None:
    for folder in ("elsewhere", "one-2", "one/x"):
        (project / folder).mkdir(parents=True)
    run = RunDirectory(project / "one")
    (run.path / "here").symlink_to("x")
    (run.path / "round").symlink_to("round")
    refuse_links(run, "--trust")
    link = run.path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(project / target)
    with pytest.raises(ValueError, match=rf"{name} is a link to .*/{target}, .* or add --trust"):
        refuse_links(run, "--trust")


def test_the_command_of_a_run_is_what_its_config_says_first(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.save_settings("lslm fit --config 'a b.yaml' --job.name=\"it's\"", {"seed": 1})
    assert run.command == "lslm fit --config 'a b.yaml' --job.name=\"it's\""
    assert shlex.split(run.command)[-1] == "--job.name=it's"


def test_a_config_without_a_command_is_of_lslm_run(tmp_path: Path) -> None:
    """Settings in its first line, here with an apostrophe, are no command line."""
    run = RunDirectory(tmp_path)
    run.config.write_text("job: {name: it's}\nmodel: {class_path: a.B}\n")
    assert run.command == ""
    assert command_of(run) == "run"
    finished = Finished("a", run, read_config(run.config), [], {}, {}, "a")
    assert not config_text(finished).startswith("#")
