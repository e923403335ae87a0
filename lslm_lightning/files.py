"""Atomic writing of files, and places where files can be written."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lslm_lightning.exit_status import SettingsError


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


def check_place(path: Path, setting: str, in_place: bool = False) -> None:
    """Look whether a file can be written, before the work whose result it gets.

    Nothing stays: folders that are missing are made when the file is written.

    Args:
        setting: setting that names the path, such as "--junit".
        in_place: a file that exists is changed or added to, so that it may be a device; otherwise a
            new file replaces it.

    Raises:
        SettingsError: no file can be written there; the message says why.
    """
    given = f"{setting} {path}"
    try:
        if path.is_dir():
            raise SettingsError(f"{given} is a folder; name a file, such as one in it")
        if in_place and path.exists() and not os.access(path, os.W_OK):
            raise SettingsError(f"{given} is a file that you may not change; name another one")
        if path.exists() and in_place:
            return
        if path.exists() and not path.is_file():
            raise SettingsError(f"{given} is a device or a pipe; name a file")
        home = next(each for each in path.absolute().parents if each.exists())
        with tempfile.TemporaryFile(dir=home):
            pass
    except SettingsError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError(
            f"{given} cannot be written ({reason}); name a file in a folder of yours"
        ) from None
