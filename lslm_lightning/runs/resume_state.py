"""Checkpoint from which a training resumes: search, verification and reading."""

import sys
from functools import cached_property, lru_cache
from pathlib import Path

from lslm_lightning.runs.directory import RunDirectory, earlier
from lslm_lightning.runs.integrity import damage
from lslm_lightning.runs.states import META, aside, read_header
from lslm_lightning.types import StateDict


class ResumeState:
    """Checkpoint, a file or a folder, from which a training resumes.

    Its checksums are verified at most once, and its header is read at most once. `at` returns the
    same object for the same checkpoint.

    Attributes:
        damage: description of the damage of the checkpoint; None if it is intact.
        header: contents of the checkpoint with tensors on the meta device; see `read_header`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def at(cls, path: Path) -> "ResumeState":
        """Return the object for a checkpoint; the same object as before if the file is
        unchanged.
        """
        file = path / META if (path / META).exists() else path
        known = file.stat()
        return known_state(path, known.st_mtime_ns, known.st_size, known.st_ino)

    @classmethod
    def newest(cls, directory: RunDirectory) -> "ResumeState | None":
        """Return the newest intact checkpoint of a run; None if no checkpoint was saved.

        Newer checkpoints that are damaged are reported on standard error.

        Raises:
            ValueError: all checkpoints are damaged.
        """
        candidates = [directory.last, aside(directory.last)]
        while (path := earlier(directory.last, len(candidates) - 1)).exists():
            candidates.append(path)
        damaged: list[ResumeState] = []
        for path in candidates:
            if not path.exists():
                continue
            state = cls.at(path)
            if state.damage is not None:
                damaged.append(state)
                continue
            for other in damaged:
                print(
                    f"{other.path} is damaged: {other.damage}; resuming from the previous "
                    f"checkpoint, {path.name}",
                    file=sys.stderr,
                    flush=True,
                )
            return state
        if damaged:
            raise ValueError(
                f"{damaged[0].path} is damaged: {damaged[0].damage}; there is no intact "
                "checkpoint before it"
            )
        return None

    @cached_property
    def damage(self) -> str | None:
        return damage(self.path)

    @cached_property
    def header(self) -> StateDict:
        return read_header(self.path)

    @property
    def step(self) -> int:
        """Number of optimizer steps before the checkpoint was saved."""
        return int(self.header.get("global_step", 0))

    @property
    def epoch(self) -> int:
        """Number of epochs before the checkpoint was saved."""
        return int(self.header.get("epoch", 0))

    def check_intact(self) -> None:
        """Raise ValueError if the checkpoint is damaged."""
        if self.damage is not None:
            raise ValueError(f"{self.path} is damaged: {self.damage}; name another checkpoint")


@lru_cache(maxsize=4)
def known_state(path: Path, *identity: int) -> ResumeState:
    """Return the cached object for a checkpoint.

    Args:
        identity: modification time, size and inode number of its file, which change with the file.
    """
    return ResumeState(path)
