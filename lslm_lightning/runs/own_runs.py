"""Runs that this user started on this machine, known from outside of their directories.

A run that names classes of the user's own is resumed without a flag where its config.yaml is, byte
for byte, one that a command of this user wrote, and these classes still come from the same place.
A directory can say neither of itself. Nothing but digests is kept.
"""

import hashlib
import json
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from lslm_lightning.runs.own_code import packages_in
from lslm_lightning.runs.trust import HOMES
from lslm_lightning.safety.user_files import state_directory
from lslm_lightning.text.yaml_files import ParserLoader, read_yaml

OFFERED = {*(home.partition(".")[0] for home in HOMES), "lightning", "torchmetrics"}


def remember_run(config: Path) -> None:
    """Keep that this user's command has written a config.yaml.

    Where nothing can be kept, the run will need `--trust` if it names the user's own classes.
    """
    folder = records()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / fingerprint(config)).touch(mode=0o600)
    except OSError:
        pass


def is_own_run(config: Path) -> bool:
    """Return whether a command of this user has written this config.yaml as it is now."""
    record = records() / fingerprint(config)
    try:
        return not hasattr(os, "getuid") or record.stat().st_uid == os.getuid()
    except OSError:
        return False


def records() -> Path:
    """Folder of records."""
    return state_directory() / "runs"


def fingerprint(config: Path) -> str:
    """Digest of a config.yaml and of the places that the classes it names come from.

    Raises:
        ValueError, OSError: it cannot be read.
    """
    named = packages_in(read_yaml(config, loader=ParserLoader)) - OFFERED
    places = {name: place_of(name) for name in sorted(named)}
    known = json.dumps({name: place for name, place in places.items() if place})
    return hashlib.sha256(config.read_bytes() + b"\0" + known.encode()).hexdigest()


def place_of(package: str) -> str | None:
    """File or folder of a package or module, in `sys.path` or the working directory; None of
    none.
    """
    spec = PathFinder.find_spec(package, [*sys.path, str(Path.cwd())])
    if spec is None:
        return None
    place = spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    return place and os.path.realpath(place)
