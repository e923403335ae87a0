"""Training checkpoints on disk: single files, or folders to which each process wrote its part."""

import json
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from lslm_lightning.safety.paths import is_inside
from lslm_lightning.tracking.uploads import checksum
from lslm_lightning.types import StateDict

META = "meta.pt"  # in a folder: everything but weights and moments, written by rank 0
NGRAM = "ngram"  # tables of an n-gram model, beside its checkpoints
CHECKSUMS = "checksums.json"  # in a folder: CRC-32 of each file
REFUSED = re.compile(r"unsupported [^\n]*?(?=\.?(?:\s*\n|\s*$|\s+Please))", re.I)  # by torch.load


# Names


def link(old: Path, new: Path) -> None:
    """Make `new` a second name of the file or folder `old`, atomically.

    Files are hard-linked if the file system supports it, else copied.
    """
    draft = new.with_name(f".{new.name}.link")
    remove(draft)
    if old.is_dir():
        shutil.copytree(old, draft, copy_function=_link_file)
    else:
        _link_file(old, draft)
    put(draft, new)


def _link_file(old: str | Path, new: str | Path) -> None:
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)


def put(draft: Path, path: Path) -> None:
    """Rename `draft` to `path`, replacing what is there.

    A folder cannot be replaced in one step, so the old one is called `aside(path)` in between.
    """
    if path.is_dir() or (draft.is_dir() and path.exists()):
        remove(aside(path))
        path.rename(aside(path))
    draft.replace(path)
    remove(draft)  # rename leaves it if both are names of one file
    remove(aside(path))


def draft_of_checkpoint(path: Path) -> Path:
    """Return the temporary path of a checkpoint that is being written, beside its final path."""
    return path.with_name(f".{path.name}.part")


def is_draft(path: Path) -> bool:
    """Return whether a path is a temporary one that `draft_of_checkpoint` returns."""
    return path.name.startswith(".") and path.suffix == ".part"


def aside(path: Path) -> Path:
    """Return the temporary name that a file or folder at `path` has while it is being replaced."""
    return path.with_name(f".{path.name}.old")


def remove(path: Path) -> None:
    """Delete a file or folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def synchronize(path: Path) -> None:
    """Wait until the contents of a file, or the list of names in a folder, are on the disk."""
    is_windows = not hasattr(os, "O_DIRECTORY")
    if is_windows and path.is_dir():  # Windows cannot open a folder
        return
    number = os.open(path, os.O_RDWR if is_windows else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# Contents


def read_state(path: Path) -> StateDict:
    """Return the contents of a checkpoint on the CPU, with complete weights under "state_dict".

    For a folder, the optimizer's moments are left out.

    Raises:
        Exception: torch's error for a file that is not a checkpoint or contains more than data.
        ValueError: reading the file would take more memory than it has bytes.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    state = read_plain(path / META if path.is_dir() else path, "cpu")
    if path.is_dir():
        from lslm_lightning.runs.checkpoint_folder import read_parts

        state |= read_parts(path, ["state_dict"])
    return state


def read_header(path: Path) -> StateDict:
    """Return the contents of a checkpoint with tensors on the meta device, which have shapes but no
    values.

    For a folder, these are the contents of its file `META`. The function takes little time and
    memory. See `read_state` for its errors.
    """
    return read_plain(path / META if path.is_dir() else path, "meta")


def read_shapes(path: Path) -> StateDict:
    """Return the contents of a checkpoint with complete weights under "state_dict", on the meta
    device; those of a folder have their values. See `read_state` for its errors.
    """
    if path.is_dir():
        return read_state(path)
    return read_safetensors(path, "meta") if path.suffix == ".safetensors" else read_header(path)


def read_plain(file: Path, device: str) -> StateDict:
    """Return the contents of a file written by `torch.save`, with tensors on a device; see
    `read_state`.

    Raises:
        ValueError: the file contains more than data. The message is without torch's advice to load
            it nevertheless, which would run its code.
    """
    import torch

    with zipfile.ZipFile(file) as parts:
        if problem := packing_of(parts):
            raise ValueError(problem)
    try:
        contents: StateDict = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        found = REFUSED.search(str(error))
        raise ValueError(found[0] if found else "it contains more than data") from None
    return contents


def packing_of(parts: zipfile.ZipFile) -> str | None:
    """Return the reason why reading a checkpoint could take more memory than it has bytes, or None.

    Args:
        parts: the checkpoint, opened as a zip file.
    """
    members = parts.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        return "its parts are compressed, which those of a checkpoint never are"
    assert parts.fp is not None, "the file is open"
    n_byte = parts.fp.seek(0, os.SEEK_END)
    stated = sum(member.file_size for member in members)
    if stated > n_byte:
        return f"its parts claim {stated:,} bytes, but the file has {n_byte:,}"
    pickles = [parts.read(member) for member in members if member.filename.endswith(".pkl")]
    if any(b"bytearray\n" in content for content in pickles):  # torch would allocate any size
        return "it creates a bytearray, which no checkpoint contains"
    return None


def read_safetensors(path: Path, device: str = "cpu") -> StateDict:
    """Return the weights, under "state_dict", and the metadata of a safetensors file written by
    `lslm consolidate`, with tensors on a device.
    """
    import torch
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        names = file.keys()
        if device == "meta":
            shapes = {name: file.get_slice(name).get_shape() for name in names}
            weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        else:
            weights = {name: file.get_tensor(name) for name in names}
        return {**(file.metadata() or {}), "state_dict": weights}


# Checksums of folders


def write_checksums(folder: Path, sums: Mapping[str, int]) -> None:
    """Write the checksums of a checkpoint folder's files into the folder.

    Args:
        sums: CRC-32 checksum by file name.
    """
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1))
    synchronize(folder / CHECKSUMS)


def damage_of_folder(folder: Path) -> str | None:
    """Return a description of the damage of a checkpoint folder, found by checksums; None if it is
    intact.
    """
    try:
        sums = json.loads((folder / CHECKSUMS).read_text())
        if not isinstance(sums, dict):
            return f"its {CHECKSUMS} is not a JSON object"
    except (OSError, ValueError, RecursionError) as error:
        return f"it is incomplete, or not a checkpoint ({error})"
    for name, expected in sums.items():
        if not is_inside(name):
            return f"its {CHECKSUMS} names {name!r}, which is not in it"
        if not (folder / name).is_file():
            return f"its part {name} is missing"
        if checksum(folder / name) != expected:
            return f"the checksum of its part {name} is wrong"
    return None
