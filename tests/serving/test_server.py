"""Connections, clients that go away, time that is over, and the end of a server."""

import http.client
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import h11
import pytest

from lslm_lightning.serving import gateway as gateway_module
from lslm_lightning.serving import server as server_module
from lslm_lightning.serving import service as service_module
from lslm_lightning.serving.addresses import is_loopback
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.server import MOST_LINES, ServerSettings, listening_socket
from tests.serving.http_server import KEY, KEYS, RunningServer, running_server
from tests.support.waiting import PATIENCE, at_most

WORK = "/v1/completions"


def request_bytes(body: bytes, length: int | None = None, path: str = WORK) -> bytes:
    n = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {n}\r\n\r\n".encode() + body


def connect(server: RunningServer) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def post(server: RunningServer, fields: dict[str, object], key: str = "") -> tuple[int, str]:
    host = server.url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=PATIENCE)) as connection:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        connection.request("POST", WORK, json.dumps(fields), headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def fields(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"prompt": ["a", "b"], "stream": request.param}


def test_a_client_that_goes_away_cancels_its_requests(fields: dict[str, object]) -> None:
    with running_server() as server:
        server.close_gate()
        with connect(server) as connection:
            connection.sendall(request_bytes(json.dumps(fields).encode()))
            server.wait_until(lambda: len(server.engine.requests) == 2)
        server.wait_until(lambda: len(server.engine.cancelled) == 2)
        server.wait_until(lambda: server.lines)
        assert json.loads(server.lines[-1])["status"] == 499
        assert server.app.gateway.admission.n_running == 0
        assert {request.id for request in server.engine.requests} == set(server.engine.cancelled)


def test_a_client_that_leaves_a_stream_cancels_its_request() -> None:
    with running_server() as server:
        server.engine.gate_at = 2
        server.close_gate()
        with connect(server) as connection:
            connection.sendall(request_bytes(b'{"prompt": ["abcd", "efgh"], "stream": true}'))
            received = b""
            while b'"text":"F"' not in received:
                received += connection.recv(1000)
        server.wait_until(lambda: server.lines)
        assert len(server.engine.cancelled) == 2
        assert server.app.gateway.n_running == 0


def test_a_request_whose_time_is_over_is_answered_504(
    fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "GUARD", 0)
    with running_server(ServingLimits(seconds=0.05)) as server:
        server.close_gate()
        status, body = post(server, fields)
        assert status == 504
        assert json.loads(body)["error"]["type"] == "server_error"
        server.wait_until(lambda: len(server.engine.cancelled) == len(server.engine.requests))


def test_a_body_that_does_not_come_is_answered_408() -> None:
    with running_server(ServingLimits(body_seconds=0.05)) as server:
        with connect(server) as connection:
            connection.sendall(request_bytes(b"{", length=100))
            assert b" 408 " in connection.recv(100)
        assert post(server, {"prompt": "a"})[0] == 200


def test_bodies_that_do_not_come_keep_nobody_out() -> None:
    with running_server(ServingLimits(requests=2)) as server, ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(connect(server))
            connection.sendall(request_bytes(b"{", length=100))
        server.wait_until(lambda: server.app.gateway.n_running == 5)
        assert post(server, {"prompt": "a"})[0] == 200
        for _ in range(5):
            connection = stack.enter_context(connect(server))
            connection.sendall(request_bytes(b"{", length=100))
        server.wait_until(lambda: server.app.gateway.admission.n_body.total() == 8)
        assert post(server, {"prompt": "a"})[0] == 429


def test_clients_without_a_key_keep_none_out_that_have_one() -> None:
    with running_server(ServingLimits(requests=2), KEYS) as server, ExitStack() as stack:
        for _ in range(12):
            connection = stack.enter_context(connect(server))
            connection.sendall(request_bytes(b"{", length=100, path="/translate"))
        bodies = server.app.gateway.admission.n_body
        server.wait_until(lambda: bodies.total() == 8)
        assert post(server, {"prompt": "a"}, KEY)[0] == 200
        assert post(server, {"prompt": "a"})[0] == 401
    assert not bodies


def test_texts_wait_from_the_moment_they_are_asked_for() -> None:
    asked: dict[str, object] = {"prompt": ["a"] * 3}
    with running_server(ServingLimits(queue=3)) as server:
        server.close_gate()  # and the figures of the engine stay those of an idle one
        first = threading.Thread(target=post, args=(server, asked))
        first.start()
        server.wait_until(lambda: len(server.engine.requests) == 3)
        assert [post(server, asked | {"stream": more})[0] for more in (False, True)] == [429] * 2
        server.open_gate()
        first.join(PATIENCE)
        for more in (False, True):
            assert server.app.service.n_text == 0
            assert post(server, asked | {"stream": more})[0] == 200


def test_a_connection_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.05)
    with running_server() as server:
        with connect(server) as silent, connect(server) as slow:
            slow.sendall(b"POST / HTTP/1.1\r\nHost:")
            assert silent.recv(1) == b""
            assert slow.recv(1) == b""
        assert post(server, {"prompt": "a"})[0] == 200


@pytest.mark.parametrize(
    ("path", "length", "status"), [(WORK, 99, 401), ("/", 10**7, 413), ("/nowhere", 99, 401)]
)
def test_an_answer_before_the_body_ends_the_connection(
    path: str, length: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "DRAIN_SECONDS", 0.05)
    with running_server(keys=KEYS) as server, connect(server) as connection:
        connection.sendall(request_bytes(b"{", length=length, path=path))
        received = b""
        while part := connection.recv(1000):
            received += part
        assert f" {status} ".encode() in received
        assert b"connection: close" in received.lower()


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_head_of_many_lines_is_refused_and_one_with_a_long_body_is_not(
    before: bytes, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind another request too, and before its own end is there."""
    parsed: list[int] = []
    parse = h11.Connection.next_event

    def next_event(self: h11.Connection) -> object:
        event = parse(self)
        if isinstance(event, h11.Request):
            parsed.append(len(event.headers))
        return event

    monkeypatch.setattr(h11.Connection, "next_event", next_event)
    line = b"X: y" + end
    body = b'{"prompt":' + end * 10 * MOST_LINES + b'"a"}'
    post = request_bytes(body).replace(b"\r\n", end)
    host = b"GET /health HTTP/1.1" + end + b"Host: a" + end
    with running_server() as server:
        for sent, status in (
            (post, b"200"),
            (post.replace(end * 2, end + line * (MOST_LINES - 6) + end, 1), b"200"),
            (b"GET /health HTTP/1.1" + end + line * MOST_LINES + b"Host: a" + end * 2, b"431"),
            (b"GET /health HTTP/1.1" + end + line * (MOST_LINES + 9), b"431"),
            (host + line * (MOST_LINES - 2) + end, b"200"),
            (host + line * (MOST_LINES - 1) + end, b"431"),
        ):
            with connect(server) as connection:
                connection.sendall(before + sent)
                received = b""
                while b" %s " % status not in received.replace(b" 200 ", b"", bool(before)):
                    part = connection.recv(1000)
                    assert part, received
                    received += part
    assert max(parsed) < MOST_LINES


def test_a_connection_that_reads_no_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.05)
    with running_server() as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        host, port = server.url.removeprefix("http://").split(":")
        deaf.connect((host, int(port)))
        deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 400)
        server.wait_until(lambda: server.server.server_state.connections)
        server.wait_until(lambda: not server.server.server_state.connections)


@pytest.mark.parametrize("path", [WORK, "/translate"])
def test_a_client_that_goes_away_in_its_body_is_no_failure(path: str) -> None:
    with running_server() as server:
        with connect(server) as connection:
            connection.sendall(request_bytes(b"{", length=100, path=path))
            server.wait_until(lambda: server.app.gateway.n_running)
        server.wait_until(lambda: server.lines)
        assert json.loads(server.lines[-1])["status"] == 499


def test_a_body_that_is_too_large_is_answered_and_dropped() -> None:
    with running_server(ServingLimits(body_mb=1e-3)) as server:
        body = b"x" * 4_000_000  # more than the buffers of a socket hold
        with connect(server) as connection:
            connection.sendall(request_bytes(body))
            assert b" 413 " in connection.recv(100)
        assert post(server, {"prompt": "a"})[0] == 200


def test_the_end_lets_requests_finish_and_refuses_new_ones() -> None:
    with running_server() as server:
        server.close_gate()
        found: list[tuple[int, str]] = []
        asking = threading.Thread(target=lambda: found.append(post(server, {"prompt": "abc"})))
        asking.start()
        server.wait_until(lambda: server.engine.requests)
        server.call(lambda: server.server.handle_exit(signal.SIGTERM, None))
        assert post(server, {"prompt": "a"})[0] == 503
        assert server.thread.is_alive()
        server.open_gate()
        asking.join(PATIENCE)
        assert found[0][0] == 200
        assert "ABC" in found[0][1]
        server.thread.join(PATIENCE)
        assert not server.thread.is_alive()
        assert len(server.engine.requests) == 1


def test_the_end_waits_no_longer_than_its_grace(fields: dict[str, object]) -> None:
    with running_server(grace=0.05) as server, connect(server) as connection:
        server.close_gate()
        connection.sendall(request_bytes(json.dumps(fields).encode()))
        server.wait_until(lambda: server.engine.requests)
        server.call(lambda: server.server.handle_exit(signal.SIGTERM, None))
        server.thread.join(PATIENCE)
        assert not server.thread.is_alive()
        assert len(server.engine.cancelled) == 2


def test_an_idle_server_ends_at_once() -> None:
    with running_server() as server, connect(server), at_most(6):
        server.call(lambda: server.server.handle_exit(signal.SIGTERM, None))
        server.thread.join(PATIENCE)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_server_with_a_certificate_speaks_tls(tmp_path: Path) -> None:
    names = certificate(tmp_path)
    settings = ServerSettings(**names)
    settings.check(has_keys=False)
    with running_server(settings=settings) as server:
        context = ssl.create_default_context(cafile=names["tls_cert"])
        with connect(server) as plain, context.wrap_socket(plain, server_hostname="a") as safe:
            safe.sendall(request_bytes(b'{"prompt": "a"}'))
            assert b" 200 " in safe.recv(100)
    other = certificate(tmp_path / "other")
    with pytest.raises(ValueError, match="--tls-key"):
        ServerSettings(**names | {"tls_key": other["tls_key"]}).check(has_keys=False)


def certificate(folder: Path) -> dict[str, str]:
    """Settings of a server with a new certificate of its own, for the host "a"."""
    folder.mkdir(exist_ok=True)
    files = {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=a", "-addext", "subjectAltName=DNS:a"]
    command += ["-out", files["tls_cert"], "-keyout", files["tls_key"]]
    subprocess.run(command, check=True, capture_output=True)
    return files


# Settings


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org")),
    ],
)
def test_loopback_is_this_machine_alone(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
    settings = ServerSettings(host=host)
    settings.check(has_keys=True)
    ServerSettings(host=host, insecure=True).check(has_keys=False)
    if expected:
        settings.check(has_keys=False)
    else:
        with pytest.raises(ValueError, match=r"--keys.*--insecure"):
            settings.check(has_keys=False)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"port": -1}, "--port -1"),
        ({"port": 65_536}, "--port 65536"),
        ({"tls_cert": "a.pem"}, "--tls-key"),
        ({"tls_cert": "no.pem", "tls_key": "no.key"}, "no.pem"),
        ({"trusted_proxies": ("proxy",)}, "--trusted-proxy proxy"),
        ({"trusted_proxies": ("*",)}, r"--trusted-proxy \*"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ServerSettings(**settings).check(has_keys=True)


def test_a_port_in_use_is_told_with_another() -> None:
    with listening_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ValueError, match=rf"port {port}.*--port"):
            listening_socket("127.0.0.1", port)
    with pytest.raises(ValueError, match=r"nowhere\.invalid"):
        listening_socket("nowhere.invalid", 0)


def forwarded(trusted: tuple[str, ...]) -> Iterator[str]:
    """Yield the address in the log of a request that a proxy says comes from elsewhere."""
    settings = ServerSettings(port=0, trusted_proxies=trusted)
    with running_server(settings=settings) as server:
        host = server.url.removeprefix("http://")
        with closing(http.client.HTTPConnection(host, timeout=PATIENCE)) as connection:
            connection.request("GET", "/health", headers={"X-Forwarded-For": "203.0.113.7"})
            connection.getresponse().read()
        server.wait_until(lambda: server.lines)
        yield json.loads(server.lines[-1])["address"]


def test_forwarded_headers_are_believed_from_named_proxies_alone() -> None:
    assert list(forwarded(())) == ["127.0.0.1"]
    assert list(forwarded(("192.0.2.0/24",))) == ["127.0.0.1"]
    assert list(forwarded(("127.0.0.0/8",))) == ["203.0.113.7"]
