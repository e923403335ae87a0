"""Update of a store that was moved or copied with its project folder."""

import json
import logging
import sqlite3
from contextlib import suppress
from pathlib import Path

from lslm_lightning.run_files import RECORD
from lslm_lightning.tracking.database import ARTIFACTS, connect, location_of, path_of
from lslm_lightning.tracking.mlflow_internals import forget_location
from lslm_lightning.types import JsonObject

log = logging.getLogger(__name__)

LOCATIONS = (  # tables and columns with addresses of the files of models
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def repoint(file: Path, artifacts: Path) -> None:
    """Update a store that was moved or copied with its project folder to refer to the new folder.

    If artifacts of an experiment of this package were in another project's folder, the experiment
    and its runs now use the folder `artifacts`; runs whose artifacts exist only in the old folder
    keep it. The recorded directory of a run is updated if the run is in the new project. The caller
    must hold the lock of `exclusive`.

    Args:
        file: SQLite file of the store.
        artifacts: folder of artifacts beside the file.
    """
    project = artifacts.parent
    with connect(file) as store, store:
        query = "SELECT experiment_id, name, artifact_location FROM experiments"
        for number, name, location in store.execute(query).fetchall():
            here = location_of(artifacts / name)
            if before := other_project(path_of(location or ""), name, project):
                query = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
                store.execute(query, (here, number))
                repoint_models(store, location, here)
                log.warning(
                    "%s was moved or copied here from %s: artifacts are now stored in %s",
                    *(file, before, artifacts / name),
                )
            query = "SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = ?"
            query += " AND substr(artifact_uri, 1, ?) != ?"
            for run_id, uri in store.execute(query, (number, len(here) + 1, f"{here}/")).fetchall():
                repoint_run(store, project, run_id, path_of(uri or ""), name)


def repoint_models(store: sqlite3.Connection, before: str, here: str) -> None:
    """Update the locations of the files of an experiment's models, registered or not. Those whose
    files exist only in the old folder keep it.

    Args:
        store: connection to the SQLite file of the store.
        before: artifact location of the experiment until now.
        here: its artifact location from now on.
    """
    for table, column in LOCATIONS:
        query = f"SELECT DISTINCT {column} FROM {table} WHERE substr({column}, 1, ?) = ?"
        for (old,) in store.execute(query, (len(before) + 1, f"{before}/")).fetchall():
            new = here + old[len(before) :]
            old_path, new_path = path_of(old), path_of(new)
            if (new_path and new_path.exists()) or not (old_path and old_path.exists()):
                query = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"
                store.execute(query, (new, old))
                if new_path is not None:
                    forget_location(new_path.parent.name)  # .../<id of the model>/artifacts


def adopt_run(file: Path, artifacts: Path, run_id: str) -> None:
    """Set the artifact location of a resumed run to a folder inside `artifacts`.

    Files are not moved; those missing there are uploaded again later. A run of this project is left
    unchanged. The caller must hold the lock of `exclusive`.

    Args:
        file: SQLite file of the store.
        artifacts: folder of artifacts beside the file.
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
    """Update the artifact location and the recorded directory of one run to those inside `project`.

    Args:
        store: connection to the SQLite file of the store.
        project: folder that contains the store now.
        folder: current artifact location of the run.
        name: name of the run's experiment.
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
    """Return the project folder to which an artifact folder of an experiment belongs.

    The result is None if this is `project` itself, or if `folder` is not such an artifact folder.

    Args:
        folder: folder of the experiment's artifacts.
        name: name of the experiment.
    """
    inside = Path(ARTIFACTS) / name
    depth = len(inside.parts)
    if folder is None or folder.parts[-depth:] != inside.parts:
        return None
    found = folder.parents[depth - 1]
    return None if found.resolve() == project.resolve() else found


def record_of(directory: Path) -> JsonObject:
    """Return the contents of `mlflow.json` in a run directory; empty if it cannot be read."""
    with suppress(OSError, ValueError):
        return dict(json.loads((directory / RECORD).read_text(encoding="utf-8")))
    return {}


def has_run(file: Path, run_id: str) -> bool:
    """Return whether the store in the SQLite file contains a run."""
    query = "SELECT 1 FROM runs WHERE run_uuid = ?"
    try:
        with connect(file) as connection:
            return connection.execute(query, (run_id,)).fetchone() is not None
    except sqlite3.Error:
        return False
