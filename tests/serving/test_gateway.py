"""Keys, limits, log, figures and headers, in front of all routes."""

import json
import logging
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from lslm_lightning.serving.admission import BODIES_PER_ADDRESS, Admission
from lslm_lightning.serving.errors import ApiError
from lslm_lightning.serving.keys import ApiKeys, new_key, read_keys
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.protocol import EngineLoad
from lslm_lightning.serving.visits import JsonFormatter
from tests.serving.http_server import HOLDER, KEY, KEYS, Served, running_server
from tests.support.waiting import PATIENCE

BODY = {"prompt": "a secret text"}
WORK = "/v1/completions"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# Keys


def test_a_new_key_is_found_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    made = [new_key(name) for name in ("ada", "bob")]
    file.write_text("# keys\n\n" + "".join(f"{line}\n" for _, line in made))
    keys = read_keys(file)
    assert [keys.name_of(key) for key, _ in made] == ["ada", "bob"]
    assert keys.name_of(made[0][0][:-1]) is None
    assert keys.name_of("") is None
    assert made[0][0] not in file.read_text()


@pytest.mark.parametrize(
    "text", ["", "# none\n", "ada\n", "ada sha256:12\n", "a b sha256:" + "0" * 64, "\xff"]
)
def test_a_broken_file_of_keys_is_refused_with_a_way_out(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="--new-key"):
        read_keys(file)
    line = new_key("ada")[1]
    file.write_text(f"{line}\n{line}\n")
    with pytest.raises(ValueError, match="line 2"):
        read_keys(file)


@pytest.mark.parametrize(
    "headers",
    [{}, bearer("wrong"), bearer(""), {"Authorization": KEY}, {"Authorization": "Basic YTpi"}],
)
def test_nothing_is_done_without_a_key(headers: dict[str, str]) -> None:
    served = Served(keys=KEYS)
    for path, body in (
        (WORK, BODY),
        ("/translate", {"q": "a", "source": "en", "target": "zh"}),
        ("/detect", {"q": "a"}),
        ("/summarize", {"text": "a"}),
        ("/v1/audio/transcriptions", {}),
    ):
        reply = served.client.post(path, json=body, headers=headers)
        assert reply.status_code == 401, path
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert served.client.get("/metrics", headers=headers).status_code == 401
    assert served.client.get("/v1/models", headers=headers).status_code == 401
    assert not served.engine.requests


def test_keys_come_in_the_header_or_in_the_body_of_libretranslate() -> None:
    served = Served(keys=KEYS)
    assert served.client.post(WORK, json=BODY, headers=bearer(KEY)).status_code == 200
    asked = {"q": "a", "source": "en", "target": "zh"}
    for body in ({"json": asked | {"api_key": KEY}}, {"data": asked | {"api_key": KEY}}):
        assert served.client.post("/translate", **body).status_code == 200
    assert served.client.post("/translate", json=asked, headers=bearer(KEY)).status_code == 200
    wrong = served.client.post("/translate", json=asked | {"api_key": "x"})
    assert wrong.status_code == 401
    assert isinstance(wrong.json()["error"], str)
    for body in ({"q": 1, "nothing": 1}, {"api_key": 1}, [1]):
        assert served.client.post("/translate", json=body).status_code == 401


def test_probes_and_descriptions_need_no_key() -> None:
    served = Served(keys=KEYS)
    assert served.client.head("/health").status_code == 200
    assert served.client.head("/ready").status_code == 200
    refused = served.client.delete("/v1/models", headers=bearer(KEY))
    assert refused.status_code == 405
    assert "GET" in refused.json()["error"]["message"]
    for path in ("/health", "/ready", "/openapi.json", "/languages", "/frontend/settings"):
        assert served.client.get(path).status_code == 200, path


# Limits


@pytest.mark.parametrize("path", [WORK, "/translate"])
def test_every_error_has_a_code_that_programs_can_read(path: str) -> None:
    """It is beside the message of LibreTranslate's form, and in OpenAI's."""
    long, text = {"q": "aaaa", "prompt": "aaaa"}, {"q": "a", "prompt": "a"}
    cases: list[tuple[str, ServingLimits, dict[str, str], str]] = [
        ("invalid_api_key", ServingLimits(), text, "x"),
        ("limit_exceeded", ServingLimits(characters=3), long, KEY),
        ("body_too_large", ServingLimits(body_mb=1e-6), text, KEY),
        ("model_not_found", ServingLimits(), text | {"model": "nobody"}, KEY),
        ("rate_limit_exceeded", ServingLimits(rate=0.01), text, KEY),
        ("unsupported_value", ServingLimits(), text | {"model": "frames"}, KEY),
    ]
    name = "prompt" if path == WORK else "q"
    more = {} if path == WORK else {"source": "en", "target": "zh"}
    for code, limits, fields, key in cases:
        given = {each: value for each, value in fields.items() if each in (name, "model")}
        served = Served(limits, KEYS)
        for _ in range(1 + bool(limits.rate)):
            reply = served.client.post(path, json=given | more, headers=bearer(key))
        body = reply.json()
        known = body["error"] if path == WORK else body
        assert known["code"] == code
        wrong = {"limit_exceeded": name, "model_not_found": "model", "unsupported_value": "model"}
        assert known.get("param") == wrong.get(code)


def test_a_body_is_measured_before_and_while_it_is_read() -> None:
    served = Served(ServingLimits(body_mb=1e-4, sound_mb=2e-4))
    headers = {"Content-Type": "application/json"}
    whole = served.client.post(WORK, content=b"x" * 101, headers=headers)
    parts = served.client.post(WORK, content=iter([b"x" * 60, b"x" * 60]), headers=headers)
    assert whole.status_code == parts.status_code == 413
    assert "100" in parts.json()["error"]["message"]
    assert served.client.post(WORK, json={"prompt": "a"}).status_code == 200
    sound = "/v1/audio/transcriptions"
    assert served.client.post(sound, files={"file": ("a.wav", b"x" * 201)}).status_code == 413
    assert len(served.engine.requests) == 1


def test_a_sound_is_read_once_the_key_is_known() -> None:
    served = Served(ServingLimits(body_mb=1e-3, sound_mb=1), KEYS)
    asked = {"data": {"function": "transcribe"}, "files": {"sound": ("a.wav", b"x" * 10_000)}}
    asked["data"]["key"] = KEY
    assert served.client.post("/", **asked).status_code == 413
    assert not served.engine.requests
    assert served.client.post("/", **asked, headers=bearer(KEY)).status_code == 200


def test_requests_without_a_key_are_few_for_each_address() -> None:
    admission = Admission(ServingLimits(), lambda: 0)
    for _ in range(BODIES_PER_ADDRESS):
        admission.enter_body("a", True)
    with pytest.raises(ApiError, match="Authorization"):
        admission.enter_body("a", True)
    admission.enter_body("b", True)
    admission.leave_body("a")
    admission.enter_body("a", True)


@pytest.mark.parametrize(
    ("limits", "fields", "option"),
    [
        ({"characters": 3}, {"prompt": "abcd"}, "--characters"),
        ({"characters": 3}, {"prompt": [1, 2, 3, 4]}, "--characters"),
        ({"texts": 1}, {"prompt": ["a", "b"]}, "--texts"),
        ({"texts": 3}, {"prompt": ["a", "b"], "n": 2}, "--texts"),
        ({"answers": 1}, {"prompt": "a", "best_of": 2}, "--answers"),
        ({"max_tokens": 5}, {"prompt": "a", "max_tokens": 6}, "--max-tokens"),
        ({"beams": 2}, {"prompt": "a", "beam_size": 3}, "--beams"),
    ],
)
def test_a_request_beyond_a_limit_names_field_and_option(
    limits: dict[str, int], fields: dict[str, object], option: str
) -> None:
    served = Served(ServingLimits(**limits))
    reply = served.client.post(WORK, json=fields)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert option in error["message"]
    assert error["param"] in fields or (error["param"], "best_of" in fields) == ("n", True)
    assert not served.engine.requests


def test_an_answer_is_not_longer_than_the_limit() -> None:
    served = Served(ServingLimits(max_tokens=5))
    served.client.post(WORK, json=BODY)
    assert served.engine.requests[-1].settings.max_length == 5


def test_a_full_queue_refuses_what_comes() -> None:
    served = Served(ServingLimits(queue=3))
    served.engine.load = EngineLoad(1, 3, 1, 0)
    reply = served.client.post(WORK, json=BODY)
    assert reply.status_code == 429
    assert int(reply.headers["Retry-After"]) >= 1
    served.engine.load = EngineLoad(1, 2, 1, 0)
    assert served.client.post(WORK, json=BODY).status_code == 200


@pytest.mark.parametrize("limits", [{"requests": 2}, {"requests_per_key": 2}])
def test_requests_at_the_same_time_are_limited(limits: dict[str, int]) -> None:
    from openai import OpenAI, RateLimitError

    with running_server(ServingLimits(**limits), KEYS) as server:
        server.close_gate()
        client = OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)

        def ask() -> None:
            client.completions.create(model="letters", prompt="a")

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        server.wait_until(lambda: len(server.engine.requests) == 2)
        with pytest.raises(RateLimitError):
            ask()
        assert client.models.list().data  # is no work
        server.open_gate()
        for thread in threads:
            thread.join(PATIENCE)
        ask()
        assert len(server.engine.requests) == 3


def test_the_rate_is_kept_for_each_caller() -> None:
    now = [0.0]
    admission = Admission(ServingLimits(rate=60), lambda: 0, lambda: now[0])

    def n_admitted(caller: str) -> int:
        n = 0
        with suppress(ApiError):
            while n < 1000:
                admission.check_rate(caller)
                n += 1
        return n

    assert n_admitted("ada") == 60
    assert n_admitted("bob") == 60
    now[0] += 10
    assert n_admitted("ada") == 10


@pytest.mark.parametrize("headers", [{}, bearer("none")])
@pytest.mark.parametrize("path", [WORK, "/translate", "/detect"])
def test_a_request_counts_once_towards_the_rate(path: str, headers: dict[str, str]) -> None:
    """Also where no key is needed and one is sent, as OpenAI's clients always do."""
    served = Served(ServingLimits(rate=2))
    body = {"q": "a", "source": "en", "target": "zh"}
    body = {WORK: {"prompt": "a"}, "/detect": {"q": "a"}}.get(path, body)
    found = [served.client.post(path, json=body, headers=headers).status_code for _ in range(3)]
    assert found == [200, 200, 429]


def test_a_rate_is_answered_with_a_time_to_wait() -> None:
    served = Served(ServingLimits(rate=1), KEYS)
    replies = [
        served.client.post(WORK, json=BODY, headers=bearer(key)) for key in (KEY, KEY, "key-of-bob")
    ]
    assert [reply.status_code for reply in replies] == [200, 429, 200]
    assert 1 <= int(replies[1].headers["Retry-After"]) <= 60


# Log, figures, headers


def test_the_log_has_a_line_of_json_without_texts_and_keys() -> None:
    served = Served(keys=KEYS)
    reply = served.client.post(WORK, json=BODY, headers=bearer(KEY) | {"X-Request-Id": "my-id"})
    served.client.post(WORK, json=BODY, headers=bearer("wrong"))
    first, second = map(json.loads, served.lines)
    assert reply.headers["X-Request-Id"] == first["id"] == "my-id"
    assert (first["route"], first["status"], first["key"]) == (WORK, 200, HOLDER)
    assert first["prompt_tokens"] == len(BODY["prompt"])
    assert first["tokens"] == len(BODY["prompt"])
    assert (second["route"], second["status"], second["key"]) == (WORK, 401, None)
    whole = "\n".join(served.lines)
    assert not any(secret in whole for secret in (KEY, "wrong", BODY["prompt"]))


def test_warnings_are_lines_of_json_too() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        record = logging.LogRecord("x", logging.WARNING, "", 0, "c\n%s", ("d",), sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "c\nd"
    assert "ValueError" in json.loads(line)["traceback"]


def test_a_dangerous_id_of_a_request_is_replaced() -> None:
    served = Served()
    given = 'a"\\x' * 3
    reply = served.client.get("/health", headers={"X-Request-Id": given})
    assert reply.headers["X-Request-Id"] != given


def test_metrics_count_requests_and_tokens() -> None:
    served = Served()
    for _ in range(3):
        served.client.post(WORK, json={"prompt": "abc", "stream": True})
    served.client.post(WORK, json={"prompt": "abc", "n": 0})
    served.client.get("/nowhere-" + "x" * 50)
    served.engine.load = EngineLoad(2, 7, 5, 0)
    served.engine.n_restart = 1
    lines = dict(
        line.rsplit(" ", 1)
        for line in served.client.get("/metrics").text.splitlines()
        if not line.startswith("#")
    )
    asked = f'lslm_requests_total{{method="POST",route="{WORK}",status='
    assert float(lines[f'{asked}"200"}}']) == 3
    assert float(lines[f'{asked}"400"}}']) == 1
    assert float(lines['lslm_prompt_tokens_total{model="letters"}']) == 9
    assert float(lines['lslm_generated_tokens_total{model="letters"}']) == 9
    assert float(lines[f'lslm_first_token_seconds_count{{route="{WORK}"}}']) == 3
    assert float(lines[f'lslm_request_seconds_count{{route="{WORK}"}}']) == 4
    gauges = ("lslm_running_texts", "lslm_waiting_texts", "lslm_batch_rows", "lslm_engine_restarts")
    assert [float(lines[name]) for name in gauges] == [2, 7, 5, 1]
    assert not any("nowhere" in name for name in lines)  # labels that anybody can add


def test_every_response_has_headers_that_protect_browsers() -> None:
    served = Served(keys=KEYS)
    for reply in (
        served.client.get("/health"),
        served.client.get("/nowhere"),
        served.client.post(WORK, json=BODY),
    ):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in reply.headers


def test_only_named_origins_may_use_the_server_from_a_page() -> None:
    served = Served(keys=KEYS, origins=("https://a.example",))
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    allowed = served.client.options(WORK, headers=asked)
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://a.example"
    refused = served.client.post(WORK, json=BODY, headers={"Origin": "https://a.example"})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://a.example"
    other = served.client.get("/health", headers={"Origin": "https://b.example"})
    assert "Access-Control-Allow-Origin" not in other.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost", "LOCALHOST:80", "127.0.0.1:8000", "[::1]:8000")),
        *((host, 400) for host in ("evil.example:8000", "127.0.0.1.evil", "10.0.0.1", "")),
    ],
)
def test_a_name_that_a_page_led_here_is_refused(host: str, status: int) -> None:
    served = Served()
    asked = {"json": BODY, "headers": {"Host": host}}
    assert served.client.post(WORK, **asked).status_code == 200
    served.app.gateway.is_for_loopback = True
    assert served.client.post(WORK, **asked).status_code == status


def test_an_error_of_our_own_is_answered_and_has_no_details() -> None:
    served = Served()
    served.engine.failure = RuntimeError("a secret of the engine")  # type: ignore[assignment]
    reply = served.client.post(WORK, json=BODY)
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert reply.headers["X-Request-Id"] in reply.json()["error"]["message"]


def test_no_keys_are_false() -> None:
    assert not ApiKeys()
    assert KEYS
