"""Functions that use private or undocumented names of MLflow, as of mlflow 3.17.2.

MLflow is imported inside of functions, since importing it takes seconds. A test checks that the
installed version has all names in `INTERNAL_NAMES`.
"""

import sqlite3
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

INTERNAL_NAMES = (
    "mlflow.store.db.utils:_get_latest_schema_revision",
    "mlflow.store.db.utils:_get_alembic_config",
    "mlflow.store.db.utils:_initialize_tables",
    "mlflow.store.db.utils:create_sqlalchemy_engine",
    "mlflow.store.db.utils:Base.metadata.tables",
    "mlflow.store.tracking.sqlalchemy_store:SqlAlchemyStore._engine_map",
    "mlflow.tracking._tracking_service.utils:_artifact_repos_cache",
    "mlflow.system_metrics.metrics.base_metrics_monitor:BaseMetricsMonitor.collect_metrics",
    "mlflow.system_metrics.metrics.cpu_monitor:CPUMonitor",
    "mlflow.system_metrics.metrics.disk_monitor:DiskMonitor",
    "mlflow.system_metrics.metrics.gpu_monitor:GPUMonitor",
    "mlflow.system_metrics.metrics.network_monitor:NetworkMonitor",
)


@cache
def latest_revision() -> str:
    """Return the revision of the database schema that the installed MLflow uses."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    return str(_get_latest_schema_revision())


def is_known_revision(revision: str) -> bool:
    """Return whether the installed MLflow knows this revision of its database schema."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from mlflow.store.db.utils import _get_alembic_config

    migrations = ScriptDirectory.from_config(_get_alembic_config(""))
    try:
        return migrations.get_revision(revision) is not None
    except CommandError:
        return False


def table_names() -> set[str]:
    """Return the names of the tables that the installed MLflow uses."""
    from mlflow.store.db.utils import Base

    return set(Base.metadata.tables)


def create_tables(uri: str) -> None:
    """Create MLflow's tables in an SQLite database, or migrate existing tables.

    SQLite does not wait for the disk after each change.

    Raises:
        sqlite3.Error: tables cannot be created, or existing ones are not as MLflow left them.
    """
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
    from sqlalchemy import event
    from sqlalchemy.exc import DBAPIError

    engine = create_sqlalchemy_engine(uri)
    event.listen(engine, "connect", do_not_synchronize)
    try:
        with warnings.catch_warnings(action="ignore"):  # they are meant for MLflow's authors
            _initialize_tables(engine)
    except DBAPIError as error:
        raise error.orig if isinstance(error.orig, sqlite3.Error) else error from None
    finally:
        engine.dispose()


def do_not_synchronize(connection: sqlite3.Connection, record: object) -> None:
    """Turn off SQLite's waiting for the disk, since a finished draft is flushed as a whole."""
    connection.execute("PRAGMA synchronous = OFF")


def close_connections(file: Path) -> None:
    """Close this process's connections to a database file that has been replaced."""
    if module := sys.modules.get("mlflow.store.tracking.sqlalchemy_store"):
        for engine in getattr(module.SqlAlchemyStore, "_engine_map", {}).values():
            database = engine.url.database
            if database and Path(database).resolve() == file:
                engine.dispose()


def forget_location(run_id: str) -> None:
    """Remove a run's artifact location from the cache that MLflow keeps in this process."""
    if module := sys.modules.get("mlflow.tracking._tracking_service.utils"):
        getattr(module, "_artifact_repos_cache", {}).pop(run_id, None)


def system_monitors() -> list[type["BaseMetricsMonitor"]]:
    """Return MLflow's classes that measure processor, disk, network and GPU."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    return [CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor]
