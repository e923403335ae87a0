"""Every test has a cache, a store and a working directory of its own where it asks for them."""

import gc
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

from lslm_lightning.corpora.builtin import cache, cldr, docstrings
from lslm_lightning.corpora.builtin.cache import Splits
from lslm_lightning.safety.redaction import KNOWN
from tests.support.browser import CHROMIUM, Browser
from tests.support.forked_commands import Origin, look_up_once
from tests.support.mlflow_server import mlflow_server
from tests.support.openai_server import KEY, Provider
from tests.support.waiting import make_interruptible

ROOT = Path(__file__).parents[1]

settings.register_profile("whatever the load", deadline=None, derandomize=True)
settings.load_profile("whatever the load")
make_interruptible()
# workers know it as "", which is another folder after a test's chdir
sys.path.append(str(ROOT))

# fixtures that take many seconds, by what one worker makes for all
EXPENSIVE = ({"server"}, {"browser", "built_site"}, {"memorizing"})
WORDS = ["red", "green", "blue", "one", "two", "three", "cat", "dog", "bird", "runs", "sleeps"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin each worker's share of the tests with some of the longest, so that none of them is
    still running when all others have ended, and then those of one of the `EXPENSIVE` fixtures, so
    that one worker makes it for all.
    """
    n_worker = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    heads: list[list[pytest.Item]] = [[] for _ in range(n_worker)]
    others: list[pytest.Item] = []
    n_long = 0
    for item in items:
        dear = next((i for i, names in enumerate(EXPENSIVE) if names & fixtures_of(item)), None)
        if item.get_closest_marker("distributed"):
            heads[n_long % n_worker].insert(n_long // n_worker, item)
            n_long += 1
        elif dear is None:
            others.append(item)
        else:
            heads[dear % n_worker].append(item)
    size = -(-len(items) // n_worker)
    items.clear()
    for head in heads:
        n_other = max(0, size - len(head))
        items += [*head, *others[:n_other]]
        del others[:n_other]
    items += others


def fixtures_of(item: pytest.Item) -> set[str]:
    """Return the names of a test's fixtures, and those that a fixture asks for by its parameter."""
    parameters = getattr(item, "callspec", SimpleNamespace(params={})).params.values()
    named = {value for value in parameters if isinstance(value, str)}
    return named.union(getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Import and collect without searches for garbage, which would take a quarter of the time, and
    leave what all tests share, a million objects of modules and tests, out of each later search.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def installation_is_read_once() -> None:
    """Read once what is installed, if the tests that were collected need it."""
    look_up_once()


@pytest.fixture(scope="session", autouse=True)
def records_of_shared_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the records of what is trained for more than one test out of those of this user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
        yield


@pytest.fixture(autouse=True)
def own_records(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Records of this user for one test alone: runs of the same content are not known from another.
    No secret of one test is hidden in another, and texts are in English whatever the locale.
    """
    monkeypatch.setenv("LSLM_LANG", "en")
    folder = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state" / folder))
    KNOWN.forget()


@pytest.fixture(autouse=True)
def python_is_started_by_marked_tests(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail where code of this repository starts Python in a test without any of the marks that
    `make test-fast` leaves out.
    """
    if any(map(request.node.get_closest_marker, ("slow", "distributed", "browser"))):
        return
    start = subprocess.Popen.__init__

    def refuse(process: subprocess.Popen, command: Any, *more: Any, **settings: Any) -> None:
        first = command if isinstance(command, str | Path) else next(iter(command))
        caller = sys._getframe(1)
        while caller.f_code.co_filename == subprocess.__file__:
            caller = caller.f_back
        file = Path(caller.f_code.co_filename)
        is_ours = file.is_relative_to(ROOT) and "site-packages" not in file.parts
        if is_ours and Path(str(first)).name.startswith("python"):
            pytest.fail("mark it slow: it starts Python")
        start(process, command, *more, **settings)

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)


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
    return Path(folder).absolute()  # tests change their working directory


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """The address of an MLflow server with a store and an artifact folder of its own."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder)
    with mlflow_server(folder) as address:
        yield address


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, started once; without it the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        browser.connect()
        yield browser
    finally:
        browser.close()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Provider]:
    """A provider of hosted models, its key in the environment, and an empty cache of answers."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def pairs(project: Path) -> Path:
    """Parallel text in English and Chinese."""
    return write_pairs(project / "pairs")


def write_pairs(folder: Path) -> Path:
    """60, 12 and 10 of them, for the three splits."""
    folder.mkdir()
    chinese = dict(zip(WORDS, "红绿蓝一二三猫狗鸟跑睡", strict=True))
    for split, n in (("train", 60), ("val", 12), ("test", 10)):
        sentences = [
            [WORDS[(i * 7 + j * 3 + len(split)) % len(WORDS)] for j in range(1 + i % 6)]
            for i in range(n)
        ]
        (folder / f"{split}.en").write_text("".join(f"{' '.join(s)}\n" for s in sentences), "utf-8")
        (folder / f"{split}.zh").write_text(
            "".join(f"{''.join(chinese[w] for w in s)}\n" for s in sentences), "utf-8"
        )
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def origin(shared: Path) -> Iterator[Origin]:
    """Has imported what the command needs."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LSLM_RUN", "PL_GLOBAL"))}
    found = Origin(kept | {"OMP_NUM_THREADS": "1"}, shared)
    yield found
    found.close()


@pytest.fixture(scope="session")
def empty_store(shared: Path) -> Path:
    """An SQLite file with MLflow's tables and no runs; MLflow takes seconds to make one."""
    path = shared / "empty-store/mlflow.db"
    with FileLock(shared / "empty-store.lock"):
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            from mlflow import MlflowClient  # not in the process that hands tests to workers

            MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session", autouse=True)
def builtin_corpora_are_made_once(shared: Path) -> Iterator[None]:
    """Keep the rows of built-in corpora for all tests in one cache, whatever cache a test has; it
    takes ten seconds to make them.
    """

    def load_or_make(*about: Any) -> Splits:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LSLM_CACHE", str(shared / "corpora"))
            return cache.load_or_make(*about)

    with pytest.MonkeyPatch.context() as patch:
        for corpus in (cldr, docstrings):
            patch.setattr(corpus, "load_or_make", load_or_make)
        yield


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A folder with running text."""
    folder = tmp_path / "text"
    folder.mkdir()
    for split, n in (("train", 300), ("val", 40), ("test", 40)):
        (folder / f"{split}.txt").write_text(
            " ".join(WORDS[(i * i + len(split)) % len(WORDS)] for i in range(n))
        )
    return folder
