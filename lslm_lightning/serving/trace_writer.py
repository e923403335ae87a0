"""Traces of requests in MLflow: a tree of spans each, in the experiment of the model's run and
linked to that run and its LoggedModel, or in an experiment of their own.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from lslm_lightning.run_files import RECORD
from lslm_lightning.runs.registered import unless_missing
from lslm_lightning.serving.traces import RequestTrace, TextTrace, TraceOutcome
from lslm_lightning.tracking.store import Store, store_of_run
from lslm_lightning.types import Json, JsonObject

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LiveSpan, Run

EXPERIMENT = "serving"  # of traces whose run MLflow does not know
PAUSE_SECONDS = 15.0  # after a failure, in which a store is not asked again
OWN = "lslm.directory"  # tag of the runs of this package
RUN = "mlflow.sourceRun"  # metadata of a trace by which MLflow's pages find it
MODEL = "mlflow.modelId"
NAMED = "MLFLOW_TRACKING_URI"
ERRORS = 400  # and above: status of requests that were not answered

Phase: TypeAlias = tuple[str, float | None, float | None]
"""Name, begin and end of a part of an answer, in Unix seconds."""


class TraceTarget(NamedTuple):
    """Store and experiment of the traces of a model, and the metadata that links them."""

    store: Store
    client: "MlflowClient"
    experiment_id: str
    links: dict[str, str]

    def ask(self, question: Callable[[], object]) -> None:
        """Call a function that uses MLflow.

        Raises:
            TrackingError: a server does not answer in seconds.
            Exception: the store refuses.
        """
        if self.store.is_server:
            self.store.request(question)
        else:
            question()

    def check(self) -> None:
        """Check that the store answers; the errors are those of `ask`."""
        self.ask(lambda: self.client.get_experiment(self.experiment_id))


class TraceWriter:
    """Traces that are written to MLflow one after the other.

    Args:
        clock: function that returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._targets: dict[str, TraceTarget] = {}
        self._failures: dict[str, tuple[float, str]] = {}  # time and reason, by run directory

    def write_all(self, traces: Sequence[RequestTrace]) -> TraceOutcome:
        """Write some traces, and return how many MLflow has. While a store does not answer, those
        that come soon after are lost without an attempt.
        """
        n_written = 0
        problem = None
        for trace in traces:
            failed, reason = self._failures.get(trace.directory, (0.0, ""))
            if reason and self.clock() - failed < PAUSE_SECONDS:
                problem = reason
                continue
            try:
                self.write(trace)
                n_written += 1
            except Exception as error:  # the next may succeed
                problem = Store().explain(error)
        return TraceOutcome(n_written, len(traces) - n_written, problem)

    def write(self, trace: RequestTrace) -> str:
        """Write a trace, and return its id.

        Raises:
            Exception: the store does not answer, or has not got the trace.
        """
        target = self._target(trace.directory)
        write_to(target.store)
        trace_id = add_spans(trace, target)
        # MLflow raises none of the errors that it has while it stores a trace
        target.ask(lambda: target.client.get_trace(trace_id, display=False))
        return trace_id

    def _target(self, directory: str) -> TraceTarget:
        """Return where the traces of a model belong, if the store answers.

        Raises:
            Exception: it does not; it is not asked again for a while.
        """
        try:
            target = self._targets.get(directory)
            if target is None:
                target = self._targets[directory] = target_of(directory)
            else:
                target.check()
        except Exception as error:
            self._targets.pop(directory, None)
            self._failures[directory] = self.clock(), Store().explain(error)
            raise
        self._failures.pop(directory, None)
        return target


def write_to(store: Store) -> None:
    """Let MLflow write the next spans to a store. It would make the store that of all runs too."""
    import mlflow

    named = os.environ.get(NAMED)
    mlflow.set_tracking_uri(store.uri)
    if named is None:
        os.environ.pop(NAMED, None)
    else:
        os.environ[NAMED] = named


def add_spans(trace: RequestTrace, target: TraceTarget) -> str:
    """Store the spans of a trace, and return its id.

    MLflow raises no error of the store.
    """
    import mlflow
    from mlflow.entities import SpanType

    model = trace.texts[0].model if trace.texts else None
    # what MLflow's list of traces shows of each; facts in place of texts
    inputs: Json = {"route": trace.route, "model": model}
    outputs: Json = {"status": trace.status, "tokens": trace.n_token}
    if trace.has_texts:
        inputs = [text.source for text in trace.texts]
        outputs = [text.answers for text in trace.texts]
    facts: JsonObject = {
        "request_id": trace.id,
        "status": trace.status,
        "model": model,
        "texts": trace.n_text,
        "prompt_tokens": trace.n_prompt_token,
        "tokens": trace.n_token,
        "first_token_seconds": first_token_seconds(trace),
    }
    root = mlflow.start_span_no_context(
        f"{trace.method} {trace.route}",
        SpanType.CHAIN,
        inputs=inputs,
        attributes=facts,
        tags={"lslm.request_id": trace.id},
        metadata={"mlflow.source.name": "lslm serve", **target.links},
        experiment_id=target.experiment_id,
        start_time_ns=nanoseconds(trace.began),
    )
    for text in trace.texts:
        add_text(text, root)
    root.end(
        outputs=outputs,
        status="ERROR" if trace.status >= ERRORS else "OK",
        end_time_ns=nanoseconds(trace.ended),
    )
    return str(root.trace_id)


def add_text(text: TextTrace, root: "LiveSpan") -> None:
    """Store the spans of the answers to one text."""
    import mlflow
    from mlflow.entities import SpanType

    facts: JsonObject = {
        "mlflow.llm.model": text.model,
        "mlflow.chat.tokenUsage": {
            "input_tokens": text.n_prompt_token,
            "output_tokens": text.n_token,
            "total_tokens": text.n_prompt_token + text.n_token,
        },
        "cached_prompt_tokens": text.n_cached_token,
        "finish_reasons": list(text.reasons),
        "batch_rows": None if text.times is None else text.times.n_row,
    }
    span = mlflow.start_span_no_context(
        "answer",
        SpanType.LLM,
        root,
        inputs=text.source,
        attributes=facts,
        start_time_ns=nanoseconds(text.began),
    )
    for name, began, ended in phases_of(text):
        if began is not None and ended is not None:
            part = mlflow.start_span_no_context(
                name, SpanType.TASK, span, start_time_ns=nanoseconds(began)
            )
            part.end(end_time_ns=nanoseconds(ended))
    answers = None if text.answers is None else list(text.answers)
    span.end(outputs=answers, end_time_ns=nanoseconds(text.ended))


def phases_of(text: TextTrace) -> Sequence[Phase]:
    """Return the parts of an answer: the wait, the prompt, which ends with the first token, and the
    other tokens. A model that answers as a whole has no times of its prompt.
    """
    times = text.times
    if times is None:
        return ()
    queue = ("queue", text.began, times.begun)
    if times.read is None:
        return queue, ("generation", times.begun, times.ended)
    return queue, ("prompt", times.begun, times.read), ("generation", times.read, times.ended)


def first_token_seconds(trace: RequestTrace) -> float | None:
    """Return the seconds from the arrival of a request to the first part of a stream; without a
    stream, to its first token in the engine; None if it has none.
    """
    if trace.first_seconds is not None:
        return round(trace.first_seconds, 4)
    read = [text.times.read for text in trace.texts if text.times and text.times.read]
    return round(min(read) - trace.began, 4) if read else None


def nanoseconds(seconds: float) -> int:
    """Return a time in nanoseconds."""
    return round(seconds * 1e9)


def target_of(directory: str) -> TraceTarget:
    """Return where the traces of a model belong.

    Args:
        directory: run directory of the model; "" for a request that no model answered.

    Raises:
        TrackingError: the store does not answer.
    """
    record = record_of(directory)
    store = store_for(record, directory)
    client = store.client()
    run = known_run(store, client, record.get("run_id"))
    if run is None:
        _, experiment_id = store.open_experiment(EXPERIMENT)
        links: dict[str, str] = {}
    else:
        experiment_id = run.info.experiment_id
        links = {RUN: run.info.run_id}
        model_id = (record.get("model") or {}).get("model_id")
        if is_model_of(store, client, model_id, run):
            links[MODEL] = str(model_id)
    experiment = store.request(lambda: client.get_experiment(experiment_id))
    store.check_artifacts(experiment.artifact_location)
    return TraceTarget(store, client, experiment_id, links)


def record_of(directory: str) -> JsonObject:
    """Return what a run directory records of its run in MLflow; nothing if it cannot be read."""
    try:
        found = json.loads(Path(directory, RECORD).read_text("utf-8")) if directory else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def store_for(record: JsonObject, directory: str) -> Store:
    """Return the store of a run; that of this folder if the one that it records may not be used."""
    try:
        with store_of_run(record, Path(directory)):
            return Store()
    except ValueError:
        return Store()


def known_run(store: Store, client: "MlflowClient", run_id: Json) -> "Run | None":
    """Return a run that MLflow has, if it is one of this package and was not deleted."""
    if not isinstance(run_id, str):
        return None
    run = unless_missing(store, lambda: client.get_run(run_id))
    is_ours = run is not None and run.info.lifecycle_stage == "active" and OWN in run.data.tags
    return run if is_ours else None


def is_model_of(store: Store, client: "MlflowClient", model_id: Json, run: "Run") -> bool:
    """Return whether a LoggedModel exists and is of a run, as its run directory says."""
    if not isinstance(model_id, str):
        return False
    found = unless_missing(store, lambda: client.get_logged_model(model_id))
    return found is not None and found.source_run_id == run.info.run_id
