"""Stores to track runs in."""

import shutil
from pathlib import Path

import pytest

from lslm_lightning.tracking import Store


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with tables and nothing in them; they take seconds to make."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{file}").client()
    return file


@pytest.fixture
def store(project: Path, new_store: Path) -> Path:
    """The project's own store, as yet empty."""
    return Path(shutil.copy(new_store, project))


@pytest.fixture(params=["sqlite", "server"])
def address(request: pytest.FixtureRequest) -> str:
    """Both kinds of store."""
    return f"sqlite:///{request.getfixturevalue('store')}" if request.param == "sqlite" else request.getfixturevalue("server")


@pytest.fixture
def run_directory(project: Path) -> Path:
    folder = project / "runs" / "toy" / "first-1a2b"
    folder.mkdir(parents=True)
    return folder
