"""Registry of the runs that this user started on this machine, kept outside of the run directories.

A run that names the user's own classes can be resumed without `--trust` on two conditions: a
command of this user wrote its config.yaml, byte for byte, and the classes still come from the same
files. A run directory cannot prove these conditions by itself. Only digests are stored.
"""

import hashlib
import json
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from lslm_lightning.runs.own_code import packages_in
from lslm_lightning.runs.trust import HOMES
from lslm_lightning.safety.user_files import state_directory
from lslm_lightning.text.yaml_files import ParserLoader, read_yaml

OFFERED = {*(home.partition(".")[0] for home in HOMES), "lightning", "torchmetrics"}


def register_run(config: Path) -> None:
    """Record in the registry that a command of this user wrote this config.yaml.

    If the registry cannot be written, a run that names the user's own classes will need `--trust`.
    """
    folder = registry()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / fingerprint(config)).touch(mode=0o600)
    except OSError:
        pass


def is_own_run(config: Path) -> bool:
    """Return whether a command of this user wrote this config.yaml in its present form."""
    record = registry() / fingerprint(config)
    try:
        return not hasattr(os, "getuid") or record.stat().st_uid == os.getuid()
    except OSError:
        return False


def registry() -> Path:
    """Return the folder of the registry."""
    return state_directory() / "runs"


def fingerprint(config: Path) -> str:
    """Return the SHA-256 digest of a config.yaml and of the paths from which its classes are
    imported.

    Raises:
        ValueError, OSError: config.yaml cannot be read.
    """
    named = packages_in(read_yaml(config, loader=ParserLoader)) - OFFERED
    sources = {name: source_of(name) for name in sorted(named)}
    known = json.dumps({name: source for name, source in sources.items() if source})
    return hashlib.sha256(config.read_bytes() + b"\0" + known.encode()).hexdigest()


def source_of(package: str) -> str | None:
    """Return the path from which a package or module would be imported; None if it is not found.

    The search covers `sys.path` and the working directory.
    """
    return path_of(PathFinder.find_spec(package, [*sys.path, str(Path.cwd())]))


def path_of(spec: ModuleSpec | None) -> str | None:
    """Return the path of the file or folder that a module is imported from; None if it has none."""
    if spec is None:
        return None
    source = spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    return source and os.path.realpath(source)
