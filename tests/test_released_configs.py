"""Every config of the last release, kept as text in tests/released/configs, still parses.

The variants of a sweep, which were called rungs of a ladder, are parsed as the runs that they
describe.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lslm_lightning.__main__ import main

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "released"
EVERY = sorted(path.relative_to(HERE) for path in (HERE / "configs").glob("*/*.yaml"))
TEXTS = {path: yaml.safe_load((HERE / path).read_text("utf-8")) for path in EVERY}
SWEEPS = [path for path, content in TEXTS.items() if "rungs" in content]
EVALUATIONS = [path for path in EVERY if path.parent.name == "evaluate"]
TRAINERS = [path for path in EVERY if path.parent.name == "trainer"]
TRAININGS = [path for path in EVERY if path not in SWEEPS + EVALUATIONS + TRAINERS]
DEMO = "configs/language_modeling/docstrings_demo.yaml"

Parse = Callable[..., dict[str, Any]]


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Parse:
    """Return what `--print_config` prints; nothing is built, read or trained."""
    monkeypatch.chdir(HERE)

    def run(command: str, *words: object) -> dict[str, Any]:
        arguments = [command, *map(str, words), "--print_config"]
        capsys.readouterr()
        status = main(arguments)
        out, err = capsys.readouterr()
        assert status == 0, err
        return yaml.safe_load(out)

    return run


def task_of(printed: Mapping[str, Any]) -> str:
    """Return the folder of tasks that a printed config's model comes from."""
    return printed["model"]["class_path"].split(".")[1]


@pytest.mark.parametrize("path", TRAININGS, ids=str)
def test_a_released_config_of_a_training_parses(path: Path, parse: Parse) -> None:
    printed = parse("run", "--config", path)
    given = TEXTS[path]
    assert task_of(printed) == task_of(given)
    for name, value in given.get("trainer", {}).items():
        assert printed["trainer"][name] == value, name


@pytest.mark.parametrize("path", EVALUATIONS, ids=str)
def test_a_released_config_of_an_evaluation_parses(path: Path, parse: Parse) -> None:
    assert parse("evaluate", "--config", path)["systems"].keys() == TEXTS[path]["systems"].keys()


@pytest.mark.parametrize("path", TRAINERS, ids=str)
def test_a_released_config_of_a_trainer_parses(path: Path, parse: Parse) -> None:
    printed = parse("run", "--config", DEMO, "--config", path)
    for name, value in TEXTS[path]["trainer"].items():
        if not isinstance(value, dict):
            assert printed["trainer"][name] == value, name


@pytest.mark.parametrize("path", SWEEPS, ids=str)
def test_the_variants_of_a_released_sweep_parse(path: Path, parse: Parse, tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(TEXTS[path].get("base") or {}), "utf-8")
    for name, given in TEXTS[path]["rungs"].items():
        settings = given or {}
        if "class_path" in settings:  # a system that is not trained
            continue
        nested = {key: value for key, value in settings.items() if "." not in key}
        dotted = [
            f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
            for key, value in settings.items()
            if "." in key
        ]
        variant = tmp_path / "variant.yaml"
        variant.write_text(yaml.safe_dump(nested), "utf-8")
        files = [f"--config={file}" for file, own in ((base, True), (variant, nested)) if own]
        assert task_of(parse("run", *files, *dotted)) == path.parent.name, name


@pytest.mark.parametrize("path", SWEEPS, ids=str)
def test_a_released_sweep_is_read_with_its_variants(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(HERE)
    assert main(["ladder", "--config", str(path), "--only", "none_of_these"]) == 2
    said = capsys.readouterr().err
    assert "`lslm ladder` is called `lslm sweep` now" in said
    assert "`rungs` is called `variants` now" in said
    trained = [
        name for name, own in TEXTS[path]["rungs"].items() if "class_path" not in (own or {})
    ]
    assert all(str(name) in said for name in trained)


def test_all_of_the_release_is_here() -> None:
    assert len(TRAININGS) >= 25
    assert len(EVALUATIONS) >= 9
    assert len(SWEEPS) >= 5
    assert {path.stem for path in TRAINERS} == {"ddp", "fsdp", "fsdp_tp"}
