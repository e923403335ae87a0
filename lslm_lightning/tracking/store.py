"""MLflow store of runs: a server, or an SQLite file in the project folder."""

import logging
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from lslm_lightning.safety import named_servers
from lslm_lightning.safety.paths import is_inside
from lslm_lightning.safety.redaction import learn_address, redacted
from lslm_lightning.tracking import database, moved_store
from lslm_lightning.tracking.views import KIND
from lslm_lightning.types import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

SQLITE = re.compile(r"sqlite(\+pysqlite)?:///(?!:memory:)(?P<path>.+?)(\?(?P<options>\w+=[^/?]*))?")
ANSWER_SECONDS = 5.0
KINDS = (
    "http://host:5000 for a server, sqlite:///mlflow.db for a file; unset "
    "MLFLOW_TRACKING_URI for the file of this folder"
)
PASSING = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}  # MLflow's error codes
REFUSALS = set(range(400, 500)) - {408, 429}  # HTTP status codes for which a retry is useless
SILENCE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # what it prints may hold a password
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# environment variable: the store of the resumed run, for all its processes
OF_RUN = "LSLM_STORE"
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


class TrackingError(OSError):
    """MLflow cannot store a run; the message is one line without passwords."""


class Store:
    """MLflow tracking store at an address.

    Args:
        uri: address of the store. Default: `MLFLOW_TRACKING_URI`, else the store of the resumed run
            (`store_of_run`), else `mlflow.db` in the working directory, with artifacts in
            `mlartifacts/` beside it. Passwords in the address are used but never shown. The part
            after `sqlite:///` is a path, optionally followed by `?` and options for SQLite.
    """

    def __init__(self, uri: str | None = None) -> None:
        named = uri or os.environ.get("MLFLOW_TRACKING_URI")
        recorded = None if named else os.environ.get(OF_RUN)
        self.is_named = bool(named)
        self.is_of_run = bool(recorded)
        self.uri = named or recorded or "sqlite:///mlflow.db"
        self.file: Path | None = None
        if found := SQLITE.fullmatch(self.uri):
            self.file = path_in(found["path"].removeprefix("file:"))
            options = [each for each in (found["options"] or "").split("&") if each != "uri=true"]
            self.uri = database.uri_of(self.file, "&".join(options))
        else:
            learn_address(self.uri)

    def __str__(self) -> str:
        return (
            f"sqlite:///{self.file}"
            if self.file
            else re.sub(r"//.*@", "//***@", re.sub(r"\?.*", "?***", self.uri))
        )

    def is_same(self, other: "Store") -> bool:
        """Return whether both stores are the same, as far as their addresses tell."""
        if self.file and other.file:
            return self.file.resolve() == other.file.resolve()
        return str(self) == str(other)

    @property
    def is_server(self) -> bool:
        return self.uri.startswith(("http://", "https://", "databricks"))

    @property
    def artifacts(self) -> Path | None:
        """Folder of artifacts beside the SQLite file; None for a server."""
        if self.is_server:
            return None
        return (self.file.parent if self.file else Path.cwd()) / database.ARTIFACTS

    def redact(self, text: str) -> str:
        """Return the text without secrets, including those in the store's address."""
        return redacted(text.replace(self.uri, str(self)))

    def check_artifacts(self, address: str) -> None:
        """Check that a database does not name an artifact location that the user has not chosen.

        Files, and perhaps credentials, would be sent to that location.

        Raises:
            TrackingError: the location is a web server that the user has never named. Or the user
                has not named the database, and the location is on another machine or, for the store
                of a resumed run, outside of the store's folder.
        """
        if not self.file:
            return
        if home := re.match(r"(?i)(?:https?|mlflow-artifacts)://[^/?#]*", address):
            if not named_servers.is_known(home[0]):
                raise TrackingError(
                    f"{self.file} stores the files of its runs at {self.redact(home[0])}, which "
                    "you have not named:"
                    " set MLFLOW_TRACKING_URI to the server, or unset it in another folder for "
                    "a database of your own"
                )
            return
        folder = Path(address) if ":" not in address else database.path_of(address)
        is_here = folder is not None and folder.resolve().is_relative_to(self.file.parent.resolve())
        if not self.is_named and (folder is None or (self.is_of_run and not is_here)):
            raise TrackingError(
                f"{self.file} stores the files of its runs at {self.redact(address)}, outside of "
                "its folder;"
                f" if that is right, set MLFLOW_TRACKING_URI={self}"
            )

    def explain(self, error: BaseException) -> str:
        """Return the message of an error on one line of at most 300 characters, without secrets.

        If a network or file error caused it, the message is the one of that error.
        """
        origin = causes(error)[-1]
        reason = (
            str(origin if isinstance(origin, OSError | sqlite3.Error) else error)
            or type(error).__name__
        )
        reason = " ".join(self.redact(reason).split())
        return reason if len(reason) <= 300 else reason[:297] + "..."

    def is_passing(self, error: BaseException) -> bool:
        """Return whether the same request may succeed later, because the store is unavailable or
        busy.
        """
        from requests import HTTPError, RequestException

        if getattr(error, "error_code", None) in PASSING:
            return True
        errors = causes(error)
        refused = any(
            isinstance(e, HTTPError)
            and e.response is not None
            and e.response.status_code in REFUSALS
            for e in errors
        )
        return not refused and any(
            isinstance(e, RequestException | ConnectionError | TimeoutError) for e in errors
        )

    def client(self) -> "MlflowClient":
        """Return an MLflow client of this store, with MLflow's own log messages silenced.

        Raises:
            TrackingError: MLflow does not support such an address, or the file cannot be written.
        """
        for name, value in SILENCE.items():
            os.environ.setdefault(name, value)
        import mlflow  # noqa: F401 - it sets the levels of its loggers when it is imported

        # its errors are raised too, and reported by the caller
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        return self.request(self._open)

    def _open(self) -> "MlflowClient":
        from mlflow import MlflowClient

        if self.uri.startswith("sqlite:") and not self.file:
            raise TrackingError(
                f"MLFLOW_TRACKING_URI={self.uri} is in memory and would be lost with this "
                "command: name a file, as in sqlite:///mlflow.db"
            )
        if self.file and self.artifacts:
            database.prepare(self.file)
            database.check_address(self.uri)
            moved_store.repoint(self.file, self.artifacts)
        return MlflowClient(self.uri)

    def open_experiment(self, task: str) -> tuple["MlflowClient", str]:
        """Return a client and the id of the experiment named `task`, which is created if it does
        not exist.

        Several processes may do so at once.

        Raises:
            TrackingError: the store does not answer within seconds (MLflow's own retries last
                minutes), or the experiment's name would lead out of the artifact folder.
        """
        if self.artifacts and not is_inside(task):
            raise TrackingError(
                f"the experiment {task!r} must be a name inside {self.artifacts}, without a "
                "leading / and without ..; rename it"
            )
        client = self.client()
        return client, self.request(lambda: self._experiment(client, task))

    def adopt_run(self, run_id: str) -> None:
        """Set the artifact location of a resumed run to a folder inside the artifact folder of this
        store.
        """
        if self.file and self.artifacts:
            moved_store.adopt_run(self.file, self.artifacts, run_id)

    def request(self, question: Callable[[], T]) -> T:
        """Call `question`, a function that uses MLflow, once and return its result.

        Raises:
            TrackingError: MLflow refused, or did not answer within `ANSWER_SECONDS`.
        """
        try:
            if self.file:
                with database.exclusive(self.file):
                    return question()
            with fail_fast():
                return run_with_timeout(ANSWER_SECONDS, question)
        except TrackingError:
            raise
        except database.DatabaseError as error:
            raise TrackingError(str(error)) from None
        except Exception as error:
            broken = next((each for each in causes(error) if database.is_broken(each)), None)
            if self.file and broken:
                raise TrackingError(database.damage(self.file, str(broken))) from None
            raise TrackingError(
                f"cannot use MLflow at {self}: {self.explain(error)} (addresses: {KINDS})"
            ) from None

    def _experiment(self, client: "MlflowClient", task: str) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(task)
        if found is None:
            if self.artifacts:
                self.artifacts.mkdir(parents=True, exist_ok=True)
            location = database.location_of(self.artifacts / task) if self.artifacts else None
            try:
                return client.create_experiment(task, artifact_location=location, tags=KIND)
            except MlflowException as error:
                found = client.get_experiment_by_name(task)  # another process was faster
                if found is None:
                    raise error
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"the experiment {task!r} was deleted in MLflow at {self}; "
                f"bring it back with `mlflow experiments restore -x {found.experiment_id}`"
            )
        return found.experiment_id


def path_in(text: str) -> Path:
    """Return the file that an address `sqlite:///...` denotes.

    Addresses written by a server or another program are URL-quoted, those of this package are not.
    Therefore a `%20` is taken literally if a file or folder of that name exists, else as a quoted
    character.

    Args:
        text: part of the address after `sqlite:///`.
    """
    literal = Path(text).absolute()
    quoted = Path(unquote(text)).absolute()
    is_quoted = not literal.parent.exists() and quoted.parent.exists()
    is_quoted = is_quoted or (not literal.exists() and quoted.exists())
    return quoted if is_quoted else literal


def recorded_store(noted: Settings, directory: Path) -> str | None:
    """Return the store address recorded in a run's mlflow.json; None if MLFLOW_TRACKING_URI is set,
    or if the recorded database does not exist.

    A run may come from somebody else, so its address is used only if it is a local file, or a
    server that this user has named before. If the whole project was moved or copied, the result is
    the database in the new project folder.

    Args:
        noted: contents of mlflow.json.
        directory: the run directory.

    Raises:
        ValueError: the address contains a password, which is not recorded, or this user has never
            named it.
    """
    recorded = noted.get("store", "")
    if os.environ.get("MLFLOW_TRACKING_URI") or not recorded:
        return None
    if "***" in recorded:
        raise ValueError(
            f"the run is in MLflow at {recorded}: set MLFLOW_TRACKING_URI, since its password is "
            "not recorded"
        )
    file = Store(recorded).file
    if file is None and not named_servers.is_known(recorded):
        raise ValueError(
            f"the run names MLflow at {redacted(recorded)}, which you have not used on this "
            "machine; to send the run and your"
            f" credentials there, set MLFLOW_TRACKING_URI={redacted(recorded)}"
        )
    if file is None:
        return recorded
    file = store_beside(file, noted, directory.absolute())
    return f"sqlite:///{file}" if file.exists() else None


@contextmanager
def store_of_run(noted: Settings, directory: Path) -> Iterator[None]:
    """Make the recorded store of a run the default of `Store()` inside the context.

    An address that the user names takes precedence. See `recorded_store` for the arguments.

    Raises:
        ValueError: the recorded address must not be used, as in `recorded_store`.
    """
    if store := recorded_store(noted, directory):
        os.environ[OF_RUN] = store
    try:
        yield
    finally:
        os.environ.pop(OF_RUN, None)


def store_beside(file: Path, noted: Settings, directory: Path) -> Path:
    """Return the database in the current project folder of a run if it contains the run, else
    `file`.

    Args:
        file: database recorded in the run's mlflow.json.
        noted: contents of mlflow.json.
        directory: absolute path of the run directory.
    """
    # runs/<task>/<name>; older records do not say
    usual = file.parent / Path(*directory.parts[-3:])
    before = Path(noted.get("directory", usual))
    if before == directory or not before.is_relative_to(file.parent):
        return file
    depth = len(before.relative_to(file.parent).parts)
    if depth > len(directory.parents):
        return file
    moved = directory.parents[depth - 1] / file.name
    return moved if moved.exists() and moved_store.has_run(moved, noted.get("run_id", "")) else file


def causes(error: BaseException) -> list[BaseException]:
    """Return an error and the chain of errors that caused it, the original one last."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [error, *(causes(before) if before else [])]


@contextmanager
def fail_fast() -> Iterator[None]:
    """Make MLflow try each request only once inside the context, for at most `ANSWER_SECONDS`."""
    settings = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(round(ANSWER_SECONDS)),
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def run_with_timeout(seconds: float, question: Callable[[], T]) -> T:
    """Call `question` in a thread and return its result.

    Raises:
        TimeoutError: the call took more than `seconds`; the thread is left running.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:g} seconds") from None
