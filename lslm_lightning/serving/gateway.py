"""Gateway in front of the routes: keys, limits, log, and the end of the server."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lslm_lightning.serving.addresses import host_name, is_loopback
from lslm_lightning.serving.admission import Admission
from lslm_lightning.serving.errors import GONE, ApiError, error_response, shown, unavailable
from lslm_lightning.serving.keys import ApiKeys, bearer_key
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.measures import ServerMeasures
from lslm_lightning.serving.tracer import RequestTracer
from lslm_lightning.serving.visits import AccessLog, Visit, given_id

logger = logging.getLogger(__name__)
SLACK = 30.0  # seconds beyond the limits, in which a slow client may read the end of an answer
DRAIN_BYTES = 8_000_000  # of a refused body that are read, so that its sender reads the answer
DRAIN_SECONDS = 5.0
# answered without a key: what probes and browsers ask before they can have one
OPEN = frozenset(("/", "/health", "/ready", "/openapi.json", "/spec", "/languages"))
OPEN |= {"/frontend/settings"}
KEY_IN_BODY = frozenset(("/", "/translate", "/detect"))  # whose key may be a field of the body
WHILE_ENDING = frozenset(("/health", "/ready", "/metrics"))  # answered until the very end
SOUND = frozenset(("/", "/v1/audio/transcriptions"))  # whose bodies may have a sound
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Gateway:
    """ASGI application that lets requests through to the routes.

    It refuses those without a key, beyond the limits or at the end of the server, counts the bytes
    of bodies while they are read, adds headers to responses, and logs and counts each request.

    Args:
        app: the routes.
        n_waiting: function that returns the number of texts that wait for room in the engine.
        limits: limits of requests.
        keys: keys of clients; empty to let everybody through.
        log: log of requests.
        measures: figures of requests.
        tracer: sample of the requests that are traced.
        paths: paths of the routes, by which requests are counted that do not reach one.

    Attributes:
        is_for_loopback: refuse requests whose Host is another name than this machine's, which a
            browser sends for a page that had its own name lead here.
        error_page: function that returns an error as the page at /; None without a page.
    """

    def __init__(
        self,
        app: ASGIApp,
        n_waiting: Callable[[], int],
        limits: ServingLimits,
        keys: ApiKeys,
        log: AccessLog,
        measures: ServerMeasures,
        tracer: RequestTracer,
        paths: frozenset[str] = frozenset(),
    ) -> None:
        self.app = app
        self.limits = limits
        self.keys = keys
        self.log = log
        self.measures = measures
        self.tracer = tracer
        self.paths = paths
        self.admission = Admission(limits, n_waiting)
        self.is_ending = False
        self.is_for_loopback = False
        self.error_page: Callable[[Request, HTTPException], Awaitable[Response]] | None = None
        self.n_running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client = scope.get("client")
        visit = Visit(
            time.perf_counter(),
            scope["method"],
            scope["path"],
            client[0] if client else "",
            given_id(headers.get("x-request-id", "")),
            is_unread=headers.get("content-length", "0") != "0" or "transfer-encoding" in headers,
        )
        scope["state"] = {**scope.get("state", {}), "visit": visit, "gateway": self}
        self.n_running += 1
        self.measures.under_way.inc()
        try:
            await self._answer(scope, headers, visit, receive, send)
        finally:
            self.n_running -= 1
            self.measures.under_way.dec()
            self._leave_body(visit)
            if visit.is_counted:
                self.admission.leave()
            if visit.is_key_counted:
                self.admission.leave_key(visit.key_name or "")
            known = visit.path if visit.path in self.paths else "other"
            visit.route = getattr(scope.get("route"), "path", known)
            visit.status = visit.status or GONE
            seconds = time.perf_counter() - visit.began
            self.measures.add_visit(visit, seconds)
            self.log.add(visit, seconds)
            self.tracer.end(visit, seconds)

    async def _answer(
        self, scope: Scope, headers: Headers, visit: Visit, receive: Receive, send: Send
    ) -> None:
        """Check a request, let the routes answer it, and answer errors. An answer to a request
        whose body was not read ends the connection.
        """
        closes = False

        async def send_on(message: Message) -> None:
            nonlocal closes
            if message["type"] == "http.response.start":
                visit.status = visit.status or message["status"]
                add_headers(message, visit.id)
                if closes := visit.is_unread:
                    self._leave_body(visit)
                    MutableHeaders(scope=message)["Connection"] = "close"
            elif closes and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await drain(receive)
                message = {"type": "http.response.body"}
            await send(message)

        async def fail(error: HTTPException) -> None:
            if visit.status:  # the response has begun: the server ends the connection
                return
            response = error_response(scope["path"], error)
            if scope["path"] == "/" and self.error_page is not None:
                response = await self.error_page(Request(scope), error)
            await response(scope, receive, send_on)

        most = self.limits.seconds + self.limits.body_seconds + SLACK
        try:
            async with asyncio.timeout(most):
                self._check(scope, headers, visit)
                await self.app(scope, self._counted(visit, headers, receive), send_on)
        except HTTPException as error:
            await fail(error)
        except TimeoutError:
            await fail(ApiError(504, f"no answer in {most:g} s (--seconds); ask for less"))
        except ConnectionError:  # the client went away
            return
        except Exception:
            logger.exception("Request %s failed", visit.id)
            await fail(ApiError(500, f"the server failed; request id {visit.id}"))

    def _check(self, scope: Scope, headers: Headers, visit: Visit) -> None:
        """Check what is known before the body is read.

        Raises:
            ApiError: the request is refused.
        """
        path = scope["path"]
        if self.is_ending and path not in WHILE_ENDING:
            raise unavailable("the server ends; ask again when it is back")
        visit.is_work = scope["method"] == "POST"
        if visit.is_work:
            host = headers.get("host", "")
            if self.is_for_loopback and not is_loopback(host_name(host)):
                message = f"Host={shown(host)} must be a name of this machine, such as localhost"
                raise ApiError(400, f"{message}; --keys or --insecure allows others")
        is_open = path in OPEN and not visit.is_work
        key = bearer_key(headers.get("authorization", ""))
        if not is_open and (key or path not in KEY_IN_BODY):
            self.admit(visit, key)
        if visit.is_work and visit.key_name is None:
            self.admission.enter_body(visit.address, bool(self.keys))
            visit.is_body_counted = True
        most, option = self._most_bytes(visit, headers)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most:
            raise too_large(most, option)

    def admit(self, visit: Visit, key: str) -> None:
        """Check the key of a request and the limits of that key.

        Routes whose key is a field of the body call this before any work.

        Args:
            key: key that the client sent; "" for none.

        Raises:
            ApiError: there is no such key, or its limit is reached.
        """
        if visit.is_admitted:  # by the header
            return
        caller = visit.address
        if self.keys:
            name = self.keys.name_of(key) if key else None
            if name is None:
                what = "is not known" if key else "is missing"
                message = f"the API key {what}; send it as Authorization: Bearer KEY"
                raise ApiError(401, message)
            visit.key_name = caller = name
            if visit.is_work:
                self.admission.enter_key(name)
                visit.is_key_counted = True
        if visit.is_work:
            self.admission.check_rate(caller)
        visit.is_admitted = True
        if self.keys and visit.is_body_counted:  # the key was in the body
            self._leave_body(visit)
            self._enter(visit)

    def _enter(self, visit: Visit) -> None:
        """Count a request that is being answered from now on."""
        self.admission.enter()
        visit.is_counted = True
        visit.trace = self.tracer.sample()

    def _leave_body(self, visit: Visit) -> None:
        """Count a request no more among those without a key, if it was."""
        if visit.is_body_counted:
            visit.is_body_counted = False
            self.admission.leave_body(visit.address)

    def _most_bytes(self, visit: Visit, headers: Headers) -> tuple[int, str]:
        """Return the most bytes of a body, and the option that sets them. A sound is read from
        clients whose key is known.
        """
        is_known = not self.keys or visit.key_name is not None
        if not is_known and visit.path in SOUND:
            return int(1e6 * self.limits.body_mb), "--body-mb; more with a key in Authorization"
        if visit.path in SOUND and headers.get("content-type", "").startswith("multipart/"):
            return int(1e6 * self.limits.sound_mb), "--sound-mb"
        return int(1e6 * self.limits.body_mb), "--body-mb"

    def _counted(self, visit: Visit, headers: Headers, receive: Receive) -> Receive:
        """Return `receive` with limits: bytes of the body, and the time in which it comes. A
        request counts as one that is being answered once its body is there.
        """
        most, option = self._most_bytes(visit, headers)
        deadline = asyncio.get_running_loop().time() + self.limits.body_seconds
        n_byte = 0
        is_complete = False

        async def receive_counted() -> Message:
            nonlocal n_byte, is_complete
            if is_complete:  # what follows is the end of the connection, whenever it comes
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                seconds = f"{self.limits.body_seconds:g} s"
                raise ApiError(408, f"the body did not come in {seconds}") from None
            if message["type"] == "http.disconnect":
                visit.is_unread = False
                visit.status = GONE
                raise ConnectionError("the client went away before its body was there")
            n_byte += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            visit.is_unread = not is_complete
            if n_byte > most:
                raise too_large(most, option)
            if is_complete and visit.is_work and not (self.keys and visit.is_body_counted):
                self._enter(visit)
            return message

        return receive_counted


def too_large(most: int, option: str) -> ApiError:
    """Return the error for a body of more than `most` bytes."""
    message = f"the body must be at most {most:,} bytes, the limit of this server ({option})"
    return ApiError(413, message)


async def drain(receive: Receive) -> None:
    """Read and drop a part of a body that is not wanted, so that its sender gets to the answer."""
    n_byte = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while n_byte < DRAIN_BYTES:
                message = await receive()
                n_byte += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def add_headers(message: Message, id: str, more: Mapping[str, str] = HEADERS) -> None:
    """Add the headers of all responses to the start of one; those that it has stay.

    Args:
        id: id of the request.
        more: names and values of headers.
    """
    headers = MutableHeaders(scope=message)
    for name, value in more.items():
        headers.setdefault(name, value)
    headers["X-Request-Id"] = id
