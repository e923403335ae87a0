"""Search for the runs of registered models in MLflow: `models:/NAME@ALIAS`, `models:/NAME/VERSION`,
`models:/NAME/latest`, and `models:/m-...` for a logged model.
"""

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lslm_lightning.runs.directory import RunDirectory, as_name
from lslm_lightning.runs.integrity import weights_digest
from lslm_lightning.tracking import Store
from lslm_lightning.tracking.logged_models import (
    CHECKPOINT,
    EXTERNAL,
    MODEL,
    TASK,
    WEIGHTS,
    versions_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

T = TypeVar("T")

SCHEME = "models:/"
LATEST = "latest"
REFERENCE = re.compile(
    rf"{SCHEME}(?:(?P<model>m-\w+)|(?P<name>[^/@:'\"]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\w+)))"
)
LOGGED = re.compile(r"\bm-[0-9a-f]{32}\b")  # id of a logged model, in an address
IN_MODEL = "data/run"  # folder of the run among the files of a model
MOST_NAMES = 200  # registered models compared with a name that does not exist


@dataclass(frozen=True)
class RegisteredRun:
    """Run of a registered or logged model.

    Args:
        shown: reference with the number of the version, for messages.
        run_id: id of the MLflow run.
        checkpoint: SHA-256 of the checkpoint that was registered; None if it is not recorded.
        weights: SHA-256 of the checkpoint among the model's files; None if it is not recorded.
        location: address of the model's files; None if they are artifacts of the run alone.
        folder: folder for a copy, named after task and model, relative to the folder of runs.
    """

    shown: str
    run_id: str
    checkpoint: str | None
    weights: str | None
    location: str | None
    folder: Path


def is_registered(reference: str | Path) -> bool:
    """Return whether a reference names a model in MLflow, and not a path, an id or a pattern."""
    return str(reference).startswith(SCHEME)


def short_name(reference: str) -> str:
    """Return the name of a system whose run is `reference`: "NAME@3" for `models:/NAME/3`, and the
    last part of a path.
    """
    if is_registered(reference):
        return reference.removeprefix(SCHEME).replace("/", "@")
    return Path(reference).name


def look_up(client: "MlflowClient", store: Store, reference: str) -> RegisteredRun:
    """Return the run of a registered or logged model.

    Raises:
        ValueError: there is no such model, version or alias, or the model is not one of this
            package.
        TrackingError: MLflow does not answer.
    """
    parts = REFERENCE.fullmatch(reference)
    if parts is None:
        raise ValueError(
            f"{reference!r} is no model: write models:/NAME@ALIAS, models:/NAME/VERSION or "
            f"models:/NAME/{LATEST}"
        )
    if parts["model"]:
        return logged(client, store, parts["model"])
    model = existing(client, store, parts["name"])
    number = version_number(client, store, model, parts["alias"], parts["version"])
    version = store.request(lambda: client.get_model_version(model.name, number))
    shown = f"{SCHEME}{model.name}/{number}"
    if CHECKPOINT not in version.tags and (named := LOGGED.search(version.source or "")):
        return logged(client, store, named[0], shown)  # registered on a page of MLflow
    if not version.run_id or CHECKPOINT not in version.tags:
        raise ValueError(not_ours(shown))
    return RegisteredRun(
        shown,
        version.run_id,
        version.tags[CHECKPOINT],
        version.tags.get(WEIGHTS),
        store.request(lambda: client.get_model_version_download_uri(model.name, number)),
        folder_of(version.tags, model.name, version.tags.get(MODEL, number)),
    )


def logged(
    client: "MlflowClient", store: Store, model_id: str, name: str | None = None
) -> RegisteredRun:
    """Return the run of a logged model.

    Args:
        name: reference to the model, for messages; by default it is made of its id.

    Raises:
        ValueError: there is no such model, or it is not one of this package.
    """
    found = unless_missing(store, lambda: client.get_logged_model(model_id))
    shown = name or f"{SCHEME}{model_id}"
    if found is None:
        raise ValueError(f"MLflow at {store} has no model {shown}; see `lslm ui`")
    if not found.source_run_id or CHECKPOINT not in found.tags:
        raise ValueError(not_ours(shown))
    return RegisteredRun(
        shown,
        found.source_run_id,
        found.tags[CHECKPOINT],
        found.tags.get(WEIGHTS),
        None if EXTERNAL in found.tags else found.artifact_location,
        folder_of(found.tags, found.name, model_id),
    )


def not_ours(shown: str) -> str:
    """Return the message that a model was not made by this package."""
    return (
        f"{shown} was not made by lslm: a run whose config sets job.registered_model registers its "
        "model; lslm import reads models of Hugging Face"
    )


def folder_of(tags: dict[str, str], name: str, unique: str) -> Path:
    """Return the folder for a copy of a model, whose names may be any text in MLflow."""
    short = unique.removeprefix("m-")[:8]
    return Path(as_name(tags.get(TASK, "models")), f"{as_name(name)}-{as_name(short)}")


def existing(client: "MlflowClient", store: Store, name: str) -> "RegisteredModel":
    """Return a registered model.

    Raises:
        ValueError: there is none of this name; the message names a similar one.
    """
    model = unless_missing(store, lambda: client.get_registered_model(name))
    if model is not None:
        return model
    found = store.request(lambda: client.search_registered_models(max_results=MOST_NAMES))
    names = [each.name for each in found]
    near = get_close_matches(name, names, 1)
    others = f"did you mean {near[0]}?" if near else known_names(names)
    raise ValueError(f"MLflow at {store} has no registered model {name!r}; {others}")


def version_number(
    client: "MlflowClient",
    store: Store,
    model: "RegisteredModel",
    alias: str | None,
    version: str | None,
) -> str:
    """Return the number of the version that an alias, a number or "latest" selects.

    Raises:
        ValueError: there is no such version.
    """
    if alias:
        if alias in model.aliases:
            return str(model.aliases[alias])
        others = known_names(f"@{each}" for each in model.aliases)
        raise ValueError(f"{SCHEME}{model.name} has no alias @{alias}; {others}")
    numbers = store.request(
        lambda: sorted(int(each.version) for each in versions_of(client, model.name))
    )
    if version == LATEST and numbers:
        return str(numbers[-1])
    if version is not None and version.isdecimal() and int(version) in numbers:
        return str(int(version))
    others = known_names(map(str, numbers))
    raise ValueError(f"{SCHEME}{model.name} has no version {version}; {others}")


def known_names(names: Iterable[str]) -> str:
    """Return a phrase with the last ten of some names."""
    listed = list(names)
    shown = ", ".join([*(["..."] if len(listed) > 10 else []), *listed[-10:]])
    return f"it has {shown}" if listed else "it has none"


def unless_missing(store: Store, question: Callable[[], T]) -> T | None:
    """Return the answer of MLflow to `question`; None if it says that there is no such thing.

    Raises:
        TrackingError: MLflow refused, or did not answer.
    """
    from mlflow.exceptions import MlflowException

    def ask() -> T | None:
        try:
            return question()
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    return store.request(ask)


def has_weights(directory: RunDirectory, digest: str | None) -> bool:
    """Return whether the best checkpoint of a run directory is the one with a digest."""
    try:
        return digest is None or weights_digest(directory.best) == digest
    except OSError:
        return False


def fetch_files(store: Store, found: RegisteredRun, draft: Path) -> None:
    """Download the run in a model's files into the folder `draft`.

    Raises:
        ValueError: the model has no such files.
    """
    from mlflow.artifacts import download_artifacts

    assert found.location is not None  # else there is nothing to download
    store.check_artifacts(found.location)
    uri = f"{found.location.rstrip('/')}/{IN_MODEL}"
    try:
        path = download_artifacts(artifact_uri=uri, dst_path=str(draft), tracking_uri=store.uri)
        for each in Path(path).iterdir():
            shutil.move(each, draft / each.name)
    except Exception as error:
        raise ValueError(
            f"the files of {found.shown} cannot be read: {store.explain(error)}"
        ) from None
