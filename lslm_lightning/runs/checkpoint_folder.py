"""Reading of checkpoint folders, to which each process has written one part, as plain data."""

import math
import pickle
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.planner import ReadItem

from lslm_lightning.safety.paths import is_inside
from lslm_lightning.types import StateDict

INDEX = ".metadata"  # torch's name of the file that says which part holds which tensor
DESCRIPTION = "torch.distributed.checkpoint.metadata"
STORAGE = "torch.distributed.checkpoint.filesystem"
PLAIN_DATA = {  # what an index may name: classes that describe tensors and files
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    (STORAGE, "_StorageInfo"),
    (STORAGE, "_StoragePrefix"),
    (DESCRIPTION, "Metadata"),
    (DESCRIPTION, "MetadataIndex"),
    (DESCRIPTION, "StorageMeta"),
    (DESCRIPTION, "TensorProperties"),
    (DESCRIPTION, "_MEM_FORMAT_ENCODING"),
    (DESCRIPTION, "BytesStorageMetadata"),
    (DESCRIPTION, "ChunkStorageMetadata"),
    (DESCRIPTION, "TensorStorageMetadata"),
}


class IndexUnpickler(pickle.Unpickler):
    """Unpickler for the index of a checkpoint folder; it refuses every name outside of
    `PLAIN_DATA`.
    """

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in PLAIN_DATA:
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not plain data")


class PlainReader(dcp.FileSystemReader):
    """Reader of a checkpoint folder that checks the index of the folder before use.

    torch's own reader unpickles the index without a check, which can run any code.
    """

    def read_metadata(self, *args: object, **settings: object) -> Metadata:
        """Return the index of the folder.

        Raises:
            UnpicklingError: the index names anything other than descriptions of tensors.
            ValueError: the index is not one of torch, or is inconsistent; see `check_index`.
        """
        folder = Path(self.path)
        with (folder / INDEX).open("rb") as file:
            index = IndexUnpickler(file).load()
        if not isinstance(index, Metadata):
            raise ValueError(f"{folder}: its index is not torch's description of a checkpoint")
        check_index(folder, index)
        meta = getattr(index, "storage_meta", None) or StorageMeta()
        meta.load_id = self.load_id
        index.storage_meta = meta
        return index


class PlainPlanner(DefaultLoadPlanner):
    """Load planner of torch that refuses values other than tensors and plain data."""

    def load_bytes(self, read_item: ReadItem, value: BytesIO) -> None:
        """Load a value that is not a tensor; raise torch's error if it is more than plain data."""
        torch.load(value, weights_only=True)
        value.seek(0)
        super().load_bytes(read_item, value)


def load_into(state: StateDict, folder: Path, no_dist: bool = False) -> None:
    """Read the values of `state`, in place, from a checkpoint folder; all processes must call this.

    Args:
        state: tensors in nested dictionaries, with the shapes that the folder has.
        no_dist: read in this process only.

    Raises:
        OSError: a part cannot be read.
        ValueError: the index of the folder is wrong.
    """
    with as_os_error(folder):
        dcp.load(state, storage_reader=PlainReader(folder), planner=PlainPlanner(), no_dist=no_dist)


def read_parts(folder: Path, roots: Iterable[str]) -> StateDict:
    """Return the complete tensors that a checkpoint folder stores under some top-level keys, as
    nested dictionaries.

    Args:
        roots: the top-level keys.
    """
    wanted = set(roots)
    with as_os_error(folder):
        index = PlainReader(folder).read_metadata()
    paths = index.planner_data
    flat: StateDict = {
        key: torch.empty(entry.size, dtype=entry.properties.dtype)
        for key, entry in index.state_dict_metadata.items()
        if paths[key][0] in wanted and isinstance(entry, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load_into(flat, folder, no_dist=True)
    nested: StateDict = {}
    for key, value in flat.items():
        *outer, last = paths[key]
        inner = nested
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return nested


def check_index(folder: Path, index: Metadata) -> None:
    """Raise ValueError if the index of a checkpoint folder names files outside of it, or tensors
    larger than all its files.
    """
    for stored in index.storage_data.values():
        if not is_inside(str(stored.relative_path)):
            raise ValueError(
                f"{folder}: its index names {str(stored.relative_path)!r}, which is not in it"
            )
    n_byte = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    entries = [
        entry
        for entry in index.state_dict_metadata.values()
        if isinstance(entry, TensorStorageMetadata)
    ]
    stated = sum(math.prod(entry.size) * entry.properties.dtype.itemsize for entry in entries)
    if stated > n_byte or any(size < 0 for entry in entries for size in entry.size):
        raise ValueError(
            f"{folder}: its index claims {stated:,} bytes of tensors, but its files have {n_byte:,}"
        )


@contextmanager
def as_os_error(folder: Path) -> Iterator[None]:
    """Convert torch's CheckpointException inside the context to an OSError that names the folder.

    `except Exception` does not catch a CheckpointException.
    """
    try:
        yield
    except CheckpointException as error:
        first = next((failure for failure, _ in error.failures.values()), error)
        if isinstance(first, OSError):
            raise first from None
        raise OSError(f"{folder}: {' '.join(str(first).split()) or type(first).__name__}") from None
