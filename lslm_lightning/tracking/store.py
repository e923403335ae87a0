"""Where runs are stored: an MLflow server, or one SQLite file beside the project."""

import logging
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from lslm_lightning.safety import named_servers
from lslm_lightning.safety.paths import is_inside
from lslm_lightning.safety.redaction import learn_address, redacted
from lslm_lightning.tracking import database
from lslm_lightning.tracking.views import KIND

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

SQLITE = re.compile(r"sqlite(\+pysqlite)?:///(?!:memory:)(?P<path>.+?)(\?(?P<options>\w+=[^/?]*))?")
ANSWER_SECONDS = 5.0
KINDS = (
    "http://host:5000 for a server, sqlite:///mlflow.db for a file; unset "
    "MLFLOW_TRACKING_URI for the file of this folder"
)
PASSING = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}  # MLflow's words
REFUSALS = set(range(400, 500)) - {408, 429}  # HTTP: it will not change its mind
SILENCE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # what it prints may hold a password
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# environment variable: the store of the run that goes on, for all its processes
OF_RUN = "LSLM_STORE"
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


class TrackingError(OSError):
    """MLflow cannot store this run. One line, without passwords."""


class Store:
    """An MLflow tracking store by its address.

    Args:
        uri: default: `MLFLOW_TRACKING_URI`, or that of the run that goes on (`store_of_run`), or
            `mlflow.db` in the working directory, artifacts in `mlartifacts/` beside it. Passwords
            inside are used but never shown. What follows `sqlite:///` is a path, with options for
            SQLite after a last `?`.
    """

    def __init__(self, uri: str | None = None) -> None:
        named = uri or os.environ.get("MLFLOW_TRACKING_URI")
        recorded = None if named else os.environ.get(OF_RUN)
        # by the user; by a run
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
        """Return whether both addresses lead to one store, as far as they say."""
        if self.file and other.file:
            return self.file.resolve() == other.file.resolve()
        return str(self) == str(other)

    @property
    def is_server(self) -> bool:
        return self.uri.startswith(("http://", "https://", "databricks"))

    @property
    def artifacts(self) -> Path | None:
        """The folder of artifacts; None where a server keeps them."""
        if self.is_server:
            return None
        return (self.file.parent if self.file else Path.cwd()) / database.ARTIFACTS

    def redact(self, text: str) -> str:
        """`text` without secrets, that of the address included."""
        return redacted(text.replace(self.uri, str(self)))

    def check_artifacts(self, address: str) -> None:
        """Refuse a database that keeps the files of runs elsewhere: files, and perhaps credentials,
        would go there.

        Raises:
            TrackingError: the place is a web server that the user has not named, or else the user
                has not named the database, and the place is on another machine or, of a run's,
                outside of its folder.
        """
        if not self.file:
            return
        if home := re.match(r"(?i)(?:https?|mlflow-artifacts)://[^/?#]*", address):
            if not named_servers.is_known(home[0]):
                raise TrackingError(
                    f"{self.file} keeps the files of its runs at {self.redact(home[0])}, which "
                    "you have not named:"
                    " set MLFLOW_TRACKING_URI to the server, or unset it in another folder for "
                    "a database of your own"
                )
            return
        folder = Path(address) if ":" not in address else database.path_of(address)
        is_here = folder is not None and folder.resolve().is_relative_to(self.file.parent.resolve())
        if not self.is_named and (folder is None or (self.is_of_run and not is_here)):
            raise TrackingError(
                f"{self.file} keeps the files of its runs at {self.redact(address)}, outside of "
                "its folder;"
                f" if that is right, set MLFLOW_TRACKING_URI={self}"
            )

    def explain(self, error: BaseException) -> str:
        """The reason in one line of at most 300 characters, safe to show; that of the network or
        the file where it began there.
        """
        origin = causes(error)[-1]
        reason = (
            str(origin if isinstance(origin, OSError | sqlite3.Error) else error)
            or type(error).__name__
        )
        reason = " ".join(self.redact(reason).split())
        return reason if len(reason) <= 300 else reason[:297] + "..."

    def is_passing(self, error: BaseException) -> bool:
        """Whether the same request may succeed later: the store is away or busy, rather than
        against it.
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
        """MLflow's client on this store, without MLflow's chatter.

        Raises:
            TrackingError: the address is none that MLflow knows, or its file cannot be written.
        """
        for name, value in SILENCE.items():
            os.environ.setdefault(name, value)
        import mlflow  # noqa: F401 - it sets the levels of its loggers when it is imported

        # its errors are raised too, and told by us
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        return self.ask(self._open)

    def _open(self) -> "MlflowClient":
        from mlflow import MlflowClient

        if self.uri.startswith("sqlite:") and not self.file:
            raise TrackingError(
                f"MLFLOW_TRACKING_URI={self.uri} is in memory, and gone with this command: name "
                "a file, as in sqlite:///mlflow.db"
            )
        if self.file and self.artifacts:
            database.prepare(self.file)
            database.check_address(self.uri)
            database.repoint(self.file, self.artifacts)
        return MlflowClient(self.uri)

    def open_experiment(self, task: str) -> tuple["MlflowClient", str]:
        """A client and the id of the task's experiment, created when new; safe when several
        processes start at once.

        Raises:
            TrackingError: within seconds, where MLflow's own retries last minutes; a name that
                would lead out of the folder of artifacts.
        """
        if self.artifacts and not is_inside(task):
            raise TrackingError(
                f"the experiment {task!r} must be a name inside {self.artifacts}, without a "
                "first / or ..; rename it"
            )
        client = self.client()
        return client, self.ask(lambda: self._experiment(client, task))

    def adopt_run(self, run_id: str) -> None:
        """See that the artifacts of a run that goes on go to where those of this store are."""
        if self.file and self.artifacts:
            database.adopt_run(self.file, self.artifacts, run_id)

    def ask(self, question: Callable[[], T]) -> T:
        """The answer of MLflow, asked once.

        Raises:
            TrackingError: it refused, or gave none within `ANSWER_SECONDS`.
        """
        try:
            if self.file:
                with database.exclusive(self.file):
                    return question()
            with impatient():
                return within(ANSWER_SECONDS, question)
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
    """Return the file that an address `sqlite:///...` names.

    Where `%20` and the like stand in it, a folder that is called so comes before one whose name
    they quote; a server's or another program's address quotes, ours do not.
    """
    literal = Path(text).absolute()
    quoted = Path(unquote(text)).absolute()
    is_quoted = not literal.parent.exists() and quoted.parent.exists()
    is_quoted = is_quoted or (not literal.exists() and quoted.exists())
    return quoted if is_quoted else literal


def recorded_store(noted: Mapping[str, Any], directory: Path) -> str | None:
    """The address at which a run began, as its mlflow.json has it; None where the environment names
    one, or that one is no more.

    A run may come from a stranger: what it names is used where it is a file here, or a server that
    this user has named before. Of a project that was moved or copied as a whole, it is the store
    that lies to the run's `directory` as that one did.

    Raises:
        ValueError: it holds a password, which was not noted; or this user has never named it.
    """
    recorded = noted.get("store", "")
    if os.environ.get("MLFLOW_TRACKING_URI") or not recorded:
        return None
    if "***" in recorded:
        raise ValueError(
            f"the run is in MLflow at {recorded}: set MLFLOW_TRACKING_URI, for its password was "
            "not noted"
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
def store_of_run(noted: Mapping[str, Any], directory: Path) -> Iterator[None]:
    """Let the store that a run has recorded be that of `Store()` inside, where the user names none.

    Raises:
        ValueError: see `recorded_store`.
    """
    if store := recorded_store(noted, directory):
        os.environ[OF_RUN] = store
    try:
        yield
    finally:
        os.environ.pop(OF_RUN, None)


def store_beside(file: Path, noted: Mapping[str, Any], directory: Path) -> Path:
    """Return the store of the project in which a run is now, `file` where that one does not know
    the run.
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
    return moved if moved.exists() and database.has_run(moved, noted.get("run_id", "")) else file


def causes(error: BaseException) -> list[BaseException]:
    """The error, the one that led to it, and so on."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [error, *(causes(before) if before else [])]


@contextmanager
def impatient() -> Iterator[None]:
    """MLflow asks once and waits seconds."""
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


def within(seconds: float, question: Callable[[], T]) -> T:
    """What `question` returns or raises; TimeoutError where it takes longer (its thread is left
    behind).
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
