"""Both notebooks run from the first cell to the last, one after the other, and are committed
without output.
"""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_without_output(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert [cell for cell in cells if cell["cell_type"] == "code"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_from_the_first_cell_to_the_last(project, pairs, empty_store, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    assert [path.name for path in NOTEBOOKS] == ["01_first_run.ipynb", "02_compare_runs.ipynb"]
    config = yaml.safe_load((ROOT / "configs/translation/cldr_demo.yaml").read_text("utf-8"))
    # small, or the exams take minutes
    config["data"]["init_args"] |= {"corpus": str(pairs), "tokenizer": "Characters"}
    config["model"]["init_args"]["max_length"] = 20
    (project / "configs/translation").mkdir(parents=True)
    (project / "configs/translation/cldr_demo.yaml").write_text(yaml.safe_dump(config))
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
    texts = []
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        client = nbclient.NotebookClient(
            notebook,
            timeout=round(PATIENCE),
            resources={"metadata": {"path": str(project / "notebooks")}},
        )
        client.execute()
        texts.append(nbformat.writes(notebook))
    assert "signature" in texts[0]
    assert "image/png" in texts[0]
    assert "Comparison(difference=" in texts[1]
    assert "compare-" in texts[1]
    assert list((project / "runs/translation").glob("compare-*/report/index.html"))
