"""Stores of earlier releases of MLflow."""

from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db import utils
from sqlalchemy import event

from lslm_lightning.tracking.mlflow_internals import do_not_synchronize


def make_older_store(file: Path, n_migration: int) -> Path:
    """A store without the last migrations, and without anything in it."""
    config = utils._get_alembic_config(f"sqlite:///{file}")
    revisions = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{file}")
    event.listen(engine, "connect", do_not_synchronize)
    utils.InitialBase.metadata.create_all(engine)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revisions[n_migration])
    engine.dispose()
    return file
