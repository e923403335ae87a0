"""Every test has a cache, a store and a working directory of its own where it asks for them."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, where runs and MLflow's store go."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real corpora; without one the test is skipped."""
    folder = os.environ.get("LSLM_DATA")
    if not folder:
        pytest.skip("needs real corpora: set LSLM_DATA to a folder that holds them")
    return Path(folder)
