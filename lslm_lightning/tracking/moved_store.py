"""Update of a store that was moved or copied with its project folder."""

import json
import logging
import sqlite3
from contextlib import suppress
from pathlib import Path

from lslm_lightning.tracking.database import ARTIFACTS, connect, location_of, path_of
from lslm_lightning.tracking.mlflow_internals import forget_location
from lslm_lightning.types import JsonObject

log = logging.getLogger(__name__)


def repoint(file: Path, artifacts: Path) -> None:
    """Update a store that was moved or copied with its project folder, so that it refers to the new
    folder.

    Experiments of this package whose artifacts were in another project's folder get the folder
    beside the file, and so do their runs, unless their artifacts exist only in the old folder. The
    recorded directory of a run is updated if the run is in the new one. The caller holds the lock
    of `exclusive`.
    """
    project = artifacts.parent
    with connect(file) as store, store:
        query = "SELECT experiment_id, name, artifact_location FROM experiments"
        for number, name, location in store.execute(query).fetchall():
            here = location_of(artifacts / name)
            if before := other_project(path_of(location or ""), name, project):
                query = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
                store.execute(query, (here, number))
                log.warning(
                    "%s was moved or copied here from %s: artifacts are now stored in %s",
                    *(file, before, artifacts / name),
                )
            query = "SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = ?"
            query += " AND substr(artifact_uri, 1, ?) != ?"
            for run_id, uri in store.execute(query, (number, len(here) + 1, f"{here}/")).fetchall():
                repoint_run(store, project, run_id, path_of(uri or ""), name)


def adopt_run(file: Path, artifacts: Path, run_id: str) -> None:
    """Move the artifact location of a resumed run to the folder beside the file; missing artifacts
    are uploaded again. The caller holds the lock of `exclusive`.
    """
    query = "SELECT artifact_uri, experiments.name FROM runs JOIN experiments USING (experiment_id)"
    with connect(file) as store, store:
        rows = store.execute(f"{query} WHERE run_uuid = ?", (run_id,)).fetchall()
        for uri, name in rows:
            repoint_run(store, artifacts.parent, run_id, path_of(uri or ""), name, is_here=True)


def repoint_run(
    store: sqlite3.Connection,
    project: Path,
    run_id: str,
    folder: Path | None,
    name: str,
    is_here: bool = False,
) -> None:
    """Update the artifact location and the directory of one run of the experiment `name` to those
    in `project`.

    Args:
        is_here: update the artifact location even if the artifacts exist only in the old one.
    """
    before = folder and other_project(folder.parent.parent, name, project)
    if not folder or not before:
        return
    moved = project / folder.relative_to(before)
    if is_here or moved.exists() or not folder.exists():
        query = "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?"
        store.execute(query, (location_of(moved), run_id))
        forget_location(run_id)
    query = "SELECT value FROM tags WHERE run_uuid = ? AND key = 'lslm.directory'"
    for (value,) in store.execute(query, (run_id,)).fetchall():
        if Path(value).is_relative_to(before):
            directory = project / Path(value).relative_to(before)
            if record_of(directory).get("run_id") == run_id:
                query = "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'lslm.directory'"
                store.execute(query, (str(directory), run_id))


def other_project(folder: Path | None, name: str, project: Path) -> Path | None:
    """Return the project folder, other than `project`, that artifacts of the experiment `name` in
    `folder` belong to; None if there is none.
    """
    inside = Path(ARTIFACTS) / name
    depth = len(inside.parts)
    if folder is None or folder.parts[-depth:] != inside.parts:
        return None
    found = folder.parents[depth - 1]
    return None if found.resolve() == project.resolve() else found


def record_of(directory: Path) -> JsonObject:
    """Return the content of a run directory's mlflow.json; empty if it cannot be read."""
    with suppress(OSError, ValueError):
        return dict(json.loads((directory / "mlflow.json").read_text(encoding="utf-8")))
    return {}


def has_run(file: Path, run_id: str) -> bool:
    """Return whether a store contains a run."""
    query = "SELECT 1 FROM runs WHERE run_uuid = ?"
    try:
        with connect(file) as connection:
            return connection.execute(query, (run_id,)).fetchone() is not None
    except sqlite3.Error:
        return False
