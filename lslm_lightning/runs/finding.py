"""Search for run directories by path, checkpoint, pattern, MLflow run id or registered model."""

import glob
import json
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.run_files import CONFIG
from lslm_lightning.runs.config import config_to_build
from lslm_lightning.runs.directory import RunDirectory, as_name
from lslm_lightning.runs.registered import (
    RegisteredRun,
    fetch_files,
    has_weights,
    is_registered,
    look_up,
    unless_missing,
)
from lslm_lightning.runs.states import META
from lslm_lightning.safety.paths import did_you_mean
from lslm_lightning.tracking import Store
from lslm_lightning.tracking.database import check_exists
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


RUN_ID = re.compile("[0-9a-f]{4,32}")  # an MLflow run id, or its first characters


@dataclass(frozen=True)
class FoundRun:
    """Run that a reference names.

    Args:
        directory: directory of the run.
        named_checkpoint: absolute path of the checkpoint that the reference names; None if it names
            the run.
        pattern: pattern that selected the run; "" for another reference.
        n_match: number of suitable runs that match the pattern.
    """

    directory: RunDirectory
    named_checkpoint: Path | None = None
    pattern: str = ""
    n_match: int = 1

    @property
    def path(self) -> Path:
        """Path of the checkpoint that the reference names, else of the run directory."""
        return self.named_checkpoint or self.directory.path

    @property
    def checkpoint(self) -> Path:
        """Path of the named checkpoint, else of the best one; see `RunDirectory.checkpoint`."""
        return self.named_checkpoint or self.directory.checkpoint()

    @cached_property
    def config(self) -> JsonObject:
        """Configuration of the run, read once; see `config_to_build`."""
        return config_to_build(self.directory.config)

    def __str__(self) -> str:
        if not self.pattern:
            return f"run {self.path}"
        rank = (
            f"the newest of {self.n_match:,}" if self.n_match > 1 else "the only one that matches"
        )
        return f"run {self.pattern}: chose {self.path}, {rank}"


def find_run(reference: str | Path, root: str | Path = "runs", is_tested: bool = False) -> FoundRun:
    """Return the run that a reference names.

    Args:
        reference: a run directory, a file or checkpoint folder inside one, an MLflow run id or its
            beginning (at least 4 characters), a registered model such as `models:/NAME@best`, or a
            pattern such as `runs/translation/cldr_demo-*`, which selects the newest match; `*` is
            any text, `?` any character.
        root: folder of runs. If the directory of an MLflow run is not on this machine, its
            artifacts are downloaded there.
        is_tested: let a pattern select among runs with test scores, instead of those with a
            checkpoint.

    Raises:
        ValueError: there is no such run, or more than one.
        TrackingError: MLflow does not answer.
    """
    if is_registered(reference):
        return FoundRun(find_registered(str(reference), Path(root)))
    path = Path(reference).expanduser()
    if path.exists():
        checkpoint = path.absolute() if path.is_file() or (path / META).exists() else None
        for folder in [path] if checkpoint is None else checkpoint.parents:
            if (found := RunDirectory(folder)).config.is_file():
                return FoundRun(found, checkpoint)
        raise ValueError(f"{path} is not a run directory: it has no {CONFIG}")
    if is_pattern(reference):
        return newest_match(str(reference), is_tested)
    if RUN_ID.fullmatch(str(reference)):
        return FoundRun(find_in_mlflow(str(reference), Path(root)))
    suggestion = did_you_mean(path, (file.parent for file in Path(root).glob(f"*/*/{CONFIG}")))
    ways = "; lslm run trains one, lslm ui lists those of MLflow"
    raise ValueError(
        f"there is no run {str(reference)!r}: a run is a directory like {root}/<task>/<name>, an "
        f"MLflow run id, or a registered model (models:/NAME@best){suggestion or ways}"
    )


def is_pattern(reference: str | Path) -> bool:
    """Return whether a reference is a pattern with `*` or `?`, and not a path or an id."""
    return bool({"*", "?"} & {*str(reference)})


def newest_match(pattern: str, is_tested: bool) -> FoundRun:
    """Return the newest run that matches a pattern.

    Args:
        is_tested: select among runs with test scores, instead of those with a checkpoint.

    Raises:
        ValueError: no such run directory matches.
    """
    matches = [RunDirectory(Path(path)) for path in glob.glob(str(Path(pattern).expanduser()))]
    found = [
        run
        for run in matches
        if run.config.is_file()
        and (run.metrics.exists() if is_tested else any(run.checkpoints.glob("*.ckpt")))
    ]
    if not found:
        if is_tested:
            raise ValueError(
                f"no run that was tested matches {pattern!r}; test one first with lslm test "
                "--config RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt, or name another"
            )
        raise ValueError(
            f"no run with a checkpoint matches {pattern!r}; train one first, or name another"
        )
    newest = max(found, key=lambda run: run.config.stat().st_mtime)
    return FoundRun(newest, None, pattern, len(found))


def find_in_mlflow(prefix: str, root: Path) -> RunDirectory:
    """Return the directory of the only MLflow run whose id begins with `prefix`.

    If the directory is not on this machine, its artifacts are downloaded to a folder inside `root`.

    Raises:
        ValueError: there is no such run, or more than one.
    """
    store, client = opened_store()
    found = store.request(lambda: search(client, prefix))
    if len(found) != 1:
        what = "no run" if not found else "more than one run"
        raise ValueError(
            f"MLflow at {store} has {what} whose id begins with {prefix!r}; see `lslm ui`"
        )
    return directory_of(client, store, found[0], root)


def opened_store() -> "tuple[Store, MlflowClient]":
    """Return the user's store and a client of it.

    Raises:
        TrackingError: the store does not exist, or cannot be used.
    """
    store = Store()
    check_exists(store.file)
    return store, store.client()


def directory_of(client: "MlflowClient", store: Store, run: "Run", root: Path) -> RunDirectory:
    """Return the directory of an MLflow run: where the run was made, or else a copy of its
    artifacts inside `root`, which are downloaded unless they were before.

    Raises:
        ValueError: the artifacts contain no config.yaml.
    """
    here = RunDirectory(Path(run.data.tags.get("lslm.directory", "/")))
    if is_here(run):
        return here
    experiment = store.request(lambda: client.get_experiment(run.info.experiment_id)).name
    store.check_artifacts(run.info.artifact_uri)
    folder = root.absolute() / as_name(experiment)  # an MLflow name may be any text, even ../../x
    copy = RunDirectory(folder / f"{as_name(here.path.name or 'run')}-{run.info.run_id[:8]}")
    make_folder(copy.path, partial(fetch, client, run))
    return copy


def is_here(run: "Run") -> bool:
    """Return whether the directory that an MLflow run names is on this machine."""
    here = RunDirectory(Path(run.data.tags.get("lslm.directory", "/")))
    return here.config.is_file() and bool(here.run_id == run.info.run_id)


def find_registered(reference: str, root: Path) -> RunDirectory:
    """Return the directory of the run of a registered model, with the checkpoint that was
    registered.

    If the directory is not on this machine, or has another best checkpoint by now, the model's own
    files are downloaded to a folder inside `root`; of a model without any, those of the run.

    Raises:
        ValueError: there is no such model, version or alias, or it was not made by this package.
        TrackingError: MLflow does not answer.
    """
    store, client = opened_store()
    found = look_up(client, store, reference)
    run = unless_missing(store, lambda: client.get_run(found.run_id))
    is_active = run is not None and run.info.lifecycle_stage == "active"
    if run is not None and is_active and (found.location is None or is_here(run)):
        directory = directory_of(client, store, run, root)
        if has_weights(directory, found.checkpoint):
            return directory
    if found.location is None:
        raise ValueError(
            f"{found.shown} has no files of its own, and its run is deleted or has another best "
            "checkpoint by now; name the run itself, or register a model (job.registered_model)"
        )
    copy = RunDirectory(root.absolute() / found.folder)
    is_new = make_folder(copy.path, partial(fetch_registered, store, found))
    if not is_new and not has_weights(copy, found.weights):
        raise ValueError(
            f"{copy.path} has other weights than {found.shown}, of which it was a copy; move it "
            "away to fetch the model again, or name the folder itself"
        )
    return copy


def search(client: "MlflowClient", prefix: str) -> "list[Run]":
    """Return the MLflow runs whose ids begin with `prefix`, at most two."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(
        client.search_runs(experiments, f"attributes.run_id LIKE '{prefix}%'", max_results=2)
    )


def fetch(client: "MlflowClient", run: "Run", folder: Path) -> None:
    """Download the artifacts of a run to a folder.

    Raises:
        ValueError: the artifacts contain no config.yaml.
    """
    draft = RunDirectory(folder)
    client.download_artifacts(run.info.run_id, "", str(folder))
    if not draft.config.is_file():
        raise ValueError(
            f"the MLflow run {run.info.run_id} has no {CONFIG}: it is not a training run, or "
            "stopped before it began"
        )
    draft.record.write_text(json.dumps({"run_id": run.info.run_id}) + "\n")


def fetch_registered(store: Store, found: RegisteredRun, folder: Path) -> None:
    """Download the files of a registered model to a folder.

    Raises:
        ValueError: they cannot be read, are no run, or have other weights than were registered.
    """
    fetch_files(store, found, folder)
    if not RunDirectory(folder).config.is_file():
        raise ValueError(f"the files of {found.shown} have no {CONFIG}")
    if not has_weights(RunDirectory(folder), found.weights):
        raise ValueError(
            f"the files of {found.shown} have other weights than those that were registered; "
            "register the model anew, or name another version"
        )


def make_folder(path: Path, fill: Callable[[Path], None]) -> bool:
    """Make a folder that appears only when it is complete, unless it exists, and return whether it
    is new. Of processes that want it at once, one makes it, and the others wait.

    Args:
        fill: writes the content of the folder; if it raises an error, nothing is left.
    """
    from filelock import FileLock

    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".fetch-{secrets.token_hex(4)}")
    lock = path.with_name(f".{path.name}.lock")
    with FileLock(lock):
        try:
            if path.exists():
                return False
            draft.mkdir()  # mkdtemp would ignore the user's umask
            fill(draft)
            return is_first(draft, path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            with suppress(OSError):
                lock.unlink()  # who waits for it has the file, and finds the folder


def is_first(draft: Path, path: Path) -> bool:
    """Rename a folder and return True, or return False if another process has made it meanwhile,
    as one on another machine may.
    """
    try:
        draft.rename(path)
    except OSError:
        if not path.exists():
            raise
        return False
    return True
