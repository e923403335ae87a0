"""Folders to which several processes wrote: what is read of them, and what is not."""

import os
import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from lslm_lightning.runs.states import in_words, only_data, read_parts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights and a number."""
    state = {"state_dict": {"a.weight": torch.arange(6.0).view(2, 3)}, "optimizer_0": {"state": {"a.weight": {"step": torch.tensor(7.0)}}}}
    dcp.save(state, checkpoint_id=tmp_path / "state", no_dist=True)
    return tmp_path / "state"


def test_the_parts_that_are_asked_for_come_back(folder: Path) -> None:
    assert read_parts(folder, ["state_dict"]).keys() == {"state_dict"}
    found = read_parts(folder, ["state_dict", "optimizer_0"])
    assert torch.equal(found["state_dict"]["a.weight"], torch.arange(6.0).view(2, 3))
    assert found["optimizer_0"]["state"]["a.weight"]["step"] == 7


class Evil:
    def __init__(self, function: object) -> None:
        self.function = function

    def __reduce__(self) -> tuple:
        return self.function, ("touch owned",)


def dotted(module: str, name: str, argument: str) -> bytes:
    """A pickle of protocol 4 that calls a name in a module, which may be a path of names."""
    words = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    return b"\x80\x04" + words + b"\x93" + b"\x8c" + bytes([len(argument)]) + argument.encode() + b"\x85R."


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil(os.system)),
        dotted("torch.distributed.checkpoint.filesystem", "os.system", "touch owned"),
        dotted("torch.distributed.checkpoint.metadata", "os.system", "touch owned"),
        dotted("torch.distributed.checkpoint.state_dict_loader", "load", "touch owned"),
    ],
)
def test_an_index_that_names_more_than_data_is_refused(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / ".metadata").write_bytes(content)
    with pytest.raises((pickle.UnpicklingError, OSError), match="which is no data"):
        read_parts(folder, ["state_dict"])
    with pytest.raises((pickle.UnpicklingError, OSError), match="which is no data"), only_data(), in_words(folder):
        dcp.load({"state_dict": {"a.weight": torch.zeros(2, 3)}}, checkpoint_id=folder, no_dist=True)
    assert not (folder.parent / "owned").exists()


def test_a_part_that_was_cut_off_is_an_error_like_others(folder: Path) -> None:
    part = next(folder.glob("*.distcp"))
    part.write_bytes(part.read_bytes()[:10])
    with pytest.raises(OSError, match=str(folder)):
        read_parts(folder, ["state_dict"])
