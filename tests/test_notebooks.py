"""Both notebooks run from the first cell to the last, one after the other, and are committed
without output.
"""

import ast
import json
import shutil
from pathlib import Path

import pytest

from tests.support.demo_configs import write_demo_configs
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_without_output(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert [cell for cell in cells if cell["cell_type"] == "code"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
def test_from_the_first_cell_to_the_last(project, pairs, empty_store, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    assert [path.name for path in NOTEBOOKS] == ["01_first_run.ipynb", "02_compare_runs.ipynb"]
    write_demo_configs(project, pairs)
    (project / "notebooks").mkdir()
    shutil.copy(empty_store, project)
    variables = {
        "LSLM_NOTEBOOK_STEPS": "5",
        "LSLM_CACHE": str(project / "cache"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    first, second = (nbformat.read(path, as_version=4) for path in NOTEBOOKS)
    # one kernel, which imports all once, and in which the second finds no name of the first
    begin_anew = nbformat.v4.new_code_cell("%cd -q notebooks\n%reset -f")
    for i, cell in enumerate(second.cells):
        cell.id = f"second-{i}"
    both = nbformat.v4.new_notebook(cells=[*first.cells, begin_anew, *second.cells])
    nbclient.NotebookClient(
        both,
        timeout=round(PATIENCE),
        resources={"metadata": {"path": str(project / "notebooks")}},
    ).execute()
    output = nbformat.writes(first)
    assert "image/png" in output
    assert "signature" in output
    names = {path.name.partition("-")[0] for path in (project / "runs/translation").iterdir()}
    assert {"first", "narrow", "compare", "searches"} <= names
    assert len(list((project / "runs/translation").glob("*/report/index.html"))) == 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_front_door_alone_is_imported(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert not [line for text in code for line in text.splitlines() if line.startswith(("!", "%"))]
    modules = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse("\n".join(code)))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    ours = {name for name in modules if name.startswith(("lslm_", "tasks"))}
    assert ours == {"lslm_lightning"}
