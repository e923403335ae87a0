"""Nothing that MLflow refuses takes something else with it; a copy, a move and a deletion are
noticed.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from lslm_lightning.commands.sync import main
from lslm_lightning.tracking import Tracker, TrackingError, run_record
from lslm_lightning.tracking.names import LONGEST_NAME, mlflow_name, mlflow_names
from lslm_lightning.tracking.outbox import send_in_parts
from lslm_lightning.tracking.run_record import RunRecord
from tests.support.waiting import PATIENCE


def begun(directory: Path, **settings: object) -> Tracker:
    """A tracker of a run at work in the project's store."""
    tracker = Tracker("toy", directory.name, directory, system_metrics=False, **settings)
    tracker.start()
    return tracker


def ended(tracker: Tracker) -> Run:
    """Its run, when all is stored."""
    tracker.end("FINISHED")
    return MlflowClient(tracker.store.uri).get_run(tracker.version)


def test_facts_that_two_threads_record_are_all_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written while another write is under way, which would undo it."""
    record = RunRecord(tmp_path, pytest.fail)
    is_writing, may_write = Event(), Event()
    at_work: list[str] = []

    def write_late(path: Path, text: str) -> None:
        at_work.append(text)
        assert len(at_work) == 1, "two writes at once"
        is_writing.set()
        assert may_write.wait(PATIENCE)
        path.write_text(text)
        at_work.clear()

    monkeypatch.setattr(run_record, "atomic_write", write_late)
    threads = [
        Thread(target=record.add_to_model, args=({"version": "1"},)),
        Thread(target=record.update, args=({"status": "FINISHED"},)),
    ]
    threads[0].start()
    assert is_writing.wait(PATIENCE)
    threads[1].start()
    may_write.set()
    for thread in threads:
        thread.join()
    assert json.loads(record.path.read_text()) == {"model": {"version": "1"}, "status": "FINISHED"}


# What is refused


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_all_that_is_not_refused_is_sent_once(good: list[bool]) -> None:
    sent: list[int] = []

    def send(part: list[int]) -> None:
        if not all(good[i] for i in part):
            raise ValueError(f"refused {part}")
        sent.extend(part)

    items = list(range(len(good)))
    if all(good):
        send_in_parts(send, items, lambda error: False)
    else:
        with pytest.raises(ValueError, match="refused"):
            send_in_parts(send, items, lambda error: False)
    if sum(not each for each in good) < 3:  # beyond, it may be the run that is refused
        assert sent == [i for i in items if good[i]]


def test_a_refusal_of_the_run_is_soon_believed() -> None:
    asked: list[int] = []

    def send(part: list[int]) -> None:
        asked.append(len(part))
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        send_in_parts(send, list(range(1000)), lambda error: False)
    assert len(asked) < 30


def test_a_store_that_is_away_is_not_asked_in_parts() -> None:
    asked: list[list[int]] = []

    def send(part: list[int]) -> None:
        asked.append(part)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        send_in_parts(send, [1, 2, 3], lambda error: True)
    assert asked == [[1, 2, 3]]


@pytest.mark.slow
@given(
    st.sets(st.text(min_size=1, max_size=5), max_size=12),
    st.text("ab/.+", min_size=240, max_size=600),
)
def test_different_names_stay_different_and_short(names: set[str], long: str) -> None:
    names |= {long, f"{long}+", f"{long}*", "C++", "C**"}
    found = mlflow_names(names)
    assert len(set(found.values())) == len(names)
    assert all(mlflow_name(name) == name and len(name) <= LONGEST_NAME for name in found.values())


def test_one_parameter_takes_no_other_with_it(store: Path, run_directory: Path) -> None:
    good = {f"p{i}": i for i in range(18)}
    bad = {
        "k" * 300: 1,
        "v": "x" * 7000,
        "a\ud800b": "half a pair \udc00",
        "nul": "a\0b",
        "C++": 1,
        "C**": 2,
        "": 3,
    }
    tracker = begun(run_directory)
    tracker.log_hyperparams({**good, **bad, "deep": {"er" * 100: {"st" * 100: 1}}})
    tracker.log_metrics({"m" * 300: 1.0, "loss": 2.0, "n\udc00": 3.0}, 1)
    tracker.set_tags({"t" * 300: 1, "value": "\udc00" * 9000, "C++": 1, "C**": 2})
    data = ended(tracker).data
    assert tracker.problems == []
    assert len(data.params) == len(good) + len(bad) + 1
    assert len(data.metrics) == 3
    assert {"1", "2"} <= {value for name, value in data.tags.items() if name.startswith("C__")}


@pytest.mark.parametrize("limit", [250, 500])
def test_a_server_with_a_lower_limit_gets_the_hash(
    store: Path, run_directory: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """As MLflow before 2.8, and Databricks, had."""
    tracker = begun(run_directory)
    log_batch = tracker.client.log_batch

    def refuse(run_id: str, metrics: tuple = (), params: tuple = ()) -> None:
        if any(len(param.value) > limit for param in params):
            raise MlflowException("too long", error_code=1000)
        log_batch(run_id, metrics, params)

    monkeypatch.setattr(tracker.client, "log_batch", refuse)
    tracker.log_hyperparams(
        {f"p{i}": i for i in range(19)} | {"long": "x" * 600, "longer": "x" * 5000}
    )
    params = ended(tracker).data.params
    assert tracker.problems == []
    assert len(params) == 21
    assert params["p18"] == "18"
    assert params["long"].startswith("sha256:") != params["longer"]


def test_one_point_takes_no_other_with_it(
    store: Path, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = begun(run_directory)
    log_batch = tracker.client.log_batch

    def refuse(run_id: str, metrics: tuple = ()) -> None:
        if any(metric.step == 7 for metric in metrics):
            raise MlflowException("no", error_code=1000)
        log_batch(run_id, metrics)

    monkeypatch.setattr(tracker.client, "log_batch", refuse)
    for step in range(100):
        tracker.log_metrics({"loss": 1.0}, step)
    tracker.flush()
    assert len(tracker.problems) == 1
    ended(tracker)
    found = MlflowClient(tracker.store.uri).get_metric_history(tracker.version, "loss")
    assert {point.step for point in found} == set(range(100)) - {7}


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("set_experiment_tag", "PERMISSION_DENIED"),
        ("set_experiment_tag", "INVALID_PARAMETER_VALUE"),
        ("search_runs", "PERMISSION_DENIED"),
    ],
)
def test_a_view_that_is_refused_costs_a_run_nothing(
    store: Path, run_directory: Path, monkeypatch: pytest.MonkeyPatch, method: str, code: str
) -> None:
    tracker = begun(run_directory)

    def refuse(*arguments: object, **settings: object) -> None:
        raise MlflowException("no", error_code=code)

    tracker.log_metrics({"test/bleu": 1.0}, 0)
    tracker.flush()
    monkeypatch.setattr(tracker.client, method, refuse)
    assert ended(tracker).info.status == "FINISHED"
    assert not tracker.problems


# Copies, moves, deletions


@pytest.fixture
def old(store: Path, run_directory: Path) -> Run:
    """A run that is finished, with a point and a parameter."""
    tracker = begun(run_directory, tags={"seed": "7"})
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.log_hyperparams({"lr": 0.1})
    (run_directory / "config.yaml").write_text("model: {class_path: a.B}\n")
    tracker.log_artifact(run_directory / "config.yaml")
    return ended(tracker)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["runs/toy/copy", "runs/other/first-1a2b", "elsewhere"])
@pytest.mark.parametrize("again", [True, False])
def test_a_copy_gets_a_run_of_its_own(
    old: Run,
    run_directory: Path,
    project: Path,
    place: str,
    again: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    copy = Path(shutil.copytree(run_directory, project / place))
    tracker = begun(copy, run_id=old.info.run_id, again=again)
    tracker.log_metrics({"loss": 2.0}, 2)
    new = ended(tracker)
    assert new.info.run_id != old.info.run_id
    assert "is a copy of" in caplog.text
    client = MlflowClient(tracker.store.uri)
    assert client.get_run(old.info.run_id).to_dictionary() == old.to_dictionary()
    assert [point.step for point in client.get_metric_history(old.info.run_id, "loss")] == [1]
    assert [point.step for point in client.get_metric_history(new.info.run_id, "loss")] == [1, 2]
    noted = json.loads((copy / "mlflow.json").read_text())
    assert (noted["run_id"], noted["directory"]) == (new.info.run_id, str(copy))
    assert ended(begun(copy, run_id=new.info.run_id, again=again)).info.run_id == new.info.run_id
    first = begun(run_directory, run_id=old.info.run_id, again=again)
    assert ended(first).info.run_id == old.info.run_id


def renamed(directory: Path) -> Path:
    return directory.rename(directory.with_name("renamed"))


def linked(directory: Path) -> Path:
    link = directory.with_name("link")
    link.symlink_to(directory)
    return link


def with_a_backup(directory: Path) -> Path:
    shutil.copytree(directory, directory.with_name("backup"))
    return directory


@pytest.mark.parametrize("how", [renamed, linked, with_a_backup])
@pytest.mark.parametrize("again", [True, False])
def test_what_is_no_copy_keeps_its_run(
    old: Run, run_directory: Path, how: Callable[[Path], Path], again: bool
) -> None:
    directory = how(run_directory)
    found = ended(begun(directory, run_id=old.info.run_id, again=again))
    assert found.info.run_id == old.info.run_id
    assert found.data.tags["lslm.directory"] == str(directory)


@pytest.mark.parametrize("again", [True, False])
def test_a_run_that_was_deleted_is_named_with_the_way_back(
    old: Run, run_directory: Path, again: bool
) -> None:
    before = {
        path: path.read_bytes()
        for path in run_directory.iterdir()
        if path.name != "environment.txt"
    }
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    client.delete_run(old.info.run_id)
    with pytest.raises(
        TrackingError, match=f"was deleted.*mlflow runs restore --run-id {old.info.run_id}"
    ):
        begun(run_directory, run_id=old.info.run_id, again=again)
    assert {path: path.read_bytes() for path in before} == before
    client.restore_run(old.info.run_id)
    assert (
        ended(begun(run_directory, run_id=old.info.run_id, again=again)).info.run_id
        == old.info.run_id
    )


def test_what_is_missing_is_known_by_name(old: Run, run_directory: Path) -> None:
    tracker = begun(run_directory, run_id=old.info.run_id, again=False)
    lacking = tracker.run.missing_records(
        {"lr": 0.1, "new": {"k" * 300: 1}}, {"seed": "7", "other": 1}
    )
    assert lacking == ([mlflow_name(f"new.{'k' * 300}")], ["other"])
    tracker.log_hyperparams({"new": {"k" * 300: 1}})
    tracker.set_tags({"other": 1})
    assert tracker.flush()
    assert tracker.run.missing_records(
        {"lr": 0.1, "new": {"k" * 300: 1}}, {"seed": "7", "other": 1}
    ) == ([], [])
    ended(tracker)


@pytest.mark.parametrize("is_earlier", [False, True])
def test_sync_brings_the_settings_that_the_release_of_a_run_stored(
    old: Run, run_directory: Path, is_earlier: bool
) -> None:
    """Those of an earlier one are in its config.yaml alone."""
    noted = json.loads((run_directory / "mlflow.json").read_text())
    assert noted["parameters"] == {"lr": "0.1"}
    if is_earlier:
        del noted["parameters"]
        (run_directory / "mlflow.json").write_text(json.dumps(noted))
    assert main(["sync", str(run_directory)]) == 0
    params = (
        MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
        .get_run(old.info.run_id)
        .data.params
    )
    assert params == {"lr": "0.1"} | ({"model.class_path": "a.B"} if is_earlier else {})


def test_folders_of_evaluations_are_left_out_of_a_sync_of_all(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, files in {
        "ladder": ["mlflow.json", "report/index.html"],
        "run": ["config.yaml", "mlflow.json", "report/index.html"],
    }.items():
        for file in files:
            (project / name / file).parent.mkdir(parents=True, exist_ok=True)
            (project / name / file).write_text("{}")
    monkeypatch.setattr("lslm_lightning.commands.sync.sync", lambda directory: "brought")
    assert main(["sync", "ladder", "run"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "ladder: left out, for the same lslm evaluate or lslm sweep stores it again",
        "run: brought",
    ]
    assert main(["sync", "nowhere", "run"]) == 1
