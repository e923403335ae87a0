"""API keys: a file of their digests, and the comparison with what a client sends."""

import hashlib
import hmac
import re
import secrets
import sys
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from lslm_lightning.exit_status import DONE

NAME = re.compile(r"[\w.@-]{1,64}")
ENTRY = re.compile(r"(?P<name>\S+)\s+sha256:(?P<digest>[0-9a-fA-F]{64})")
MOST_CHARACTERS = 512  # of a key that is compared


class KeyDigest(NamedTuple):
    """Name of a key, and the SHA-256 digest of its UTF-8 bytes."""

    name: str
    digest: bytes


class ApiKeys:
    """Keys with which clients may use the server.

    Args:
        entries: names and digests of the keys; none at all if no key is needed.
    """

    def __init__(self, entries: tuple[KeyDigest, ...] = ()) -> None:
        self.entries = entries

    def __bool__(self) -> bool:
        return bool(self.entries)

    def name_of(self, key: str) -> str | None:
        """Return the name of a key, or None if it is none of the keys.

        All digests are compared, each in constant time.
        """
        digest = digest_of(key[:MOST_CHARACTERS])
        found = None
        for entry in self.entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.name
        return found


def digest_of(key: str) -> bytes:
    """Return the SHA-256 digest of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def read_keys(path: str | PathLike[str] | None) -> ApiKeys:
    """Read a file of keys: a line for each, `name sha256:digest`; lines that begin with # are
    comments. Without a file, no key is needed.

    Raises:
        ValueError: the file cannot be read, has no key, or a line is wrong.
    """
    if path is None:
        return ApiKeys()
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text in UTF-8"
        raise ValueError(f"--keys {path}: {reason}; lslm serve --new-key NAME makes one") from None
    entries: list[KeyDigest] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = ENTRY.fullmatch(line.strip())
        if match is None or not NAME.fullmatch(match["name"]):
            raise ValueError(
                f"--keys {path}: line {number} must be a name and sha256: with 64 hexadecimal "
                "digits; lslm serve --new-key NAME makes one"
            )
        if match["name"] in {entry.name for entry in entries}:
            raise ValueError(f"--keys {path}: line {number} gives {match['name']} a second time")
        entries.append(KeyDigest(match["name"], bytes.fromhex(match["digest"])))
    if not entries:
        raise ValueError(f"--keys {path} has no key; lslm serve --new-key NAME makes one")
    return ApiKeys(tuple(entries))


def new_key(name: str) -> tuple[str, str]:
    """Return a random key, and its line in a file of keys.

    Raises:
        ValueError: the name is not allowed.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"--new-key {name!r} must be 1 to 64 letters, digits, or . _ @ -")
    key = f"lslm-{secrets.token_urlsafe(32)}"
    return key, f"{name} sha256:{digest_of(key).hex()}"


def print_new_key(name: str) -> int:
    """Print a random key on standard error, and its line in a file of keys on standard output;
    return the exit status.

    Raises:
        ValueError: the name is not allowed.
    """
    key, line = new_key(name)
    print(f"{name} needs this key, which is not shown again: {key}", file=sys.stderr)
    print(line)
    return DONE


def bearer_key(authorization: str) -> str:
    """Return the key of an `Authorization` header; "" if it has none."""
    scheme, _, key = authorization.strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
