"""Freed memory is kept for the next step, unless the user tunes the C library."""

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lslm_lightning.allocation import (
    M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD,
    VARIABLES,
    keep_freed_memory,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only glibc is tuned"),
]

PROGRAM = """
import resource
import lslm_lightning
import torch

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(40_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults() * resource.getpagesize())
"""


def bytes_met_anew(**variables: str) -> int:
    """Return the bytes of new pages that ten blocks of 160 MB meet after the first ten."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    words = [sys.executable, "-c", PROGRAM]
    return int(subprocess.check_output(words, env=kept | variables, text=True))


def test_blocks_of_a_step_are_taken_from_those_of_the_last_step():
    assert bytes_met_anew() < 16e6


def test_what_the_user_says_of_the_allocator_holds():
    threshold = str(2**20)  # larger blocks are handed back
    assert bytes_met_anew(MALLOC_MMAP_THRESHOLD_=threshold) > 1.5e9


@pytest.mark.parametrize("limit", [2**30, 2**25, 0])
def test_a_limit_of_the_c_library_is_kept(limit, monkeypatch):
    """Once a threshold is set, glibc adapts the other no longer, so that both must be set."""
    found = {}

    def mallopt(name, value):
        if name == M_MMAP_THRESHOLD and value > limit:
            return 0
        found[name] = value
        return 1

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    assert keep_freed_memory() == bool(limit)
    assert set(found) == ({M_MMAP_THRESHOLD, M_TRIM_THRESHOLD} if limit else set())
    assert found.get(M_MMAP_THRESHOLD, 0) in (0, 2**25, 2**28)
