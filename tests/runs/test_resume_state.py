"""Which checkpoint a run is resumed from, and how often it is read for that."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lslm_lightning.runs import RunDirectory, resume_state
from lslm_lightning.runs.directory import earlier
from lslm_lightning.runs.resume_state import ResumeState


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run directory with three checkpoints, the last of step 3."""
    directory = RunDirectory(tmp_path)
    directory.checkpoints.mkdir()
    for step, path in enumerate((earlier(directory.last, 2), earlier(directory.last, 1)), 1):
        torch.save({"global_step": step, "epoch": 0}, path)
    weights = {"a": torch.arange(1000.0)}
    torch.save({"global_step": 3, "epoch": 1, "state_dict": weights}, directory.last)
    return directory


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_newest_is_found_and_known_without_its_weights(run: RunDirectory) -> None:
    state = ResumeState.newest(run)
    assert state is not None
    assert (state.path, state.step, state.epoch, state.damage) == (run.last, 3, 1, None)
    assert state.header["state_dict"]["a"].is_meta
    state.check_intact()


def test_it_is_verified_once(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    damage: Callable[[Path], str | None] = resume_state.damage
    monkeypatch.setattr(
        resume_state, "damage", lambda path: (verified.append(path), damage(path))[1]
    )
    state = ResumeState.newest(run)
    assert ResumeState.at(run.last) is state
    ResumeState.at(run.last).check_intact()
    assert verified == [run.last]
    flip(run.last)
    assert ResumeState.at(run.last).damage is not None
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged"):
        ResumeState.at(run.last).check_intact()


def test_a_damaged_one_is_reported_and_the_one_before_is_taken(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(run.last)
    state = ResumeState.newest(run)
    assert state is not None
    assert state.step == 2
    said = capsys.readouterr().err
    assert str(run.last) in said
    assert "last-1.ckpt" in said


def test_none_is_no_error_and_damaged_ones_alone_are(run: RunDirectory) -> None:
    for path in run.checkpoints.iterdir():
        path.write_bytes(b"half")
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged"):
        ResumeState.newest(run)
    for path in run.checkpoints.iterdir():
        path.unlink()
    assert ResumeState.newest(run) is None
