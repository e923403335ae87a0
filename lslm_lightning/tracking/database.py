"""SQLite file of an MLflow store: creation, migration and access."""

import logging
import os
import shlex
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from lslm_lightning.safety.user_files import permit_as_usual
from lslm_lightning.tracking import mlflow_internals

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
BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # for any statement


class DatabaseError(OSError):
    """The SQLite file cannot be used as a store; the message is one line and suggests a
    solution.
    """


# Addresses


def uri_of(file: Path, query: str = "") -> str:
    """Return the address by which SQLAlchemy opens exactly this file.

    A `%` or `?` in the path must be quoted. MLflow creates the parent folders of an address that
    begins with `sqlite:///` without unquoting it, but not those of an address that names the
    driver; the latter is returned for such paths.

    Args:
        query: options for SQLite, without "?".
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
    """Return the MLflow artifact location for a folder: its path, or a URL if MLflow would misread
    the path.
    """
    return folder.as_uri() if any(character in str(folder) for character in "%?#") else str(folder)


def path_of(location: str) -> Path | None:
    """Return the folder that an MLflow artifact location denotes; None if it is not on this
    machine.
    """
    if location.startswith("file:"):
        return Path(url2pathname(urlsplit(location).path))
    return Path(location) if Path(location).is_absolute() else None


# Access


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Lock the file inside the context, so that no other process creates tables or experiments in
    it.

    Raises:
        DatabaseError: another process held the lock for `LOCK_SECONDS`.
        OSError, sqlite3.Error: the file or its folder cannot be used; raised without waiting.
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
    """Return an SQLite connection to the file; a `with` statement closes the connection at its
    end.
    """
    return closing(sqlite3.connect(file, timeout=BUSY_SECONDS))


def check_writable(file: Path) -> None:
    """Raise sqlite3.Error unless this process can write to the file, or create it."""
    with connect(file) as connection:
        connection.execute("BEGIN IMMEDIATE")


def is_broken(error: BaseException) -> bool:
    """Return whether an error is a report of SQLite that a file is damaged or is not a database."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in BROKEN


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for errors raised by Python itself."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def check_address(uri: str) -> None:
    """Connect to an address once, to find errors that MLflow would meet with minutes of retries.

    Raises:
        DatabaseError: the address has an unknown option.
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


def check_exists(file: Path | None) -> None:
    """Check that a store to read runs from is there; None stands for a store that is no file.

    Raises:
        ValueError: the file does not exist.
    """
    if file and not file.exists():
        raise ValueError(
            f"there are no runs here: {file} does not exist; run this in the folder where you "
            "trained"
        )


def prepare(file: Path) -> None:
    """Create the store if there is none, and migrate a store of an older MLflow.

    Both happen in a draft, which replaces the file when complete; a process killed at any moment
    leaves the previous store. The caller must hold the lock of `exclusive`.

    Raises:
        DatabaseError: the store is damaged, or was made by a newer MLflow; it is left unchanged.
        sqlite3.Error: the disk is full, or another process is writing.
    """
    file = file.resolve()  # keeps a symbolic link
    draft = file.with_name(f".{file.name}.draft")
    remove_database(draft)  # left by a killed process
    tables, revision = schema_of(file)
    latest = mlflow_internals.latest_revision()
    if tables and revision == latest and not (mlflow_internals.table_names() - tables):
        return
    if revision and not mlflow_internals.is_known_revision(revision):
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
            permit_as_usual(draft)  # SQLite would deny others
            for beside in companions(file):  # SQLite would take them for those of the new file
                beside.unlink(missing_ok=True)
            replace(draft, file)
    finally:
        remove_database(draft)
    mlflow_internals.close_connections(file)


def migrate(file: Path, draft: Path, revision: str | None) -> None:
    """Replace a store by a copy with MLflow's current tables; the old file is kept under another
    name.

    Args:
        draft: path where the copy is built.
        revision: MLflow's schema revision of the old store, which becomes part of its new name.
    """
    with connect(file) as old:
        is_wal = old.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        if is_wal:  # its second file would be taken for that of the new store
            old.execute("PRAGMA journal_mode = DELETE")
        old.execute("BEGIN IMMEDIATE")  # no writes that the copy would miss
        with connect(file) as reader, connect(draft) as copy:
            reader.backup(copy)
        try:
            make_tables(draft)
        except sqlite3.Error as error:
            if primary_code(error) not in DAMAGE:
                raise
            raise DatabaseError(damage(file, str(error))) from None
        if lacking := mlflow_internals.table_names() - schema_of(draft)[0]:
            raise DatabaseError(damage(file, f"it lacks the tables {', '.join(sorted(lacking))}"))
        if is_wal:
            with connect(draft) as copy:
                copy.execute("PRAGMA journal_mode = WAL")
        copy_owner(file, draft)
        kept = keep(file, f"{file.name}.{revision or 'unversioned'}")
        if os.name == "nt":  # Windows cannot replace an open file
            old.close()
        replace(draft, file)
    log.warning(
        "%s was migrated to the schema of the installed MLflow; its previous version is %s",
        file,
        kept,
    )


def make_tables(file: Path) -> None:
    """Create MLflow's tables in an SQLite file, or migrate existing tables.

    Raises:
        sqlite3.Error: tables cannot be created, or existing ones are not as MLflow left them.
    """
    mlflow_internals.create_tables(uri_of(file))


def schema_of(file: Path) -> tuple[set[str], str | None]:
    """Return the table names in an SQLite file and MLflow's schema revision.

    The result is (empty set, None) if there is no file.
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


def damage(file: Path, reason: str) -> str:
    """Return the error message for a damaged store: the reason, and how to set the file aside."""
    aside = free_name(file.with_name(f"{file.name}.damaged"))
    names = f"{shlex.quote(str(file))} {shlex.quote(str(aside))}"
    return (
        f"{file} is damaged, or left incomplete by a process that was killed"
        f" ({' '.join(reason.split())}){runs_inside(file)}. It was not changed. Set it aside by"
        f" `{'move' if os.name == 'nt' else 'mv'} {names}`: the next command makes a new store, and"
        " `lslm sync runs/*/*` uploads what the runs have on disk"
    )


def runs_inside(file: Path) -> str:
    """Return a phrase on the number of runs in a damaged store, such as ", and holds 12 runs"; ""
    if they cannot be counted.
    """
    try:
        with connect(file) as connection:
            number = connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
    except sqlite3.Error:
        return ""
    return f", and holds {number:,} runs" if number else ", and holds no runs"


# Files


def replace(draft: Path, file: Path) -> None:
    """Flush a finished draft to the disk and rename it to `file`."""
    with draft.open("rb+") as opened:
        os.fsync(opened.fileno())
    draft.replace(file)


def keep(file: Path, name: str) -> Path:
    """Give a file the second name `name`, and return the new path.

    A number is appended if another file has that name.
    """
    path = file.with_name(name)
    if path.exists() and path.samefile(file):  # left by a killed process
        return path
    path = free_name(path)
    try:
        os.link(file, path)
    except OSError:
        shutil.copy2(file, path)
    return path


def free_name(path: Path) -> Path:
    """Return the path, with a number appended if a file of that name exists."""
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
