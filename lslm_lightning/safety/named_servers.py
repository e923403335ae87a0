"""Tracking servers that the user has named. The list is one of the user's own files and belongs to
no run.

A run directory may come from an untrusted source. The server named in its mlflow.json receives
neither credentials nor files, unless the user has named the same server by `MLFLOW_TRACKING_URI`.
"""

from pathlib import Path

from lslm_lightning.safety.redaction import redacted
from lslm_lightning.safety.user_files import state_directory, write_private


def record_path() -> Path:
    """Return the path of the file that lists the addresses, one per line."""
    return state_directory() / "tracking-servers"


def add(address: str) -> None:
    """Record an address that the user has named. If the file cannot be written, nothing is
    recorded.
    """
    address = plain(address)
    known = recorded()
    if address not in known:
        try:
            write_private(record_path(), "".join(f"{each}\n" for each in [*known, address]))
        except OSError:
            return


def is_known(address: str) -> bool:
    """Return whether the user has named the server at `address` before.

    False for an address that contains a secret: without the secret it may be the address of another
    server, as in `http://other:/x@named`.
    """
    return address == redacted(address) and plain(address) in recorded()


def recorded() -> list[str]:
    """Return the recorded addresses."""
    try:
        return record_path().read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return []


def plain(address: str) -> str:
    """Return the address without secrets and without a trailing slash."""
    return " ".join(redacted(address).split()).rstrip("/")
