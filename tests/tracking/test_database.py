"""A store is whole or not there, whatever ends the process that makes it, and follows its
project.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from lslm_lightning.tracking import Store, TrackingError, database, moved_store
from lslm_lightning.tracking.store import recorded_store
from tests.support.forked_commands import Origin
from tests.support.waiting import PATIENCE
from tests.tracking.older import make_older_store

FORKS = """
import os, signal, sys
import alembic.command, mlflow.store.tracking.sqlalchemy_store
from sqlalchemy import event
from sqlalchemy.engine import Engine
from lslm_lightning.tracking import Store

for folder, number in zip(sys.argv[1::2], sys.argv[2::2]):
    if not (pid := os.fork()):
        left = [int(number)]

        @event.listens_for(Engine, "before_cursor_execute")
        def count(*_):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

        Store(f"sqlite:///{folder}/mlflow.db").client()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def killed_at(origin: Origin, folder: Path, *moments: tuple[Path, int]) -> None:
    """Processes that open the store of a folder, each killed before one of its SQL statements.

    Args:
        folder: folder of the script that starts them.
    """
    script = folder / "forks.py"
    script.write_text(FORKS)
    words = [str(word) for moment in moments for word in moment]
    process = origin.fork(words, os.environ, folder, script=script)
    output, _ = process.communicate(PATIENCE)
    assert output.split() == [str(-signal.SIGKILL)] * len(moments), output


@pytest.fixture(scope="module")
def older_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an MLflow some releases ago, with one run."""
    file = make_older_store(tmp_path_factory.mktemp("older") / "mlflow.db", 5)
    execute(
        file,
        (
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'toy', "
            "'active')"
        ),
        "INSERT INTO runs (run_uuid, experiment_id, status, lifecycle_stage, start_time, "
        "artifact_uri, source_type)"
        " VALUES ('0123456789abcdef0123456789abcdef', 7, 'FINISHED', 'active', 1, '/none', "
        "'LOCAL')",
    )
    return file


def execute(file: Path, *statements: str) -> list[tuple]:
    """The rows of the last of the statements."""
    with closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    return rows


def half_made(older_store: Path, folder: Path) -> Path:
    """A store whose migration was interrupted between a change and the note of it."""
    file = Path(shutil.copy(older_store, folder / "mlflow.db"))
    execute(file, "UPDATE alembic_version SET version_num = '451aebb31d03'")
    return file


def usable(file: Path) -> list[str]:
    """Names of the experiments of a store that can be used."""
    client, _ = Store(f"sqlite:///{file}").open_experiment("new")
    return sorted(each.name for each in client.search_experiments())


# Interruptions


@pytest.mark.slow
def test_a_store_whose_maker_is_killed_is_whole_or_not_there(
    project: Path, empty_store: Path, older_store: Path, origin: Origin
) -> None:
    """And one whose migration is, as it was."""
    made = [project / name for name in ("1", "150")]
    migrated = [project / name for name in ("3", "12", "25")]
    for folder in made + migrated:
        folder.mkdir()
    # what an earlier version left of a process that was killed at once
    (made[1] / "mlflow.db").touch()
    for folder in migrated:
        shutil.copy(older_store, folder)
    killed_at(origin, project, *((folder, int(folder.name)) for folder in made + migrated))
    assert [database.schema_of(folder / "mlflow.db") for folder in made] == [(set(), None)] * 2
    assert all(
        (folder / "mlflow.db").read_bytes() == older_store.read_bytes() for folder in migrated
    )
    assert (made[1] / ".mlflow.db.draft").exists()
    assert usable(made[1] / "mlflow.db") == ["Default", "new"]
    assert usable(migrated[1] / "mlflow.db") == ["Default", "new", "toy"]
    assert not (made[1] / ".mlflow.db.draft").exists()
    assert database.schema_of(made[1] / "mlflow.db") == database.schema_of(empty_store)


def test_a_store_follows_the_umask(
    project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        database,
        "make_tables",
        lambda file: file.write_bytes(empty_store.read_bytes()) and file.chmod(0o644),
    )
    before = os.umask(0o002)
    try:
        database.prepare(project / "mlflow.db")
    finally:
        os.umask(before)
    assert (project / "mlflow.db").stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk is full"), KeyboardInterrupt()])
def test_what_ends_the_making_leaves_nothing(
    project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def make(file: Path) -> None:
        execute(file, "CREATE TABLE experiments (name TEXT)")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(database, "make_tables", make)
        with pytest.raises(TrackingError if isinstance(error, Exception) else KeyboardInterrupt):
            Store().client()
    assert [path.name for path in project.iterdir()] == ["mlflow.db.lock"]
    monkeypatch.setattr(database, "make_tables", lambda file: shutil.copy(empty_store, file))
    assert usable(project / "mlflow.db") == ["Default", "new"]


def test_a_journal_of_a_store_that_was_removed_is_not_taken_for_the_new_one(
    project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("journal", "wal"):
        (project / f"mlflow.db-{kind}").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" + bytes(600))
    monkeypatch.setattr(database, "make_tables", lambda file: shutil.copy(empty_store, file))
    assert usable(project / "mlflow.db") == ["Default", "new"]


def test_the_second_process_waits_and_says_for_whom(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.1)
    with (
        FileLock("mlflow.db.lock"),
        pytest.raises(TrackingError, match=r"mlflow\.db\.lock was held by another process"),
    ):
        Store().client()


# Older, newer, damaged


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_an_older_store_is_migrated_and_kept(project: Path, older_store: Path, mode: str) -> None:
    (project / "elsewhere").mkdir()
    target = Path(shutil.copy(older_store, project / "elsewhere"))
    target.chmod(0o640)
    execute(target, f"PRAGMA journal_mode = {mode}")
    (project / "mlflow.db").symlink_to(target)
    assert usable(project / "mlflow.db") == ["Default", "new", "toy"]
    assert (project / "mlflow.db").is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert execute(target, "PRAGMA journal_mode") == [(mode,)]
    [before] = [
        path for path in target.parent.glob("mlflow.db.*") if not path.name.endswith("lock")
    ]
    for query in (
        "SELECT run_uuid FROM runs",
        "SELECT name FROM experiments WHERE experiment_id = 7",
    ):
        assert execute(before, query) == execute(target, query) != []


@pytest.mark.slow
def test_tables_of_another_program_stay(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(
        project / "mlflow.db",
        "CREATE TABLE studies (name TEXT)",
        "INSERT INTO studies VALUES ('mine')",
    )
    assert usable(project / "mlflow.db") == ["Default", "new"]
    assert execute(project / "mlflow.db", "SELECT name FROM studies") == [("mine",)]


@pytest.mark.parametrize("kind", ["half made", "cut off", "no database", "newer"])
def test_a_store_that_cannot_be_used_is_left_as_it_is(
    project: Path, older_store: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = project / "mlflow.db"
    if kind == "half made":
        half_made(older_store, project)
    elif kind == "cut off":
        file.write_bytes(empty_store.read_bytes()[: empty_store.stat().st_size // 2])
    elif kind == "no database":
        file.write_text("I am no database, and long enough to be sure of it. " * 100)
    else:
        shutil.copy(empty_store, file)
        execute(file, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = file.read_bytes()
    for _ in range(2):
        with pytest.raises(TrackingError) as caught:
            Store().client()
        assert file.read_bytes() == before
    assert "\n" not in str(caught.value)
    assert {path.name for path in project.iterdir()} == {"mlflow.db", "mlflow.db.lock"}
    if kind == "newer":
        assert "a newer MLflow" in str(caught.value)
        return
    aside = f"mv {file} {file}.damaged"
    assert f"`{aside}`" in str(caught.value)
    assert kind != "half made" or "holds 1 runs" in str(caught.value)
    subprocess.run(aside.split(), check=True)
    monkeypatch.setattr(database, "make_tables", lambda file: shutil.copy(empty_store, file))
    assert usable(file) == ["Default", "new"]


# Addresses

NAMES = ["x%20y", "per%", "what?", "q?a=b", "a#b", "sp ace 中文", "[x];{y}", "q'uote: &"]


@pytest.mark.parametrize("name", NAMES)
def test_any_path_is_taken_as_it_is(
    project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = project / name
    folder.mkdir()
    monkeypatch.setattr(database, "make_tables", lambda file: shutil.copy(empty_store, file))
    monkeypatch.chdir(folder)
    (folder / "file").write_text("text")
    store = Store()
    client, experiment = store.open_experiment("toy")
    for address in (f"sqlite:///{folder}/mlflow.db", str(store)):
        assert Store(address).file == store.file == folder / "mlflow.db"
        assert Store(address).uri == store.uri
    run = client.create_run(experiment).info.run_id
    client.log_artifact(run, folder / "file", "sub")
    assert (
        folder / "mlartifacts" / "toy" / run / "artifacts" / "sub" / "file"
    ).read_text() == "text"
    assert [each.path for each in client.list_artifacts(run, "sub")] == ["sub/file"]
    assert Path(client.download_artifacts(run, "sub/file")).read_text() == "text"
    assert [path.name for path in project.iterdir()] == [name]


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:///mlflow.db?timeout=30", "mlflow.db"),
        ("sqlite:///sub/mlflow.db?timeout=30&cached_statements=10", "sub/mlflow.db"),
        ("sqlite+pysqlite:///mlflow.db", "mlflow.db"),
        ("sqlite:///file:mlflow.db?uri=true", "mlflow.db"),
        ("sqlite:///sp%20ace/mlflow.db", "sp ace/mlflow.db"),
    ],
)
def test_options_and_quotes_are_no_part_of_the_name(
    project: Path, empty_store: Path, address: str, file: str
) -> None:
    (project / "sp ace").mkdir()
    (project / file).parent.mkdir(exist_ok=True)
    shutil.copy(empty_store, project / file)
    store = Store(address)
    store.open_experiment("toy")
    assert store.file == project / file
    names = {path.name for path in store.file.parent.iterdir()} - {"sp ace"}
    assert names == {"mlflow.db", "mlflow.db.lock", "mlartifacts"}


@pytest.mark.parametrize(
    "address", ["sqlite:///mlflow.db?foo=1", "sqlite:///:memory:", "sqlite://"]
)
def test_what_cannot_be_meant_is_refused(store: Path, address: str) -> None:
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        Store(address).open_experiment("toy")


# Moves


@pytest.fixture
def before(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one run that has an artifact and a registered model."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "before"
    (folder / "runs/toy/a-1").mkdir(parents=True)
    shutil.copy(empty_store, folder)
    client, experiment = Store(f"sqlite:///{folder}/mlflow.db").open_experiment("toy")
    run = client.create_run(
        experiment, tags={"lslm.directory": f"{folder}/runs/toy/a-1"}
    ).info.run_id
    client.log_text(run, "first", "note.txt")
    model = client.create_logged_model(experiment, "a-1", run)
    (folder / "x.txt").write_text("a file of a model")
    client.log_model_artifact(model.model_id, str(folder / "x.txt"))
    client.create_registered_model("toy")
    client.create_model_version("toy", model.artifact_location, run, await_creation_for=0)
    noted = f'{{"run_id": "{run}", "store": "sqlite:///{folder}/mlflow.db"}}'
    (folder / "runs/toy/a-1/mlflow.json").write_text(noted)
    return folder


def opened(folder: Path) -> tuple[object, str, str]:
    """A client, the id of the run that a project has, and the folder where a new run's artifacts
    go.
    """
    client, experiment = Store(f"sqlite:///{folder}/mlflow.db").open_experiment("toy")
    [run] = client.search_runs([experiment])
    new = client.create_run(experiment)
    client.delete_run(new.info.run_id)
    return client, run.info.run_id, new.info.artifact_uri


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["moved", "copied"])
@pytest.mark.parametrize("name", ["after", "sp ace 中文", "x%20y"])
def test_a_project_takes_its_store_along(before: Path, kind: str, name: str) -> None:
    after = before.with_name(name)
    (before.rename if kind == "moved" else lambda to: shutil.copytree(before, to))(after)
    original = moved_store.record_of(after / "runs/toy/a-1")
    client, run, new = opened(after)
    assert database.path_of(new).is_relative_to(after / "mlartifacts" / "toy")
    assert client.get_run(run).data.tags["lslm.directory"] == str(after / "runs/toy/a-1")
    client.log_text(run, "second", "second.txt")
    assert (after / "mlartifacts/toy" / run / "artifacts/second.txt").exists()
    assert Path(client.download_artifacts(run, "note.txt")).read_text() == "first"
    [model] = client.search_logged_models([client.get_run(run).info.experiment_id])
    assert [each.path for each in client.list_logged_model_artifacts(model.model_id)] == ["x.txt"]
    source = database.path_of(client.get_model_version_download_uri("toy", "1"))
    assert (source / "x.txt").exists()
    assert source.is_relative_to(after)
    assert recorded_store(original, after / "runs/toy/a-1") == f"sqlite:///{after}/mlflow.db"
    assert before.exists() == (kind == "copied")
    if kind == "copied":
        _, _, stays = opened(before)
        assert Path(stays).is_relative_to(before)
        assert not list(before.rglob("second.txt"))
        assert recorded_store(original, before / "runs/toy/a-1") == f"sqlite:///{before}/mlflow.db"


def test_runs_stay_where_their_artifacts_are(before: Path) -> None:
    """Only the file was moved: what was stored is read there, what is new goes beside the file."""
    after = before.with_name("after")
    after.mkdir()
    (before / "mlflow.db").rename(after / "mlflow.db")
    client, run, new = opened(after)
    assert Path(client.download_artifacts(run, "note.txt")).read_text() == "first"
    assert Path(new).is_relative_to(after)
    moved_store.adopt_run(after / "mlflow.db", after / "mlartifacts", run)
    client.log_text(run, "second", "second.txt")
    assert (after / "mlartifacts/toy" / run / "artifacts/second.txt").exists()
    shutil.rmtree(after / "mlartifacts")
    (before / "mlartifacts").rename(after / "mlartifacts")
    client, run, _ = opened(after)
    assert Path(client.download_artifacts(run, "note.txt")).read_text() == "first"


@pytest.mark.parametrize(
    "location",
    [
        "/somewhere/else/toy",
        "s3://bucket/mlartifacts/toy",
        "mlflow-artifacts:/1",
        "/x/mlartifacts/1",
    ],
)
def test_a_location_that_is_not_ours_stays(before: Path, location: str) -> None:
    execute(
        before / "mlflow.db",
        f"UPDATE experiments SET artifact_location = '{location}' WHERE name = 'toy'",
    )
    Store(f"sqlite:///{before}/mlflow.db").client()
    [found] = execute(
        before / "mlflow.db", "SELECT artifact_location FROM experiments WHERE name = 'toy'"
    )
    assert found == (location,)


def test_another_name_of_the_same_folder_changes_nothing(
    before: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before.with_name("link").symlink_to(before)
    content = (before / "mlflow.db").read_bytes()
    Store(f"sqlite:///{before.with_name('link')}/mlflow.db").client()
    assert (before / "mlflow.db").read_bytes() == content
    assert not caplog.records


def test_a_run_that_was_moved_alone_keeps_its_store(before: Path) -> None:
    other = before.with_name("other")
    (other / "runs/toy").mkdir(parents=True)
    shutil.copy(before / "mlflow.db", other)
    execute(other / "mlflow.db", "DELETE FROM tags", "DELETE FROM runs")
    moved = (before / "runs/toy/a-1").rename(other / "runs/toy/a-1")
    noted = moved_store.record_of(moved)
    for record in (noted, noted | {"directory": f"{before}/runs/toy/a-1"}):
        assert recorded_store(record, moved) == f"sqlite:///{before}/mlflow.db"
    os.remove(before / "mlflow.db")
    assert recorded_store(noted, moved) is None
