"""`lslm export` and `lslm import`: arguments in, two lines out."""

from pathlib import Path

import pytest

from lslm_lightning.commands import export, generate, import_model
from lslm_lightning.decoding.engine import ENGINES
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.finished_runs import open_run
from lslm_lightning.interchange.ctranslate2_target import CTranslate2Target
from lslm_lightning.interchange.exporting import TARGETS
from lslm_lightning.interchange.foreign_model import TASKS
from lslm_lightning.interchange.layouts import LAYOUTS
from lslm_lightning.interchange.targets import DTYPES
from lslm_lightning.runs.directory import RunDirectory
from tests.interchange.test_export import PAIRS, make_run


def choices(module: object, name: str) -> list[str]:
    """Return the values that an option of a command may have."""
    actions = module.arguments()._actions  # type: ignore[attr-defined]
    return next(list(each.choices) for each in actions if each.dest == name)


def test_a_run_leaves_and_enters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", PAIRS)
    assert export.main(["export", str(run), "--output", str(tmp_path / "model")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "pegasus" in first
    assert "equal greedy texts: " in second
    arguments = [str(tmp_path / "model"), "--output", str(tmp_path / "back")]
    assert import_model.main(["import", *arguments, "--task", "translation"]) == 0
    assert "translation, pegasus" in capsys.readouterr().out
    assert (tmp_path / "back" / "checkpoints" / "best.ckpt").is_file()
    with pytest.raises(ValueError, match="an imported model has no test set of its own; name"):
        open_run(RunDirectory(tmp_path / "back"))


@pytest.mark.parametrize(("command", "name"), [(export, "export"), (import_model, "import")])
def test_a_tilde_in_an_output_is_the_home(
    command: object, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run = make_run(tmp_path / "run", PAIRS)
    (tmp_path / "taken").write_text("")
    with pytest.raises(ValueError, match=f"output={tmp_path}/taken is a file"):
        command.main([name, str(run), "--output=~/taken"])  # type: ignore[attr-defined]


def test_options_are_those_of_the_functions() -> None:
    assert choices(export, "to") == list(TARGETS)
    assert choices(export, "dtype") == list(CTranslate2Target.dtypes)
    assert set(choices(export, "dtype")) >= set(DTYPES)
    assert choices(generate, "engine") == list(ENGINES)
    assert choices(generate, "dtype") == list(CTranslate2Target.dtypes)
    assert choices(import_model, "task") == list(TASKS)
    listed = import_model.DESCRIPTION.partition("Layouts: ")[2].rstrip(".").replace("\n", " ")
    assert listed.split(", ") == sorted(layout.model_type for layout in LAYOUTS)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(export, ["export", "run"]), (import_model, ["import", "model"])],
)
def test_an_output_is_required(command: object, arguments: list[str]) -> None:
    with pytest.raises(SettingsError, match="--output"):
        command.main(arguments)  # type: ignore[attr-defined]
