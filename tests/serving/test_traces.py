"""Traces of requests: which are taken, what they tell, and what becomes of those that are lost."""

import asyncio
import json
import logging
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Span, SpanStatusCode, Trace

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.run_files import RECORD
from lslm_lightning.serving import tracer as tracer_module
from lslm_lightning.serving.engine import EngineCore
from lslm_lightning.serving.protocol import AnswerRequest, AnswerTimes
from lslm_lightning.serving.served_model import ServedModel
from lslm_lightning.serving.trace_writer import EXPERIMENT, PAUSE_SECONDS, TraceWriter
from lslm_lightning.serving.tracer import RequestTracer
from lslm_lightning.serving.traces import (
    MOST_TEXTS,
    RequestTrace,
    TextTrace,
    TraceOutcome,
    TraceSettings,
)
from lslm_lightning.serving.visits import Visit
from lslm_lightning.tracking import Tracker
from lslm_lightning.tracking import store as store_module
from lslm_lightning.types import JsonObject
from tests.serving.conftest import answered, answers_of
from tests.serving.http_server import HOLDER, KEY, KEYS, Served
from tests.serving.prompt_tracing import start_promptly
from tests.support.mlflow_server import free_port
from tests.support.waiting import PATIENCE, at_most, wait_until

WORK = "/v1/completions"
SECRET = "a text of a client"
ALL = TraceSettings(1.0)
BEGAN = 1_700_000_000.0  # Unix seconds


def traced(directory: str = "", status: int = 200, source: str | None = None) -> RequestTrace:
    """A trace of a request with one text, which came at `BEGAN` and took ten seconds."""
    times = AnswerTimes(BEGAN + 2, BEGAN + 4, BEGAN + 9, 5)
    answers = None if source is None else ("answer of it",)
    text = TextTrace("letters", BEGAN + 0.5, BEGAN + 9, times, 7, 3, 11, ("stop",), source, answers)
    return RequestTrace(
        has_texts=source is not None,
        began=BEGAN,
        ended=BEGAN + 10,
        directory=directory,
        id="my-id",
        method="POST",
        route=WORK,
        status=status,
        n_text=1,
        n_prompt_token=7,
        n_token=11,
        texts=[text] if status == 200 else [],
    )


@pytest.fixture(autouse=True)
def no_store_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let MLflow forget at the end which store a writer in this process has named for all runs."""
    yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # as before it was first called


@pytest.fixture(autouse=True)
def prompt_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process that writes traces have the priority of the tests."""
    monkeypatch.setattr(tracer_module, "start_writing", start_promptly)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[RequestTrace]:
    """The traces that tracers are given to write."""
    found: list[RequestTrace] = []

    def keep(self: RequestTracer, batch: list[RequestTrace]) -> TraceOutcome:
        found.extend(batch)
        return TraceOutcome(len(batch), 0)

    monkeypatch.setattr(RequestTracer, "_write", keep)
    monkeypatch.setattr(tracer_module, "POLL_SECONDS", 0.01)
    return found


@contextmanager
def tracing(served: Served) -> Iterator[Served]:
    """Let the tracer of an application work until all of its traces are written or lost."""
    served.app.tracer.start()
    try:
        yield served
    finally:
        asyncio.run(served.app.tracer.stop(PATIENCE))


def outcomes_in(figures: str) -> dict[str, float]:
    """Number of traces by outcome, in the text of all figures."""
    found = [line.rsplit(" ", 1) for line in figures.splitlines() if "lslm_traces_total{" in line]
    return {name.split('"')[1]: float(value) for name, value in found}


def metrics(served: Served) -> dict[str, float]:
    """Number of traces by outcome, as `/metrics` has them."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return outcomes_in(served.client.get("/metrics", headers=headers).text)


def wait_for(served: Served, outcomes: dict[str, float]) -> None:
    """Wait until so many traces have each outcome, which `/metrics` then has too."""
    figures = served.app.service.measures  # a request takes far longer than a look at them
    wait_until(lambda: outcomes_in(figures.text().decode()) == outcomes, f"traces {outcomes}")
    assert metrics(served) == outcomes


def test_the_share_of_traced_requests_is_that_of_the_settings() -> None:
    draws = iter([0.1 * k for k in range(10)])
    tracer = RequestTracer(TraceSettings(0.35), lambda outcome, n: None, draw=lambda: next(draws))
    assert [tracer.sample() is not None for _ in range(10)] == [True] * 4 + [False] * 6
    none = RequestTracer(TraceSettings(), lambda outcome, n: None, draw=lambda: 0.0)
    assert none.sample() is None
    whole = RequestTracer(ALL, lambda outcome, n: None, draw=lambda: 1 - 1e-16)
    assert whole.sample() is not None


@pytest.mark.parametrize("streams", [False, True])
def test_a_trace_tells_of_a_request_what_the_log_and_the_engine_tell(
    streams: bool, kept: list[RequestTrace]
) -> None:
    with tracing(Served(keys=KEYS, traces=ALL)) as served:
        body = {"prompt": [SECRET, "abc"], "stream": streams, "model": "letters"}
        headers = {"Authorization": f"Bearer {KEY}"}
        assert served.client.post(WORK, json=body, headers=headers).status_code == 200
    [trace] = kept
    line = json.loads(served.lines[0])
    assert (trace.method, trace.route, trace.status) == ("POST", WORK, 200)
    assert (trace.id, trace.n_prompt_token) == (line["id"], line["prompt_tokens"])
    assert (trace.n_token, trace.n_text) == (line["tokens"], 2)
    assert trace.ended - trace.began == pytest.approx(line["seconds"], abs=1e-3)
    assert (trace.first_seconds is None) == (not streams)
    assert sorted(text.n_prompt_token for text in trace.texts) == [3, len(SECRET)]
    assert {text.times.n_row for text in trace.texts if text.times} == {5}
    assert metrics(served) == {"written": 1.0}
    assert SECRET not in str(trace)
    assert KEY not in str(trace)
    assert HOLDER not in str(trace)


def test_texts_are_told_if_they_are_asked_for(kept: list[RequestTrace]) -> None:
    with tracing(Served(traces=TraceSettings(1.0, True))) as served:
        messages = [{"role": "user", "content": SECRET}]
        served.client.post(WORK, json={"prompt": SECRET})
        served.client.post("/v1/chat/completions", json={"messages": messages})
        sound = {"file": ("a.wav", b"RIFF")}
        served.client.post("/v1/audio/transcriptions", files=sound)
    text, chat, speech = (trace.texts[0] for trace in kept)
    assert (text.source, text.answers) == (SECRET, (SECRET.upper(),))
    assert chat.source == messages
    assert speech.source is None  # the engine is given the name of a file


def test_only_requests_that_are_let_in_are_traced(kept: list[RequestTrace]) -> None:
    with tracing(Served(keys=KEYS, traces=ALL)) as served:
        known = {"Authorization": f"Bearer {KEY}"}
        served.client.post(WORK, json={"prompt": "a"})
        served.client.get("/health")
        served.client.get("/v1/models", headers=known)
        served.client.post(WORK, json={"prompt": "a", "n": 0}, headers=known)
    assert [(trace.status, trace.texts) for trace in kept] == [(400, [])]


def test_a_request_of_many_texts_has_few_spans(kept: list[RequestTrace]) -> None:
    with tracing(Served(traces=ALL)) as served:
        served.client.post(WORK, json={"prompt": ["a"] * (MOST_TEXTS + 3)})
    assert (kept[0].n_text, len(kept[0].texts)) == (MOST_TEXTS + 3, MOST_TEXTS)


def test_what_finds_no_room_is_counted_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracer_module, "MOST_WAITING", 3)
    served = Served(traces=ALL)
    for _ in range(8):
        assert served.client.post(WORK, json={"prompt": "a"}).status_code == 200
    assert metrics(served) == {"lost": 5.0}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


# MLflow


@pytest.fixture
def store(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a store without runs, which commands use."""
    shutil.copy(empty_store, tmp_path)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    return address


def no_files(folder: Path, facts: JsonObject) -> str:
    """Write the files of a model that is not registered, which has none."""
    raise AssertionError(folder)


def tracked_run(folder: Path, store: str) -> Path:
    """A run directory whose run and model MLflow has."""
    directory = folder / "run"
    directory.mkdir()
    tracker = Tracker("translation", "run", directory, store, system_metrics=False)
    tracker.start()
    facts = {"metric": "val/loss", "score": 1.0, "loss": 1.0, "higher_is_better": False}
    tracker.log_model(
        {"checkpoint": "0" * 64, "registered": None, "conditions": "c", **facts}, no_files
    )
    tracker.end("FINISHED")
    assert tracker.problems == []
    return directory


def spans_of(trace: Trace) -> dict[str, tuple[str | None, float, float]]:
    """Name of the parent, begin and end of each span, in seconds since `BEGAN`."""
    names = {span.span_id: span.name for span in trace.data.spans}
    return {
        span.name: (
            names.get(span.parent_id),
            round(span.start_time_ns / 1e9 - BEGAN, 3),
            round(span.end_time_ns / 1e9 - BEGAN, 3),
        )
        for span in trace.data.spans
    }


def span_of(trace: Trace, name: str) -> Span:
    """The one span of a name."""
    [found] = [span for span in trace.data.spans if span.name == name]
    return found


@pytest.mark.slow
def test_mlflow_has_a_tree_of_spans_linked_to_run_and_model(tmp_path: Path, store: str) -> None:
    directory = tracked_run(tmp_path, store)
    record = json.loads((directory / RECORD).read_text("utf-8"))
    client = MlflowClient(store)
    found = client.get_trace(TraceWriter().write(traced(str(directory))), display=False)
    assert spans_of(found) == {
        f"POST {WORK}": (None, 0, 10),
        "answer": (f"POST {WORK}", 0.5, 9),
        "queue": ("answer", 0.5, 2),
        "prompt": ("answer", 2, 4),
        "generation": ("answer", 4, 9),
    }
    run = client.get_run(record["run_id"])
    linked = {"mlflow.sourceRun": run.info.run_id, "mlflow.modelId": record["model"]["model_id"]}
    assert found.info.experiment_id == run.info.experiment_id
    assert found.info.trace_metadata.items() >= linked.items()
    assert found.info.token_usage == {"input_tokens": 7, "output_tokens": 11, "total_tokens": 18}
    root, answer = (span_of(found, name) for name in (f"POST {WORK}", "answer"))
    assert root.attributes["first_token_seconds"] == 4
    assert (answer.attributes["mlflow.llm.model"], answer.attributes["batch_rows"]) == (
        "letters",
        5,
    )
    assert root.inputs == {"route": WORK, "model": "letters"}
    assert root.outputs == {"status": 200, "tokens": 11}
    assert (answer.inputs, answer.outputs) == (None, None)


@pytest.mark.slow
def test_a_run_that_mlflow_does_not_know_has_traces_in_an_experiment_of_their_own(
    tmp_path: Path, store: str
) -> None:
    (tmp_path / RECORD).write_text(json.dumps({"run_id": "0" * 32}))
    writer = TraceWriter()
    client = MlflowClient(store)
    texts = client.get_trace(writer.write(traced(str(tmp_path), source=SECRET)), display=False)
    failed = client.get_trace(writer.write(traced(status=400)), display=False)
    own = client.get_experiment_by_name(EXPERIMENT)
    assert texts.info.experiment_id == failed.info.experiment_id == own.experiment_id
    assert "mlflow.sourceRun" not in texts.info.trace_metadata
    root, answer = (span_of(texts, name) for name in (f"POST {WORK}", "answer"))
    assert (root.inputs, root.outputs) == ([SECRET], [["answer of it"]])
    assert (answer.inputs, answer.outputs) == (SECRET, ["answer of it"])
    [alone] = failed.data.spans
    assert alone.status.status_code == SpanStatusCode.ERROR


@pytest.mark.slow
def test_runs_of_two_stores_have_their_traces_in_their_own(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {}
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(empty_store, folder)
        runs[tracked_run(folder, f"sqlite:///{folder}/mlflow.db")] = folder / "mlflow.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    writer = TraceWriter()
    for directory, database in [*runs.items()] * 2:
        trace_id = writer.write(traced(str(directory)))
        assert MlflowClient(f"sqlite:///{database}").get_trace(trace_id, display=False)


@pytest.mark.slow
def test_a_server_has_traces_as_a_file_has_them(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setattr(store_module, "ANSWER_SECONDS", PATIENCE)  # of a busy machine
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    outcome = TraceWriter().write_all([traced(), traced(status=503)])
    assert (outcome.n_written, outcome.problem) == (2, None)
    client = MlflowClient(server)
    own = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_traces(locations=[own.experiment_id])
    assert sorted(len(trace.data.spans) for trace in found) == [1, 5]


@pytest.mark.slow
def test_traces_reach_mlflow_through_the_process_that_writes_them(store: str) -> None:
    served = Served(traces=ALL)
    with tracing(served):
        for _ in range(3):
            served.client.post(WORK, json={"prompt": SECRET})
        wait_for(served, {"written": 3.0})
    client = MlflowClient(store)
    own = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_traces(locations=[own.experiment_id])
    ids = {json.loads(line)["id"] for line in served.lines if WORK in line}
    assert {trace.info.tags["lslm.request_id"] for trace in found} == ids
    assert SECRET.encode() not in Path(store.removeprefix("sqlite:///")).read_bytes()


@pytest.mark.slow
def test_a_server_that_is_down_costs_a_count_and_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    served = Served(traces=ALL)
    with tracing(served):
        for _ in range(20):
            assert served.client.post(WORK, json={"prompt": "a"}).status_code == 200
        wait_for(served, {"lost": 20.0})
    assert len(caplog.records) == 1
    assert "cannot use MLflow" in caplog.text


@pytest.mark.slow
def test_a_server_that_is_silent_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    writer = TraceWriter(lambda: now[0])
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        first = writer.write_all([traced()] * 10)  # waits once
        assert (first.n_written, first.n_lost) == (0, 10)
    asked: list[str] = []
    monkeypatch.setattr(
        "lslm_lightning.serving.trace_writer.target_of", lambda directory: asked.append(directory)
    )
    now[0] = PAUSE_SECONDS - 1
    assert writer.write_all([traced()] * 10).n_lost == 10
    assert asked == []
    now[0] = PAUSE_SECONDS + 1
    writer.write_all([traced()])
    assert asked == [""]


@pytest.mark.slow
def test_a_process_that_is_killed_loses_its_traces_and_is_started_again(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer_module, "RESTART_SECONDS", 0.0)
    served = Served(traces=ALL)
    with tracing(served):
        served.client.post(WORK, json={"prompt": "a"})
        wait_for(served, {"written": 1.0})
        worker = served.app.tracer._worker
        assert worker is not None
        worker.process.kill()
        worker.process.join()
        served.client.post(WORK, json={"prompt": "a"})
        wait_for(served, {"written": 1.0, "lost": 1.0})
        served.client.post(WORK, json={"prompt": "a"})
        wait_for(served, {"written": 2.0, "lost": 1.0})


def test_the_end_does_not_wait_for_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def wait(self: RequestTracer, batch: list[RequestTrace]) -> TraceOutcome:
        gate.wait(PATIENCE)
        return TraceOutcome(0, len(batch))

    monkeypatch.setattr(RequestTracer, "_write", wait)
    tracer = RequestTracer(ALL, lambda outcome, n: None)
    tracer.start()
    visit = Visit(0.0, "POST", WORK, "")
    visit.trace = tracer.sample()
    tracer.end(visit, 1.0)
    with at_most(1):
        asyncio.run(tracer.stop(0.05))
    assert not gate.is_set()
    gate.set()


# The engine


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rotary", "t5"])
def test_the_engine_tells_when_it_began_read_and_ended(
    name: str, served: Callable[..., ServedModel]
) -> None:
    engine = EngineCore([served(name, n_row=1)])
    settings = SearchSettings(search="greedy", max_length=4)
    requests = [AnswerRequest(i, name, source="the fox", settings=settings) for i in (1, 2)]
    first, second = (answers_of(answered(engine, requests))[i].times for i in (1, 2))
    assert first is not None
    assert second is not None
    for each in (first, second):
        assert each.begun is not None
        assert each.read is not None
        assert each.begun <= each.read <= each.ended
        assert each.n_row == 1
    assert second.begun is not None
    assert second.begun >= first.ended  # there is room for one row
