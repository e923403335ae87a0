"""Atomic writing of files."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft_of(path: Path, mode: int = 0o666, durable: bool = False) -> Iterator[Path]:
    """Yield the path of an empty hidden file that replaces `path` when the body ends.

    If the body raises an error, the hidden file is removed and `path` is left unchanged. A missing
    folder is created.

    Args:
        mode: permissions of the new file, restricted by the user's umask.
        durable: whether to sync the content to disk before the hidden file replaces `path`.

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
    """Write text (in UTF-8) or bytes to a file atomically: readers see either the old content or
    the new.

    Args:
        mode: permissions of the new file, restricted by the user's umask.
        errors: handling of characters that UTF-8 cannot encode, as in `str.encode`.
    """
    data = content.encode("utf-8", errors) if isinstance(content, str) else content
    with draft_of(path, mode) as draft:
        draft.write_bytes(data)


def sync(path: Path) -> None:
    """Wait until the content of a file has been written to disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
