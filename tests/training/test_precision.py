"""A configuration that asks for bfloat16 trains on machines without it too."""

from pathlib import Path

import pytest
import torch

from lslm_lightning.training import precision
from lslm_lightning.training.precision import has_bfloat16, usable_precision


@pytest.mark.parametrize("there", [True, False])
def test_only_bfloat16_autocast_is_replaced_and_only_where_it_must(monkeypatch, there):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device_type: there)
    assert usable_precision("bf16-mixed", "cpu") == ("bf16-mixed" if there else "32-true")
    for other in (None, 32, "32-true", "64-true", "bf16-true"):
        assert usable_precision(other, "cpu") == other


@pytest.fixture
def anew(monkeypatch):
    """Nothing was found out yet, and what is found is forgotten."""
    monkeypatch.setenv(precision.FOUND, "")  # so that it is known what to restore: not there
    monkeypatch.delenv(precision.FOUND)
    has_bfloat16.cache_clear()
    yield
    has_bfloat16.cache_clear()


@pytest.mark.parametrize("seconds", [1.0, 100.0])
def test_child_processes_take_over_what_was_found(monkeypatch, anew, seconds):
    monkeypatch.setattr(precision, "_seconds", lambda dtype: seconds if dtype == torch.bfloat16 else 1.0)
    found = has_bfloat16("cpu")
    assert found == (seconds < precision.SOFTWARE)
    has_bfloat16.cache_clear()
    monkeypatch.setattr(precision, "_seconds", lambda dtype: pytest.fail("measured again"))
    assert has_bfloat16("cpu") == found


def test_the_answer_is_that_of_the_kernel(anew):
    """Where the flags of the processor leave no doubt."""
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.exists() else set()
    if flags & {"amx_bf16", "avx512_bf16"}:
        assert has_bfloat16("cpu")
    elif "avx2" in flags and "avx512f" not in flags and "avx_ne_convert" not in flags:
        assert not has_bfloat16("cpu")
    else:
        pytest.skip("the flags of this processor do not say")
