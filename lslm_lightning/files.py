"""Writing of files as a whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft_of(path: Path, mode: int = 0o666, durable: bool = False) -> Iterator[Path]:
    """Yield the path of an empty hidden file beside `path`, which replaces `path` at the end.

    An error removes the hidden file and leaves `path` as it was. The folder is made if it is
    missing.

    Args:
        mode: permissions of the new file, less the user's umask.
        durable: whether the content is synced to the disk before the file has its name.

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
    """Write a text in UTF-8, or bytes, to a file; a reader sees the old content or the new one.

    Args:
        mode: permissions, less the user's umask.
        errors: treatment of characters that UTF-8 cannot encode, as in `str.encode`.
    """
    data = content.encode("utf-8", errors) if isinstance(content, str) else content
    with draft_of(path, mode) as draft:
        draft.write_bytes(data)


def sync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
