"""HTTP server: its socket, its end, and connections that say nothing."""

import asyncio
import errno
import ipaddress
import math
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from types import FrameType

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lslm_lightning.exit_status import DONE
from lslm_lightning.garbage import collect_as_usual
from lslm_lightning.serving.addresses import is_loopback
from lslm_lightning.serving.app import ServedApp
from lslm_lightning.serving.engine_interface import ServingEngine
from lslm_lightning.serving.gateway import Gateway
from lslm_lightning.serving.idle_memory import IDLE_SECONDS, give_back_memory
from lslm_lightning.serving.visits import log_as_json

HEADER_SECONDS = 30.0  # in which a connection must send the headers of a request, or read an answer
MOST_LINES = 128  # before the body of a request; each is looked at by itself, which takes time
HEAD_END = re.compile(rb"\n\r?\n")
MANY_LINES = f"a request has at most {MOST_LINES} lines before its body\n".encode()
TOO_MANY_LINES = b"\r\n".join(
    (
        b"HTTP/1.1 431 Request Header Fields Too Large",
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(MANY_LINES),
        b"Connection: close",
        b"",
        MANY_LINES,
    )
)
MOST_FILES = 65_536  # open files of the process, each connection being one
CLOSING_SECONDS = 1  # for connections that are closed at the end
STOPPING_SECONDS = 10.0  # for the engine to end


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the HTTP server.

    Args:
        host: address to listen on.
        port: port to listen on; 0 for any that is free.
        tls_cert: file with the certificate chain, in PEM; None for HTTP without TLS.
        tls_key: file with the private key, in PEM.
        trusted_proxies: addresses or networks of proxies whose X-Forwarded-For and
            X-Forwarded-Proto are believed.
        grace: seconds for requests under way when the server ends.
        insecure: listen beyond this machine without keys.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tls_cert: str | None = None
    tls_key: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    grace: float = 30.0
    insecure: bool = False

    def check(self, has_keys: bool) -> None:
        """Check that the settings agree with each other.

        Args:
            has_keys: clients need keys.

        Raises:
            ValueError: they do not.
        """
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"--port {self.port} must be from 0 to 65535")
        if not 0 <= self.grace < math.inf:
            raise ValueError(f"--grace {self.grace} must be a number of seconds, 0 or more")
        if not has_keys and not self.insecure and not is_loopback(self.host):
            raise ValueError(
                f"--host {self.host} lets other machines in, without keys; give --keys FILE, or "
                "--insecure if all who can reach it may use it"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key belong together; give both or none")
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(
                    f"--trusted-proxy {proxy} must be an address or a network, such as 10.0.0.0/8"
                ) from None
        if self.tls_cert is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_cert, self.tls_key)
            except (OSError, ssl.SSLError) as error:
                reason = error.strerror or str(error)
                raise ValueError(
                    f"--tls-cert {self.tls_cert} and --tls-key {self.tls_key} must be PEM files "
                    f"that fit: {reason}"
                ) from None


class PatientProtocol(H11Protocol):
    """Connection that is closed if it does not send the headers of a request in time or sends too
    many, and aborted if it does not read the rest of an answer in time.
    """

    timer: asyncio.TimerHandle | None = None
    n_unread = 0  # bytes of an answer that the client had not read at the last look

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(transport)
        self._watch()

    def handle_events(self) -> None:
        """Look at what has come. A head of too many lines is refused unread."""
        if self.conn.their_state is h11.IDLE:
            came = self.conn.trailing_data[0]
            end = HEAD_END.search(came)
            if came.count(b"\n", 0, end.start() + 1 if end else len(came)) > MOST_LINES:
                self.logger.warning("a request with more than %d lines before its body", MOST_LINES)
                self.transport.write(TOO_MANY_LINES)
                self.transport.close()
                return
        super().handle_events()

    def on_response_complete(self) -> None:
        """End a response."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        if self.timer is not None:
            self.timer.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.loop.call_later(HEADER_SECONDS, self._end_if_silent)

    def _end_if_silent(self) -> None:
        n_unread = self.transport.get_write_buffer_size()
        if self.transport.is_closing() or (self.flow.write_paused and n_unread == self.n_unread):
            self.transport.abort()
            return
        self.n_unread = n_unread
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        self._watch()


class GracefulServer(uvicorn.Server):
    """Server that, when it is told to end, refuses new requests and answers those under way.

    Args:
        config: configuration of uvicorn.
        gateway: gateway that refuses requests and counts those under way.
        grace: seconds for requests under way.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway, grace: float) -> None:
        super().__init__(config)
        self.gateway = gateway
        self.grace = grace
        self.deadline = 0.0
        self._n_seen = 0  # requests
        self._idle_since: float | None = None  # None if free memory is given back

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end at the first signal; end at once at the second."""
        if self.gateway.is_ending:
            self.force_exit = self.should_exit = True
        self.gateway.is_ending = True
        self.deadline = time.monotonic() + self.grace

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server ends; called ten times a second."""
        if self.gateway.is_ending:
            is_done = self.gateway.n_running == 0 or time.monotonic() >= self.deadline
            self.should_exit = self.should_exit or is_done
        self._give_back_memory()
        return await super().on_tick(counter)

    def _give_back_memory(self) -> None:
        """Give back free memory once there has been nothing to do for a while."""
        now = time.monotonic()
        n_request = self.server_state.total_requests
        if self.gateway.n_running or n_request != self._n_seen:
            self._n_seen, self._idle_since = n_request, now
        elif self._idle_since is not None and now - self._idle_since >= IDLE_SECONDS:
            self._idle_since = None
            give_back_memory()


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a host and port.

    Raises:
        ValueError: it cannot.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        way_out = ""
        if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
            way_out = f"; try --port {port + 1 if 1023 < port < 65535 else 8000}"
        raise ValueError(f"cannot listen on {host}, port {port}: {reason}{way_out}") from None


def allow_many_connections() -> None:
    """Raise the number of files that this process may open, where the system has such a limit."""
    if find_spec("resource") is None:
        return
    import resource

    with suppress(ValueError, OSError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def uvicorn_config(app: ServedApp, settings: ServerSettings) -> uvicorn.Config:
    """Return the configuration of uvicorn."""
    return uvicorn.Config(
        app.asgi,
        loop="asyncio",
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=int(HEADER_SECONDS),
        timeout_graceful_shutdown=CLOSING_SECONDS,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


async def serve(
    app: ServedApp, settings: ServerSettings, listener: socket.socket, ready: Callable[[str], None]
) -> None:
    """Start the engine and answer requests until a signal ends the server.

    Args:
        listener: socket on which to answer.
        ready: function that is called with the address once the models are ready.

    Raises:
        ServingError: a model cannot be loaded.
    """
    config = uvicorn_config(app, settings)
    server = GracefulServer(config, app.gateway, settings.grace)
    engine: ServingEngine = app.service.engine

    async def wait_ready() -> None:
        try:
            await engine.wait_ready()
        except BaseException:
            server.should_exit = True
            raise
        ready(address_of(listener, is_tls=settings.tls_cert is not None))

    collect_as_usual()  # all is imported, and requests leave garbage
    await engine.start()
    app.tracer.start()
    waiting = asyncio.create_task(wait_ready())
    try:
        await server.serve(sockets=[listener])
        if waiting.done():
            waiting.result()
    finally:
        waiting.cancel()
        await engine.stop(STOPPING_SECONDS)
        await app.tracer.stop(STOPPING_SECONDS)


def address_of(listener: socket.socket, is_tls: bool) -> str:
    """Return the address of a server for people."""
    host, port, *_ = listener.getsockname()
    shown = f"[{host}]" if ":" in host else host
    return f"http{'s' if is_tls else ''}://{shown}:{port}"


def run_server(app: ServedApp, settings: ServerSettings) -> int:
    """Answer requests until a signal ends the server, and return the exit status; say on standard
    output when it is ready.

    Raises:
        ServingError: a model cannot be loaded.
        ValueError: the server cannot listen.
    """

    def ready(address: str) -> None:
        names = ", ".join(model.name for model in app.service.engine.models)
        print(f"{address} serves {names}", flush=True)

    allow_many_connections()
    log_as_json()
    has_keys = bool(app.service.keys)
    app.gateway.is_for_loopback = not (has_keys or settings.insecure)
    with listening_socket(settings.host, settings.port) as listener:
        if not is_loopback(settings.host) and settings.tls_cert is None:
            message = "keys and texts are not encrypted; use TLS, here or in a proxy"
            print(f"lslm serve: {message}", file=sys.stderr, flush=True)
        asyncio.run(serve(app, settings, listener, ready))
    return DONE
