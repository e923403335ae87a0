"""What MLflow takes as names and values of parameters."""

import hashlib
import posixpath
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_PARAMETER = 6000  # characters


def mlflow_name(name: str) -> str:
    """The name that MLflow takes: other characters than letters, digits and `_-. :/` become `_`, and it is no path to elsewhere."""
    clean = re.sub(r"[^/\w.\- :]", "_", name)
    return posixpath.normpath(clean).lstrip("./") or "_"


def short(value: str) -> str:
    """The value, or its hash where MLflow would cut it; the whole value is in config.yaml."""
    return value if len(value) <= LONGEST_PARAMETER else f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and leaves of nested mappings, namespaces, and lists that hold such."""
    if isinstance(value, Namespace):
        value = vars(value)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | Namespace) for item in value):
        value = dict(enumerate(value))
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
