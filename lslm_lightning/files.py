"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft_of(path: Path, mode: int = 0o666, durable: bool = False) -> Iterator[Path]:
    """Yield an empty hidden file beside `path`, which replaces it at the end.

    An error removes the draft and leaves `path` as it was. The folder is made where it is missing.

    Args:
        mode: permissions of the new file, of which the user's umask takes away.
        durable: whether the content is on the disk, and not in its cache, before the file has its
            name.

    >>> with draft_of(path) as draft:
    ...     draft.write_text("all of it")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.part")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield draft
        if durable:
            sync(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def atomic_write(
    path: Path,
    content: str | bytes,
    mode: int = 0o666,
    errors: str = "strict",
) -> None:
    """Replace a file by this text in UTF-8, or by these bytes; a reader never sees half of it.

    Args:
        mode: permissions, of which the user's umask takes away.
        errors: what becomes of characters that UTF-8 does not have, as in `str.encode`.
    """
    data = content.encode("utf-8", errors) if isinstance(content, str) else content
    with draft_of(path, mode) as draft:
        draft.write_bytes(data)


def sync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
