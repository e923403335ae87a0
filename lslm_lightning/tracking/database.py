"""The SQLite file of an MLflow store: created and migrated in a draft, updated after a move."""

import json
import logging
import os
import shlex
import shutil
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from lslm_lightning.safety.user_files import permit_as_usual

log = logging.getLogger(__name__)

BUSY_SECONDS = 5.0  # to wait for another process that writes
LOCK_SECONDS = 120.0  # to wait for another process that makes or migrates the store
ARTIFACTS = "mlartifacts"  # the folder of artifacts beside the file
DAMAGE = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_NOTADB,
}
BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # whatever was asked


class DatabaseError(OSError):
    """The SQLite file cannot be used as a store; the message is one line with a way out."""


# Addresses


def uri_of(file: Path, query: str = "") -> str:
    """Return the address with which SQLAlchemy opens exactly this file.

    A `%` or `?` of the path must be quoted, and MLflow makes the parent folders of an address that
    begins with `sqlite:///` without unquoting it; it leaves one that names the driver alone.
    """
    path = file.as_posix() if os.name == "nt" else str(file)
    end = f"?{query}" if query else ""
    if not any(character in path for character in "%?"):
        return f"sqlite:///{path}{end}"
    from sqlalchemy.engine import make_url

    for quoted in (quote(path, safe="/:\\ #@"), path):  # SQLAlchemy before 2.1 unquotes nothing
        uri = f"sqlite+pysqlite:///{quoted}"
        if make_url(uri).database == path:
            return uri + end
    raise DatabaseError(f"{file}: this SQLAlchemy cannot open a path with `?`; rename the folder")


def location_of(folder: Path) -> str:
    """Return a folder as an MLflow artifact location: a path, or a URL if MLflow would misread the
    path.
    """
    return folder.as_uri() if any(character in str(folder) for character in "%?#") else str(folder)


def path_of(location: str) -> Path | None:
    """Return the folder of an MLflow artifact location; None if it is not a folder of this
    machine.
    """
    if location.startswith("file:"):
        return Path(url2pathname(urlsplit(location).path))
    return Path(location) if Path(location).is_absolute() else None


# Access


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Lock the file, so that no other process creates tables or experiments in it meanwhile.

    Raises:
        DatabaseError: another process held the lock for `LOCK_SECONDS`.
        OSError, sqlite3.Error: the file or its folder cannot be used; raised at once.
    """
    from filelock import FileLock, Timeout

    file = file.resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{file}.lock", timeout=LOCK_SECONDS):
            if file.exists():
                check_writable(file)
            yield
    except Timeout:
        waited = f"{file}.lock was held by another process for {LOCK_SECONDS:g} seconds"
        raise DatabaseError(f"{waited}: wait until it ends, or stop it, and try again") from None


def connect(file: Path) -> closing:
    """Return an SQLite connection to the file that a `with` statement closes."""
    return closing(sqlite3.connect(file, timeout=BUSY_SECONDS))


def check_writable(file: Path) -> None:
    """Raise sqlite3.Error unless this process can write to the file, or create it."""
    with connect(file) as connection:
        connection.execute("BEGIN IMMEDIATE")


def is_broken(error: BaseException) -> bool:
    """Return whether an error is SQLite's report that the file is damaged or not a database."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in BROKEN


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for errors raised by Python itself."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def check_address(uri: str) -> None:
    """Try to connect to an address once, since MLflow would retry for minutes.

    Raises:
        DatabaseError: an option of the address is unknown.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SAWarning
    from sqlalchemy.pool import NullPool

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)
            engine = create_engine(uri, poolclass=NullPool)
            engine.connect().close()
    except (SAWarning, TypeError, ValueError):
        options = uri.rpartition("?")[2]
        unknown = (
            f"MLFLOW_TRACKING_URI has an option that Python's SQLite does not support: `?{options}`"
        )
        raise DatabaseError(f"{unknown}; `?timeout=60` is one that it supports") from None


# Tables


def prepare(file: Path) -> None:
    """Create the store if there is none, and migrate one of an older MLflow.

    Both happen in a draft, which is renamed to the file when complete: a kill at any moment leaves
    the previous state. The caller holds the lock of `exclusive`.

    Raises:
        DatabaseError: the store is damaged, or of a newer MLflow; it is left unchanged.
        sqlite3.Error: the disk is full, or another process is writing.
    """
    from mlflow.store.db.utils import _get_latest_schema_revision

    file = file.resolve()  # a symbolic link stays one
    draft = file.with_name(f".{file.name}.draft")
    remove_database(draft)  # of a process that was killed
    tables, revision = schema_of(file)
    latest = _get_latest_schema_revision()
    if tables and revision == latest and not missing_tables(tables):
        return
    if revision and not is_known(revision):
        raise DatabaseError(
            f"{file} was made by a newer MLflow (its schema {revision} is unknown to this one): "
            "install that version, or set another MLFLOW_TRACKING_URI"
        )
    try:
        if tables:
            migrate(file, draft, revision)
        else:
            check_writable(draft)
            make_tables(draft)
            permit_as_usual(draft)  # SQLite lets nobody else write
            for beside in companions(file):  # SQLite would take them for those of the new file
                beside.unlink(missing_ok=True)
            replace(draft, file)
    finally:
        remove_database(draft)
    release(file)


def migrate(file: Path, draft: Path, revision: str | None) -> None:
    """Replace a store by a copy with the current tables; the old file is kept under another
    name.
    """
    with connect(file) as old:
        is_wal = old.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        if is_wal:  # its second file would be taken for that of the new store
            old.execute("PRAGMA journal_mode = DELETE")
        old.execute("BEGIN IMMEDIATE")  # nobody writes what the copy would not have
        with connect(file) as reader, connect(draft) as copy:
            reader.backup(copy)
        try:
            make_tables(draft)
        except sqlite3.Error as error:
            if primary_code(error) not in DAMAGE:
                raise
            raise DatabaseError(damage(file, str(error))) from None
        if lacking := missing_tables(schema_of(draft)[0]):
            raise DatabaseError(damage(file, f"it lacks the tables {', '.join(sorted(lacking))}"))
        if is_wal:
            with connect(draft) as copy:
                copy.execute("PRAGMA journal_mode = WAL")
        copy_owner(file, draft)
        kept = keep(file, f"{file.name}.{revision or 'unversioned'}")
        if os.name == "nt":  # which replaces no open file
            old.close()
        replace(draft, file)
    log.warning(
        "%s was migrated to the schema of the installed MLflow; its previous version is %s",
        file,
        kept,
    )


def make_tables(file: Path) -> None:
    """Create MLflow's tables in an SQLite file, or migrate existing ones.

    Raises:
        sqlite3.Error: they cannot be created, or the existing ones are not as MLflow left them.
    """
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
    from sqlalchemy import event
    from sqlalchemy.exc import DBAPIError

    engine = create_sqlalchemy_engine(uri_of(file))
    event.listen(engine, "connect", do_not_synchronize)
    try:
        with warnings.catch_warnings(action="ignore"):  # of the migrations, to their authors
            _initialize_tables(engine)
    except DBAPIError as error:
        raise error.orig if isinstance(error.orig, sqlite3.Error) else error from None
    finally:
        engine.dispose()


def do_not_synchronize(connection: sqlite3.Connection, record: object) -> None:
    """Turn off SQLite's own waiting for the disk; `replace` syncs a finished draft once."""
    connection.execute("PRAGMA synchronous = OFF")


def schema_of(file: Path) -> tuple[set[str], str | None]:
    """Return the names of the tables in an SQLite file and MLflow's schema revision; (empty, None)
    if there is no file.
    """
    if not file.exists():
        return set(), None
    with connect(file) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in rows}
        version = None
        if "alembic_version" in tables:
            version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return tables, version[0] if version else None


def missing_tables(tables: set[str]) -> set[str]:
    """Return the names of MLflow's tables that are not in `tables`."""
    from mlflow.store.db.utils import Base

    return set(Base.metadata.tables) - tables


def is_known(revision: str) -> bool:
    """Return whether the installed MLflow knows a schema revision."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from mlflow.store.db.utils import _get_alembic_config

    migrations = ScriptDirectory.from_config(_get_alembic_config(""))
    try:
        return migrations.get_revision(revision) is not None
    except CommandError:
        return False


def damage(file: Path, reason: str) -> str:
    """Return the error message for a damaged store: what is wrong, and how to set the file
    aside.
    """
    aside = free_name(file.with_name(f"{file.name}.damaged"))
    names = f"{shlex.quote(str(file))} {shlex.quote(str(aside))}"
    return (
        f"{file} is damaged, or left incomplete by a process that was killed"
        f" ({' '.join(reason.split())}){runs_inside(file)}. It was not changed. Set it aside by"
        f" `{'move' if os.name == 'nt' else 'mv'} {names}`: the next command makes a new store, and"
        " `lslm sync runs/*/*` uploads what the runs have on disk"
    )


def runs_inside(file: Path) -> str:
    """Return text such as ", and holds 12 runs" for a damaged store; empty if they cannot be
    counted.
    """
    try:
        with connect(file) as connection:
            number = connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
    except sqlite3.Error:
        return ""
    return f", and holds {number:,} runs" if number else ", and holds no runs"


# Files


def replace(draft: Path, file: Path) -> None:
    """Sync a finished draft to the disk and rename it to the file."""
    with draft.open("rb+") as opened:
        os.fsync(opened.fileno())
    draft.replace(file)


def keep(file: Path, name: str) -> Path:
    """Give a file a second name, with a number if that name is taken, and return its path."""
    path = file.with_name(name)
    if path.exists() and path.samefile(file):  # of a process that was killed
        return path
    path = free_name(path)
    try:
        os.link(file, path)
    except OSError:
        shutil.copy2(file, path)
    return path


def free_name(path: Path) -> Path:
    """Return the path, with a number appended if it exists."""
    number = 1
    found = path
    while found.exists():
        number, found = number + 1, path.with_name(f"{path.name}-{number}")
    return found


def companions(file: Path) -> list[Path]:
    """Return the paths of the journal files that SQLite keeps beside a database file."""
    return [file.with_name(f"{file.name}-{kind}") for kind in ("journal", "wal", "shm")]


def remove_database(file: Path) -> None:
    """Delete an SQLite file and its journal files."""
    for path in (file, *companions(file)):
        path.unlink(missing_ok=True)


def copy_owner(file: Path, draft: Path) -> None:
    """Copy the permissions of `file` to `draft`, and its owner if this process may."""
    shutil.copymode(file, draft)
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(draft, file.stat().st_uid, file.stat().st_gid)


def release(file: Path) -> None:
    """Close this process's connections to a file that has been replaced."""
    if module := sys.modules.get("mlflow.store.tracking.sqlalchemy_store"):
        for engine in getattr(module.SqlAlchemyStore, "_engine_map", {}).values():
            database = engine.url.database
            if database and Path(database).resolve() == file:
                engine.dispose()


# Moves


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


def forget_location(run_id: str) -> None:
    """Remove a run's artifact location from the cache that MLflow keeps in this process."""
    if module := sys.modules.get("mlflow.tracking._tracking_service.utils"):
        getattr(module, "_artifact_repos_cache", {}).pop(run_id, None)


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


def record_of(directory: Path) -> dict[str, Any]:
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
