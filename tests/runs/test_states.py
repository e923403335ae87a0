"""Folders to which several processes wrote: what is read of them, and what is not."""

import copy
import os
import pickle
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata

from lslm_lightning.runs.checkpoint_folder import load_into, read_parts
from lslm_lightning.runs.integrity import damage
from lslm_lightning.runs.states import META, read_header, read_state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights and a number."""
    state = {
        "state_dict": {"a.weight": torch.arange(6.0).view(2, 3)},
        "optimizer_0": {"state": {"a.weight": {"step": torch.tensor(7.0)}}},
    }
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
    return (
        b"\x80\x04"
        + words
        + b"\x93"
        + b"\x8c"
        + bytes([len(argument)])
        + argument.encode()
        + b"\x85R."
    )


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil(os.system)),
        dotted("torch.distributed.checkpoint.filesystem", "os.system", "touch owned"),
        dotted("torch.distributed.checkpoint.metadata", "os.system", "touch owned"),
        dotted("torch.distributed.checkpoint.state_dict_loader", "load", "touch owned"),
    ],
)
def test_an_index_that_names_more_than_data_is_refused(
    folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / ".metadata").write_bytes(content)
    with pytest.raises((pickle.UnpicklingError, OSError), match="not plain data"):
        read_parts(folder, ["state_dict"])
    with pytest.raises(OSError, match="not plain data"):
        load_into({"state_dict": {"a.weight": torch.zeros(2, 3)}}, folder, no_dist=True)
    assert not (folder.parent / "owned").exists()


@pytest.mark.parametrize("value", [Evil(os.system), [1, 2.5]], ids=["code", "data"])
def test_a_value_that_is_no_tensor_must_be_plain_data(
    folder: Path, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch itself would run it."""
    monkeypatch.chdir(folder.parent)
    dcp.save({"group": {"value": value}}, checkpoint_id=folder / "other", no_dist=True)
    state = {"group": {"value": None}}
    if isinstance(value, list):
        load_into(state, folder / "other", no_dist=True)
        assert state["group"]["value"] == value
    else:
        with pytest.raises(OSError, match=r"[Ww]eights"):
            load_into(state, folder / "other", no_dist=True)
        assert not (folder.parent / "owned").exists()


def test_a_part_that_was_cut_off_is_an_error_like_others(folder: Path) -> None:
    part = next(folder.glob("*.distcp"))
    part.write_bytes(part.read_bytes()[:10])
    with pytest.raises(OSError, match=str(folder)):
        read_parts(folder, ["state_dict"])


def index_of(folder: Path) -> Metadata:
    return dcp.FileSystemReader(folder).read_metadata()


def put_index(folder: Path, metadata: Metadata) -> None:
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


@pytest.mark.parametrize("size", [(1 << 40,), (1 << 20, 1 << 20), (-1, -6)])
def test_an_index_of_tensors_that_the_folder_cannot_have(
    folder: Path, size: tuple[int, ...]
) -> None:
    metadata = index_of(folder)
    metadata.state_dict_metadata["state_dict.a.weight"].size = torch.Size(size)
    for part in folder.glob("*.distcp"):
        os.truncate(part, 40)
    put_index(folder, metadata)
    with pytest.raises(ValueError, match="its index claims"):
        read_parts(folder, ["state_dict"])


@pytest.mark.parametrize("name", ["../other.distcp", "/dev/zero", r"..\other.distcp"])
def test_an_index_that_names_files_elsewhere(folder: Path, name: str) -> None:
    metadata = index_of(folder)
    for stored in metadata.storage_data.values():
        stored.relative_path = name
    put_index(folder, metadata)
    with pytest.raises(ValueError, match="which is not in it"):
        read_parts(folder, ["state_dict"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "not a JSON object"),
        ("[" * 100_000, "is incomplete"),
        ('{"../x": 1}', "is not in it"),
        ('{"/etc/passwd": 1}', "is not in it"),
    ],
)
def test_checksums_that_are_none(folder: Path, content: str, words: str) -> None:
    (folder / "checksums.json").write_text(content)
    assert words in damage(folder)


def test_a_checkpoint_whose_parts_are_compressed_is_damaged(tmp_path: Path) -> None:
    """Torch stores them as they are; zeros that are packed would be unpacked without end."""
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100_000))
    assert "compressed" in damage(tmp_path / "a.ckpt")
    torch.save({"a": torch.zeros(100)}, tmp_path / "a.ckpt")
    assert damage(tmp_path / "a.ckpt") is None


class Allocation:
    """A pickle that makes a bytearray; torch takes that for data."""

    def __reduce__(self) -> tuple:
        return bytearray, (100_000_000,)


def deflate(path: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def name_one_part_often(path: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        for number in range(100):
            other = copy.copy(largest)
            other.filename = f"{largest.filename}{number}"
            archive.filelist.append(other)
        archive._didModify = True


LARGER = {
    "compressed": deflate,
    "its parts claim": name_one_part_often,
    "creates a bytearray": lambda path: torch.save({"state_dict": Allocation()}, path),
    "zip file": lambda path: torch.save(
        {"state_dict": Allocation()}, path, _use_new_zipfile_serialization=False
    ),
}


@pytest.mark.parametrize("words", LARGER)
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_state_that_takes_more_memory_than_it_has_bytes(
    tmp_path: Path, words: str, is_folder: bool
) -> None:
    path = tmp_path / "last.ckpt"
    file = path / META if is_folder else path
    file.parent.mkdir(exist_ok=True)
    LARGER[words](file)
    with pytest.raises((ValueError, zipfile.BadZipFile), match=words):
        read_state(path)


@pytest.mark.parametrize("read", [read_state, read_header])
@pytest.mark.parametrize(("protocol", "words"), [(2, "fractions.Fraction"), (4, "operand")])
def test_more_than_data_is_refused_without_the_advice_to_load_it_nevertheless(
    read: Callable[[Path], object], protocol: int, words: str, tmp_path: Path
) -> None:
    torch.save({"state_dict": Fraction(1, 2)}, tmp_path / "a.ckpt", pickle_protocol=protocol)
    with pytest.raises(ValueError, match=words) as error:
        read(tmp_path / "a.ckpt")
    assert "\n" not in str(error.value)
    assert "weights_only" not in str(error.value)
