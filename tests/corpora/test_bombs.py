"""Files that ask for more memory than they are worth are refused, in memory of their own size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lslm_lightning.safety.limits import SETTING
from tests.corpora.bombs import MAKERS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = str(tmp_path_factory.mktemp("bombs"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "tests.corpora.bombs", folder]
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited as on Linux")
@pytest.mark.parametrize("name", MAKERS)
def test_a_bomb_is_refused_in_one_line(name: str, messages: dict[str, str]) -> None:
    message = messages[name]
    assert f"/{name}: " in message
    assert SETTING in message or "not a readable archive (a header says" in message
    assert "\n" not in message
