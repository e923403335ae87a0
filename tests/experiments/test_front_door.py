"""The whole way from a plain Python file: train, go on, evaluate, compare, twice in one process."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

import lslm_lightning
from lslm_lightning import SearchSettings, compare, evaluate, generate, resume, train
from tests.commands.conftest import write_translation
from tests.commands.test_chinese import english_lines
from tests.conftest import write_pairs
from tests.support.process_state import changes, process_state

pytestmark = pytest.mark.slow

CHECKPOINT = "lslm_lightning.systems.checkpoint.Checkpoint"


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_store):
    """A folder with a corpus and a config, which is the working directory meanwhile."""
    folder = tmp_path_factory.mktemp("front")
    shutil.copy(empty_store, folder)
    write_translation(folder / "tiny.yaml", write_pairs(folder / "pairs"))
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSLM_CACHE", str(folder / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        os.chdir(folder)
        yield folder
        os.chdir(before)


@pytest.fixture(scope="module")
def runs(project):
    """Two runs, of a file and of a mapping."""
    first = train("tiny.yaml", {"trainer.max_steps": 2}, name="first")
    content = yaml.safe_load(Path("tiny.yaml").read_text())
    second = train(content, {"trainer.max_steps": 3, "model.backbone.d_model": 8}, name="second")
    return first, second


@pytest.fixture
def unchanged():
    """Fail where the test changes the process; what libraries do once, at import, is done."""
    before = process_state()
    yield
    assert changes(before, process_state()) == {}


def test_a_run_has_scores_predictions_a_report_and_a_model(runs):
    first, second = runs
    for run in runs:
        assert run.scores["bleu"].n_example == len(run.predictions) == 10
        assert run.report.name == "index.html"
        assert run.mlflow_run_id
        assert run.history["train/loss"].notna().any()
    assert second.config["model"]["init_args"]["backbone"]["init_args"]["d_model"] == 8
    assert second.model.task.model_info.n_parameter < first.model.task.model_info.n_parameter
    assert repr(first).startswith(f"Run({str(first.path)!r}, bleu ")


def test_a_third_training_leaves_the_process_as_it_was(runs, unchanged):
    train("tiny.yaml", {"trainer.max_steps": 1}, test=False)


def test_a_call_prints_in_the_language_of_the_interface(runs, unchanged, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSLM_LANG", "zh")
        train("tiny.yaml", {"trainer.max_steps": 1}, test=False, name="chinese")
    printed = capsys.readouterr()
    assert "运行" in printed.out
    assert english_lines(printed.out) == []


def test_a_run_goes_on(runs, unchanged):
    again = resume(runs[0], {"trainer.max_steps": 4})
    assert again.path == runs[0].path
    assert again.history.index.max() == 4


def test_systems_are_evaluated_and_tabled(runs, unchanged):
    config = {
        "task": "tasks.translation.task.TranslationTask",
        "data": runs[0].config["data"],
        "systems": {
            run.path.name: {"class_path": CHECKPOINT, "init_args": {"run": str(run.path)}}
            for run in runs[:2]
        },
    }
    config["systems"]["gone"] = {"class_path": CHECKPOINT, "init_args": {"run": "runs/nowhere"}}
    results = evaluate(config, {"n_resample": 50}, name="both")
    table = results.table()
    for run in runs[:2]:
        found = table.loc[(run.path.name, "bleu")]
        assert found["value"] == pytest.approx(run.scores["bleu"].value)
    assert list(results.failures) == ["gone"]
    assert results.report.exists()
    assert {frozenset((pair.first, pair.second)) for pair in results.pairs} == {
        frozenset(run.path.name for run in runs[:2])
    }


def test_runs_are_compared(runs, unchanged):
    found = compare(list(runs[:2]), n_resample=50)
    assert set(found.table().index) == {run.path.name for run in runs[:2]}
    assert found.report.exists()
    assert found.summary


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: train("tiny.yaml", {"trainer.max_step": 2}), ValueError, "did you mean"),
        (lambda: train("nowhere.yaml"), ValueError, "nowhere.yaml"),
        (lambda: train(3), TypeError, "must be the path"),
        (lambda: train("tiny.yaml", {3: 2}), TypeError, "must be a text"),
        (lambda: compare(["runs/translation/first"]), ValueError, "two or more"),
        (lambda: evaluate("tiny.yaml"), ValueError, "is not known"),
        (lambda: resume("nowhere"), ValueError, "there is no run"),
    ],
)
def test_what_is_wrong_is_an_error_and_ends_no_process(project, call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_names_are_loaded_when_they_are_asked_for():
    assert set(lslm_lightning.__all__) <= set(dir(lslm_lightning))
    with pytest.raises(AttributeError, match="it offers"):
        lslm_lightning.fit  # noqa: B018


def test_texts_are_answered(runs, unchanged):
    settings = SearchSettings(search="beam", beam_size=3, max_length=6)
    found = generate(runs[0], ["one", "two two"], settings, n_best=2)
    assert [len(each.alternatives) for each in found] == [2, 2]
    assert [each.output for each in found] == [each.alternatives[0].output for each in found]
    [alone] = generate(runs[0].path, ["one"], settings)
    assert alone.output == found[0].output
    with pytest.raises(ValueError, match="list of texts"):
        generate(runs[0], "one")
    with pytest.raises(ValueError, match="does not apply"):
        generate(runs[0], ["one"], SearchSettings(temperature=0.5))
