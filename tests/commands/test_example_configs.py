"""Example configs have the same names in every folder."""

from pathlib import Path

import pytest
import yaml

from lslm_lightning.configuration.arguments import config_arguments
from lslm_lightning.configuration.config_files import yaml_of
from lslm_lightning.configuration.example_configs import FOLDER, with_example_configs
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.experiments.run import Run
from lslm_lightning.runs.directory import RunDirectory

NAME = "configs/translation/cldr_demo.yaml"
EXAMPLE = FOLDER / "translation/cldr_demo.yaml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "form", [["--config", "{}"], ["--config={}"], ["-c", "{}"], ["-c{}"], ["-c={}"]], ids=str
)
def test_a_config_that_is_not_here_is_the_projects(
    form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["run", *(part.format(NAME) for part in form), "--trainer.max_steps", "5"]
    meant = ["run", *(part.format(EXAMPLE) for part in form), "--trainer.max_steps", "5"]
    assert with_example_configs(given) == meant
    [line] = capsys.readouterr().err.splitlines()
    assert NAME in line
    assert str(EXAMPLE) in line
    if not form[0].startswith("-c"):
        assert command_line(meant) == f"lslm {' '.join(given)}"


def test_calls_from_python_find_it_too() -> None:
    with config_arguments([NAME, {"seed_everything": 1}]) as arguments:
        assert arguments[:2] == ["--config", str(EXAMPLE)]


def test_paths_and_runs_are_given_as_they_are_written() -> None:
    run = Run(RunDirectory(Path("runs/one")))
    settings = {"job.root": Path("runsx"), "job.start": run, "a.b": [Path("c"), run]}
    with config_arguments({"job": {"start": run}}, settings) as (_, path, *arguments):
        assert yaml.safe_load(Path(path).read_text()) == {"job": {"start": "runs/one"}}
    assert arguments == ["--job.root=runsx", "--job.start=runs/one", '--a.b=["c", "runs/one"]']


def test_a_config_that_is_here_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    Path(NAME).parent.mkdir(parents=True)
    Path(NAME).write_text("seed_everything: 3\n")
    given = ["run", "--config", NAME]
    assert with_example_configs(given) == given
    assert not capsys.readouterr().err
    # named by its path, as the name means the other one
    assert str(EXAMPLE) in command_line(["run", "--config", str(EXAMPLE)])


@pytest.mark.parametrize(
    "name", ["translation/cldr_demo.yaml", "configs/translation", "configs/../pyproject.toml", "-"]
)
def test_other_names_stay_as_they_are(name: str) -> None:
    assert with_example_configs(["run", "--config", name]) == ["run", "--config", name]


@pytest.mark.parametrize("wrong", ["configs/translation/cldr-demo.yaml", "cldr_demo.yaml"])
def test_a_wrong_name_is_told_with_the_nearest(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"{wrong} .* did you mean {NAME}"):
        yaml_of(Path(wrong))
