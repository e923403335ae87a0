"""A run as a model of lm_eval; its answers are compared with an export in `make bench`."""

import importlib
import sys
from types import ModuleType

import pytest

from lslm_lightning.extras import MissingPackageError

MODULE = "lslm_lightning.integrations.lm_eval"


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    monkeypatch.setitem(sys.modules, "lm_eval", ModuleType("lm_eval"))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    with pytest.raises(MissingPackageError, match=r"needs the package lm_eval.*\[lm-eval\]"):
        importlib.import_module(MODULE)
