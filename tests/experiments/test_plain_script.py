"""A plain Python file trains, evaluates and compares, twice in a process that stays as it was."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.commands.conftest import write_translation
from tests.conftest import write_pairs
from tests.support.forked_commands import Origin
from tests.support.waiting import PATIENCE

SCRIPT = """
import json

from lslm_lightning import compare, evaluate, train
from tests.support.process_state import changes, process_state

CHECKPOINT = "lslm_lightning.systems.checkpoint.Checkpoint"
found = []
for n_step in (2, 4):
    before = process_state()
    runs = [
        train("tiny.yaml", {"trainer.max_steps": n_step, "model.backbone.d_model": width})
        for width in (8, 16)
    ]
    results = evaluate(
        {
            "task": runs[0].config["model"]["class_path"],
            "data": runs[0].config["data"],
            "systems": {
                f"width_{width}": {"class_path": CHECKPOINT, "init_args": {"run": str(run.path)}}
                for width, run in zip((8, 16), runs)
            },
            "n_resample": 50,
        },
        name=f"steps_{n_step}",
    )
    comparison = compare(runs, n_resample=50)
    found.append(
        {
            "changes": sorted(changes(before, process_state())) if found else [],
            "trained": [run.scores["bleu"].value for run in runs],
            "evaluated": [own["bleu"].value for own in results.scores.values()],
            "compared": comparison.table().filter(regex="(?i)^bleu").iloc[:, 0].tolist(),
            "reports": [str(each.report) for each in (*runs, results, comparison)],
            "runs in MLflow": [run.mlflow_run_id for run in runs],
        }
    )
with open("found.json", "w") as file:
    json.dump(found, file)
"""


@pytest.mark.slow
def test_twice_in_one_process(tmp_path: Path, origin: Origin, empty_store: Path) -> None:
    write_translation(tmp_path / "tiny.yaml", write_pairs(tmp_path / "pairs"))
    script = tmp_path / "experiment.py"
    script.write_text(SCRIPT)
    shutil.copy(empty_store, tmp_path)
    environment = {
        **os.environ,
        "LSLM_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = origin.fork([], environment, tmp_path, script=script)
    output, _ = done.communicate(PATIENCE)
    assert done.returncode == 0, output
    both = json.loads((tmp_path / "found.json").read_text())
    for found in both:
        assert found["changes"] == []
        assert found["evaluated"] == pytest.approx(found["trained"])
        assert found["compared"] == pytest.approx(found["trained"])
        assert all((tmp_path / report).is_file() for report in found["reports"])
    assert len({name for found in both for name in found["runs in MLflow"]}) == 4
    assert len({name for found in both for name in found["reports"]}) == 8
