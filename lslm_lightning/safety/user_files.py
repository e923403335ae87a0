"""Files that belong to the user and not to a run, and file permissions."""

import os
import secrets
import stat
from pathlib import Path

from lslm_lightning.files import atomic_write
from lslm_lightning.safety.redaction import redacted


def state_directory() -> Path:
    """Return the folder of the user's records: `lslm-lightning` in `$XDG_STATE_HOME` or
    `~/.local/state`.
    """
    chosen = os.environ.get("XDG_STATE_HOME", "")
    state = Path(chosen) if os.path.isabs(chosen) else Path("~/.local/state").expanduser()
    return state / "lslm-lightning"


def write_private(path: Path, text: str, errors: str = "strict") -> None:
    """Write a file atomically, readable by its owner alone.

    Args:
        errors: handling of characters that cannot be encoded, as in `str.encode`.
    """
    atomic_write(path, text, 0o600, errors)


def write_settings(path: Path, text: str) -> None:
    """Write settings for another process of this project. The file is readable by its owner alone
    if the settings hold a secret, otherwise as the user's umask allows.
    """
    atomic_write(path, text, 0o666 if redacted(text) == text else 0o600)


def permit_as_usual(path: Path) -> None:
    """Give a file the permissions that the user's umask gives new files.

    Some libraries write a temporary file first, which leaves the file readable by its owner alone.
    """
    usual = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    usual.touch(exist_ok=False)
    try:
        path.chmod(stat.S_IMODE(usual.stat().st_mode))
    finally:
        usual.unlink()
