"""Conversion of names and values to a form that MLflow accepts for parameters, tags and metrics."""

import hashlib
import posixpath
import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping

from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.types import Settings

# characters
LONGEST_NAME = 250
LONGEST_PARAMETER = 6000
LONGEST_TAG = 8000
N_DIGIT = 12  # of a hash that tells apart what would get one name


def mlflow_name(name: str) -> str:
    """Return the name in a form that MLflow accepts.

    Characters other than letters, digits and `_-. :/` become `_`. Path components such as `..`,
    which would lead out of a folder, are removed. The end of a name that is too long is replaced by
    a hash.
    """
    clean = re.sub(r"[^/\w.\- :]", "_", name)
    clean = posixpath.normpath(clean).lstrip("./") or "_"
    return (
        clean
        if len(clean) <= LONGEST_NAME
        else with_hash(clean[: LONGEST_NAME - N_DIGIT - 1], name)
    )


def with_hash(beginning: str, name: str) -> str:
    """Return `beginning`, shortened if necessary, followed by `_` and a hash of `name`."""
    digits = hash_of(name)[:N_DIGIT]
    return f"{beginning[: LONGEST_NAME - N_DIGIT - 1].rstrip('/.')}_{digits}"


def mlflow_names(names: Iterable[str]) -> dict[str, str]:
    """Return a unique name that MLflow accepts for each of the names."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names, key=lambda each: (mlflow_name(each) != each, each)):
        clean = mlflow_name(name)
        found[name] = with_hash(clean, name) if clean in taken else clean
        taken.add(found[name])
    return found


def clean_text(value: object) -> str:
    """Return a value as text that every store accepts: unpaired surrogates and NUL characters are
    replaced.
    """
    return str(value).encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def short(value: str) -> str:
    """Return the value, or its hash if it is longer than MLflow accepts.

    The whole value remains available in config.yaml.
    """
    return value if len(value) <= LONGEST_PARAMETER else hashed(value)


def hashed(value: str) -> str:
    """Return the hash "sha256:..." that replaces a value which is too long."""
    return f"sha256:{hash_of(value)}"


def hash_of(text: str) -> str:
    """Return the SHA-256 digest of a text in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def mlflow_tags(tags: Mapping[str, object], redact: Callable[[str], str]) -> dict[str, str]:
    """Return the tags with names and values in the form that MLflow stores, without secrets.

    Args:
        redact: returns its argument with secrets replaced.
    """
    shown = redacted_settings(tags)
    names = mlflow_names(shown)
    return {names[name]: redact(clean_text(value))[:LONGEST_TAG] for name, value in shown.items()}


def mlflow_parameters(params: Settings | Namespace, redact: Callable[[str], str]) -> dict[str, str]:
    """Return a nested configuration as parameters with dotted names, in the form that MLflow stores
    and without secrets.

    Args:
        redact: returns its argument with secrets replaced.
    """
    settings = vars(params) if isinstance(params, Namespace) else params
    flat = dict(flatten(redacted_settings(settings)))
    names = mlflow_names(flat)
    return {names[name]: short(redact(clean_text(value))) for name, value in flat.items()}


def flatten(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield the dotted name and the value of each leaf of nested mappings and namespaces.

    Lists are leaves unless they contain mappings or namespaces.

    Args:
        name: prefix of all names.
    """
    if isinstance(value, Namespace):
        value = vars(value)
    elif isinstance(value, list | tuple) and any(
        isinstance(item, Mapping | Namespace) for item in value
    ):
        value = dict(enumerate(value))
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
