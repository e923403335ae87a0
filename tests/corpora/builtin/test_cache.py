"""What takes long is made once, whatever happens to the cache."""

import json
from multiprocessing.pool import ThreadPool
from pathlib import Path
from time import sleep

import pytest

from lslm_lightning.corpora.builtin.cache import load_or_make

SPLITS = {"test": [{"id": "1", "text": "天地"}]}


def test_processes_that_start_together_make_it_once(alone: Path) -> None:
    made = []

    def make() -> dict:
        made.append(1)
        sleep(0.05)
        return SPLITS

    with ThreadPool(4) as pool:
        results = pool.map(lambda _: load_or_make("c", ["1"], make), range(4))
    assert results == [SPLITS] * 4
    assert len(made) == 1
    load_or_make("c", ["2"], make)
    assert len(made) == 2
    assert all(
        json.loads(path.read_text()) == SPLITS for path in (alone / "cache/builtin").glob("*.json")
    )


def test_a_cache_that_cannot_be_written_only_costs_time(
    monkeypatch: pytest.MonkeyPatch, alone: Path
) -> None:
    (alone / "file").write_text("")
    monkeypatch.setenv("LSLM_CACHE", str(alone / "file"))
    assert load_or_make("c", [], lambda: SPLITS) == SPLITS


def test_what_fails_while_it_is_made_is_not_hidden() -> None:
    tried = []

    def fail() -> dict:
        tried.append(1)
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        load_or_make("c", [], fail)
    assert len(tried) == 1
