"""Memory that the processes of a server give back when they are idle."""

import platform
import threading
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest

from lslm_lightning.serving import engine_process, server
from lslm_lightning.serving.engine import EngineCore
from lslm_lightning.serving.engine_process import EngineLoop
from lslm_lightning.serving.idle_memory import give_back_memory
from lslm_lightning.serving.protocol import Cancel
from tests.serving.http_server import running_server
from tests.support.waiting import PATIENCE

N_BYTE = 1000  # of a block, too many for Python's own allocator
N_BLOCK = 100_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_below_a_block_in_use_is_given_back() -> None:
    blocks = [bytes(N_BYTE) for _ in range(N_BLOCK)]
    kept = [bytes(N_BYTE) for _ in range(100)]
    blocks.clear()
    before = resident_bytes()
    give_back_memory()
    assert before - resident_bytes() > N_BYTE * N_BLOCK / 2
    assert len(kept) == 100


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Semaphore that is released each time memory is given back."""
    found = threading.Semaphore(0)
    for module in (server, engine_process):
        monkeypatch.setattr(module, "give_back_memory", found.release)
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    return found


def test_the_server_gives_memory_back_after_each_time_of_work(
    given_back: threading.Semaphore,
) -> None:
    with running_server() as running:
        for _ in range(2):
            with urlopen(f"{running.url}/health") as response:
                assert response.status == 200
            assert given_back.acquire(timeout=PATIENCE)
        assert not given_back.acquire(timeout=0.5)  # idle already


def test_the_engine_gives_memory_back_after_each_time_of_work(
    given_back: threading.Semaphore,
) -> None:
    own, other = Pipe()
    loop = EngineLoop(other, EngineCore([]), SimpleNamespace(aliases=()))  # type: ignore[arg-type]
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        for _ in range(2):
            assert given_back.acquire(timeout=PATIENCE)
            assert not given_back.acquire(timeout=0.2)
            own.send(Cancel(1))
    finally:
        own.close()
        thread.join()
