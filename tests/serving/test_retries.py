"""OpenAI's own client asks again when the server tells it to, and not before."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

import openai
import pytest
from openai import _base_client

from lslm_lightning.serving.admission import Admission
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.protocol import EngineLoad
from tests.serving.http_server import KEY, KEYS, RunningServer, running_server
from tests.support.waiting import PATIENCE


class Pauses:
    """Pauses of the client before it asks again; `during` takes the place of each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, during: Callable[[float], object]) -> None:
        self.seconds: list[float] = []

        def sleep(seconds: float) -> None:
            self.seconds.append(seconds)
            during(seconds)

        monkeypatch.setattr(_base_client, "time", SimpleNamespace(sleep=sleep))


def client_of(server: RunningServer, n_retry: int = openai.DEFAULT_MAX_RETRIES) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=n_retry)


def ask(client: openai.OpenAI, streams: bool = False) -> str:
    """Return the answer of the model, which is the prompt in capitals."""
    found = client.completions.create(model="letters", prompt="ab", stream=streams)
    parts = found if streams else [found]
    return "".join(part.choices[0].text for part in parts if part.choices)


@pytest.mark.parametrize("rate", [1.0, 7.0, 50.0])
def test_a_caller_that_waits_as_it_is_told_keeps_to_its_rate(
    rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next request is answered at the first attempt, and would not have been much earlier."""
    now = [0.0]
    with running_server(ServingLimits(rate=rate), KEYS) as server, client_of(server) as client:
        gateway = server.app.gateway
        gateway.admission = Admission(gateway.limits, lambda: 0, lambda: now[0])

        def wait(seconds: float) -> None:
            now[0] += seconds

        pauses = Pauses(monkeypatch, wait)
        for _ in range(int(rate)):
            assert ask(client) == "AB"
        assert pauses.seconds == []
        assert ask(client) == "AB"
        [seconds] = pauses.seconds
        assert 60 / rate <= seconds < 60 / rate + 1


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("limits", [{"requests": 1}, {"requests_per_key": 1}, {"queue": 1}])
def test_a_full_server_answers_once_it_has_room(
    limits: dict[str, int], streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(ServingLimits(**limits), KEYS) as server, client_of(server) as client:
        server.close_gate()
        first = threading.Thread(target=ask, args=(client,))
        first.start()
        server.wait_until(lambda: server.engine.requests)

        def let_the_first_end(_: float) -> None:
            server.open_gate()
            first.join(PATIENCE)

        pauses = Pauses(monkeypatch, let_the_first_end)
        assert ask(client, streams) == "AB"
        assert len(pauses.seconds) == 1
        assert pauses.seconds[0] == int(pauses.seconds[0]) >= 1  # without the client's own chance
        assert len(server.engine.requests) == 2


def test_a_server_whose_engine_starts_again_answers_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_server() as server, client_of(server) as client:
        server.engine.is_ready = False

        def come_back(_: float) -> None:
            server.engine.is_ready = True

        pauses = Pauses(monkeypatch, come_back)
        assert ask(client) == "AB"
        assert len(pauses.seconds) == 1


def test_a_client_gives_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_server(ServingLimits(queue=1)) as server, client_of(server) as client:
        server.engine.load = EngineLoad(0, 9, 0, 0)
        pauses = Pauses(monkeypatch, lambda _: None)
        with pytest.raises(openai.RateLimitError) as failed:
            ask(client)
        assert failed.value.code == "rate_limit_exceeded"
        assert len(pauses.seconds) == openai.DEFAULT_MAX_RETRIES
        assert not server.engine.requests


@pytest.mark.parametrize("streams", [False, True])
def test_a_request_that_takes_too_long_is_not_asked_again(
    streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take as long again, and the client would send it three times."""
    monkeypatch.setattr("lslm_lightning.serving.service.GUARD", 0)
    with running_server(ServingLimits(seconds=0.05)) as server, client_of(server) as client:
        server.close_gate()
        pauses = Pauses(monkeypatch, lambda _: None)
        with pytest.raises(openai.InternalServerError) as failed:
            ask(client, streams)
        assert failed.value.status_code == 504
        assert pauses.seconds == []
        assert len(server.engine.requests) == 1
