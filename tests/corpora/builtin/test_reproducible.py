"""Built-in corpora are the same on every machine and every Python that has the packages of
constraints.txt; with other packages they say that scores do not compare.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from lslm_lightning.corpora.builtin import cldr, docstrings
from lslm_lightning.corpora.builtin.cache import rows_digest
from lslm_lightning.corpora.builtin.versions import comparability, installed_versions
from lslm_lightning.corpora.lookup import open_corpus
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[3]
PINNED = dict(
    line.lower().replace("_", "-").split("==")
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    if "==" in line
)
PACKAGES = {**docstrings.PACKAGES, **cldr.PACKAGES}
DIGESTS = {
    "cldr": {
        "test": "1ca417723293ef2663b334826877db267586ac67a43d9fd54a69c17bc7bc5ad8",
        "val": "52b3e4c360b03e46d549e6e66c40d506512e0180243a91e6dfb84c4dc687d193",
        "train": "ea2a75948a179d2dd3e1c9926e0193b6b7ce3ea5e36744e8343866e8a3e9a9c7",
    },
    "docstrings": {
        "test": "8a6dd8ae9da0284896a9ca02b15036d47d2426ab639662d9670b626261d6cc9b",
        "val": "bf69cd3db6dad3e1ffdd4e14644e8ea0c5b2f7db5beb03f7f5b3022c14be45bf",
        "train": "ef544b40bcfb26db027dff187faa30236cc6d2ba93dbe1d87eb2d0c9dddacce1",
    },
}
"""SHA-256 of the rows under constraints.txt."""

MAKE = """
import json, sys, types
sys.path += json.loads(sys.argv[1])  # after its own standard library
# the real one reads with packages compiled for one Python
rows = types.ModuleType("lslm_lightning.corpora.rows")
rows.Row = dict
sys.modules[rows.__name__] = rows
from lslm_lightning.corpora.builtin import cldr, docstrings
from lslm_lightning.corpora.builtin.cache import rows_digest
made = {"cldr": cldr.make_splits(cldr.SIZES, cldr.SEED), "docstrings": docstrings._make_splits()}
assert not set(docstrings.PACKAGES) & set(sys.modules), "imported"
digests = {
    corpus: {split: rows_digest(rows) for split, rows in splits.items()}
    for corpus, splits in made.items()
}
print(json.dumps(digests))
"""

is_pinned = pytest.mark.skipif(
    installed_versions(PACKAGES) != PACKAGES, reason="needs the packages of constraints.txt"
)


def newest_python() -> str:
    """Return the interpreter of the newest version from 3.11 on that is found on PATH or in pyenv's
    folder; that of this test if there is no newer one.
    """
    folders = [*os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders += [str(path) for path in sorted(pyenv.glob("versions/*/bin"))]
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for folder in folders:
        for minor in range(11, 20):
            path = shutil.which(f"python3.{minor}", path=folder)
            if path and f"3.{minor}" not in found and _runs(path):
                found[f"3.{minor}"] = path
    return found[max(found, key=lambda version: int(version.partition(".")[2]))]


def _runs(python: str) -> bool:
    command = [python, "-c", "import ssl, zlib"]
    return (
        subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).returncode == 0
    )


def test_the_versions_are_those_of_the_constraints() -> None:
    assert {name: PINNED[name] for name in PACKAGES} == PACKAGES


def test_every_installation_has_the_packages() -> None:
    """Torch, MLflow and rouge-score need them, or what these need does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed: set[str] = set()
    waiting = [_required(each) for each in project["dependencies"]]
    while waiting:
        name = waiting.pop()
        if name not in needed and name in PINNED:
            needed.add(name)
            optional = [each for each in metadata.requires(name) or [] if "extra ==" in each]
            waiting += map(_required, set(metadata.requires(name) or []) - set(optional))
    assert set(PACKAGES) <= needed


def _required(requirement: str) -> str:
    """Return the name of the distribution that a requirement is about."""
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


@pytest.mark.slow
@is_pinned
def test_the_digest_is_the_same_on_the_newest_python() -> None:
    where = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    words = [newest_python(), "-I", "-c", MAKE, json.dumps(where)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == DIGESTS


@pytest.mark.slow
@is_pinned
@pytest.mark.parametrize("corpus", [cldr, docstrings])
def test_the_digest_is_that_of_the_rows_of_this_session(corpus: ModuleType) -> None:
    found = {split: rows_digest(rows) for split, rows in corpus._splits().items()}
    assert found == DIGESTS[corpus.__name__.rpartition(".")[2]]


@is_pinned
@pytest.mark.parametrize("name", DIGESTS)
def test_scores_compare_under_the_constraints(name: str) -> None:
    assert open_corpus(name).comparability == ""


def test_other_versions_are_named() -> None:
    babel = metadata.version("babel")
    assert comparability("mine", {"babel": babel}) == ""
    message = comparability("mine", {"babel": "0.1", "no-such-package": "2"})
    assert f"babel {babel} in place of 0.1" in message
    assert "no-such-package" in message
    assert "do not compare" in message


@pytest.mark.parametrize("corpus", [cldr, docstrings])
def test_the_terminal_says_that_scores_do_not_compare(
    corpus: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(corpus, "PACKAGES", {"babel": "0.1"})
    monkeypatch.setattr(corpus, "load_or_make", lambda *_: {"test": []})
    corpus._splits.cache_clear()
    with caplog.at_level(logging.WARNING):
        corpus._splits()
    corpus._splits.cache_clear()
    assert "do not compare" in caplog.text
