"""Private names of MLflow that are used are in the installed one."""

import ast
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

import lslm_lightning
from lslm_lightning.tracking import mlflow_internals
from lslm_lightning.tracking.mlflow_internals import INTERNAL_NAMES


@pytest.mark.parametrize("name", INTERNAL_NAMES)
def test_mlflow_has_the_internal_name(name: str) -> None:
    module, _, path = name.partition(":")
    reduce(getattr, path.split("."), import_module(module))


def test_no_other_file_of_ours_imports_private_names_of_mlflow() -> None:
    for file in Path(lslm_lightning.__file__).parent.rglob("*.py"):
        if file == Path(mlflow_internals.__file__):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlflow"):
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
                assert not [name for name in names if name.startswith("_")], f"{file}: {names}"
