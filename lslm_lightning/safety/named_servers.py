"""Tracking servers that this user has named, on a record of this user's, outside of any run.

A run directory may come from a stranger. What its mlflow.json names gets neither credentials nor
files, unless the user has named that server too, by `MLFLOW_TRACKING_URI`.
"""

from pathlib import Path

from lslm_lightning.safety.redaction import redacted
from lslm_lightning.safety.user_files import state_directory, write_private


def record() -> Path:
    """The file with an address a line."""
    return state_directory() / "tracking-servers"


def remember(address: str) -> None:
    """Note an address that the user has named; where that cannot be written, it must be named
    again.
    """
    address = plain(address)
    known = read()
    if address not in known:
        try:
            write_private(record(), "".join(f"{each}\n" for each in [*known, address]))
        except OSError:
            return


def is_known(address: str) -> bool:
    """Return whether the user has named this server before.

    An address in which something would be hidden is none: what is left of it may be that of another
    server, as of `http://other:/x@named`.
    """
    return address == redacted(address) and plain(address) in read()


def read() -> list[str]:
    """Addresses that were noted."""
    try:
        return record().read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return []


def plain(address: str) -> str:
    """Return the address without what is secret in it, and without a slash at its end."""
    return " ".join(redacted(address).split()).rstrip("/")
