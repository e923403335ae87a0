"""Stores to track runs in."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def store(project: Path, empty_store: Path) -> Path:
    """The project's own store, as yet empty."""
    return Path(shutil.copy(empty_store, project))


@pytest.fixture(params=["sqlite", pytest.param("server", marks=pytest.mark.slow)])
def address(request: pytest.FixtureRequest) -> str:
    """Both kinds of store."""
    return (
        f"sqlite:///{request.getfixturevalue('store')}"
        if request.param == "sqlite"
        else request.getfixturevalue("server")
    )


@pytest.fixture
def run_directory(project: Path) -> Path:
    folder = project / "runs" / "toy" / "first-1a2b"
    folder.mkdir(parents=True)
    return folder
