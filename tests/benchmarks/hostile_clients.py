"""Clients of a server that do not behave: they send what no client should, slowly, in part or
without end, and go away.
"""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

NOTHING = "nothing"  # in place of a status: neither an answer nor an end in time
CLOSED = "closed"  # in place of a status: the connection was closed without an answer
WORK = "/v1/completions"
MEGABYTE = 10**6
REFUSED = frozenset(("400", "401", "408", "413", "429"))
SMALL = {"model": "m0", "prompt": "a", "max_tokens": 2}
PAIR = {"model": "m1", "q": "Monday", "source": "en", "target": "zh"}


class Kind(NamedTuple):
    """Kind of request that no client should send.

    Attributes:
        parts: function that returns the bytes of one, in parts; its argument is an API key.
        allowed: statuses with which the server may answer it.
        number: how often it is sent.
        pause: seconds between two parts.
    """

    parts: Callable[[str], Iterable[bytes]]
    allowed: frozenset[str] = REFUSED
    number: int = 8
    pause: float = 0.0


async def exchange(
    port: int, parts: Iterable[bytes], pause: float = 0.0, patience: float = 100.0
) -> str:
    """Send bytes while the answer is awaited, and return its status.

    Args:
        port: port of the server.
        parts: the bytes, in parts.
        pause: seconds between two parts.
        patience: seconds for the answer.
    """
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return CLOSED

    async def send() -> None:
        with suppress(OSError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(patience):
            while (line := await reader.readline()).startswith(b"HTTP/1.1 1"):
                while (await reader.readline()).strip():  # the rest of an interim answer
                    pass
    except TimeoutError:
        return NOTHING
    except (OSError, asyncio.IncompleteReadError, ValueError):
        return CLOSED
    finally:
        sending.cancel()
        with suppress(OSError):
            writer.transport.abort()
    words = line.split()
    return words[1].decode() if len(words) > 1 else CLOSED


async def vanish(
    port: int, data: bytes, until: bytes | None = None, seconds: float = 0.0, resets: bool = False
) -> None:
    """Send bytes, and end the connection before the answer is there.

    Args:
        port: port of the server.
        data: the bytes.
        until: bytes of the answer to wait for; None for none.
        seconds: time to wait before the end.
        resets: end the connection by a reset.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        writer.write(data)
        async with asyncio.timeout(60):
            if until is not None:
                await reader.readuntil(until)
            await asyncio.sleep(seconds)
    if resets:
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def head(path: str, key: str = "", *more: str, length: int | None = None) -> bytes:
    """Return the head of a request of JSON.

    Args:
        path: path of the address.
        key: API key; "" for none.
        more: further lines.
        length: length of the body; None to leave it out.
    """
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *more]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += [f"Content-Length: {length}"] if length is not None else []
    if not any(line.startswith("Content-Type") for line in more):
        lines.append("Content-Type: application/json")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def whole(path: str, body: bytes | Mapping[str, Any], key: str, *more: str) -> list[bytes]:
    """Return a request whose body is sent at once."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return [head(path, key, *more, length=len(data)), data]


def chunked(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield chunks of a body without an end."""
    for part in parts:
        yield b"%x\r\n%s\r\n" % (len(part), part)


def endless(part: bytes, number: int = 10**6) -> Iterator[bytes]:
    """Yield the same bytes again and again."""
    for _ in range(number):
        yield part


def sent(path: str, body: bytes | Mapping[str, Any], *more: str) -> Callable[[str], list[bytes]]:
    """Return a function that makes a request with a body for a key."""
    return lambda key: whole(path, body, key, *more)


def large(path: str, is_chunked: bool, *more: str) -> Callable[[str], Iterator[bytes]]:
    """Return a function that makes a request with a body of 100 megabytes."""

    def made(key: str) -> Iterator[bytes]:
        block = b"x" * MEGABYTE
        if is_chunked:
            yield head(path, key, "Transfer-Encoding: chunked", *more)
            yield from chunked(endless(block, 100))
        else:
            yield head(path, key, *more, length=100 * MEGABYTE)
            yield from endless(block, 100)

    return made


def deep(before: str, depth: int, after: str = "}") -> bytes:
    """Return a JSON text with lists in lists."""
    return (before + "[" * depth + "]" * depth + after).encode()


def numbers(text: str) -> bytes:
    """Return a request for a completion whose temperature is a number as JSON never has it."""
    return f'{{"model": "m0", "prompt": "a", "max_tokens": 2, "temperature": {text}}}'.encode()


def fields(number: int) -> str:
    """Return the fields of a form."""
    return "&".join(f"f{i}=1" for i in range(number))


FORM = "Content-Type: application/x-www-form-urlencoded"
PARTS = "Content-Type: multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n1\r\n'
SOUND = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
SOUNDS = "/v1/audio/transcriptions"
LATIN = b'{"model": "m0", "prompt": "\xff\xfe\xe9", "max_tokens": 2}'
OK_OR_REFUSED = REFUSED | {"200"}
TEXT = "a" * 99_000

BODIES = {
    "100 MB": Kind(large(WORK, is_chunked=False), number=6),
    "100 MB in chunks": Kind(large(WORK, is_chunked=True), number=6),
    "100 MB without a key": Kind(lambda _: large("/translate", is_chunked=True)(""), number=6),
    "100 MB of sound": Kind(large(SOUNDS, False, PARTS), number=6),
    "gzip bomb": Kind(
        sent(WORK, gzip.compress(b'{"prompt": "' + b"a" * 10**8), "Content-Encoding: gzip")
    ),
    "invalid UTF-8": Kind(sent(WORK, LATIN)),
    "invalid UTF-8 of a form": Kind(sent("/translate", b"q=%ff&source=\xff", FORM)),
    "UTF-16": Kind(sent(WORK, json.dumps(SMALL).encode("utf-16")), OK_OR_REFUSED),
    "no JSON": Kind(sent(WORK, b"{" * 1000)),
    "depth 100,000": Kind(sent(WORK, deep('{"prompt": ', 100_000))),
    **{
        f"depth {depth}": Kind(
            sent(WORK, deep('{"model": "m0", "prompt": "a", "max_tokens": 2, "user": ', depth)),
            OK_OR_REFUSED,
            1,
        )
        for depth in range(900, 1010, 2)
    },
    "number of 100,000 digits": Kind(sent(WORK, numbers("1" * 100_000))),
    "1e999": Kind(sent(WORK, numbers("1e999"))),
    "NaN": Kind(sent(WORK, numbers("NaN"))),
    "-Infinity": Kind(sent(WORK, numbers("-Infinity"))),
    "100,000 duplicate keys": Kind(
        sent(WORK, b"{" + b'"n": 1, ' * 100_000 + b'"prompt": "a", "max_tokens": 2}'),
        OK_OR_REFUSED,
        4,
    ),
    "60,000 unknown fields": Kind(sent(WORK, dict.fromkeys(map(str, range(60_000)), 1)), number=4),
    "60,000 biases": Kind(
        sent(WORK, SMALL | {"logit_bias": dict.fromkeys(map(str, range(60_000)), 1)}), number=4
    ),
    "form of 100,000 fields": Kind(sent("/translate", fields(100_000).encode(), FORM), number=4),
    "4,000 fields in the address": Kind(
        lambda _: whole(f"/translate?{fields(4000)}", b"", ""), number=8
    ),
    "20,000 parts": Kind(sent("/", PART * 12_000, PARTS), number=4),
    "part without an end": Kind(sent(SOUNDS, SOUND + b"x" * MEGABYTE, PARTS)),
    "parts without a boundary": Kind(sent("/", PART, "Content-Type: multipart/form-data")),
    "a word of 99,000 letters": Kind(sent(WORK, SMALL | {"prompt": TEXT}), OK_OR_REFUSED, 4),
    "the same to translate": Kind(sent("/translate", PAIR | {"q": TEXT}), OK_OR_REFUSED, 4),
    "99,000 open tags": Kind(
        sent("/translate", PAIR | {"q": "<" * 99_000, "format": "html"}), OK_OR_REFUSED, 4
    ),
    "half a surrogate pair": Kind(sent(WORK, b'{"prompt": "\\ud800"}')),
    "no key": Kind(lambda _: whole(WORK, SMALL, ""), frozenset(("401",)), 100),
    "wrong key": Kind(lambda _: whole(WORK, SMALL, "x" * 40), frozenset(("401",)), 100),
    "key of 8,000 letters": Kind(lambda _: whole(WORK, SMALL, "x" * 8000), REFUSED, 20),
}


def raw(text: str) -> Callable[[str], list[bytes]]:
    """Return a function that makes a request of a text, with the key in place of KEY."""
    return lambda key: [text.replace("KEY", f"Authorization: Bearer {key}").encode("latin-1")]


JSON = "Content-Type: application/json"
BODY = json.dumps(SMALL)
LINES = "X: y\r\n" * 10_000
UPGRADE = "Connection: Upgrade\r\nUpgrade: {}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
NO_METHOD = frozenset(("400", "401", "404", "405"))
ANY_ANSWER = OK_OR_REFUSED | {"404", "405", CLOSED}
ONE = f"POST {WORK} HTTP/1.1\r\nHost: localhost\r\nKEY\r\n{JSON}\r\n"
PROTOCOL = {
    "HTTP/1.0": Kind(raw("GET /health HTTP/1.0\r\n\r\n"), frozenset(("200",))),
    "HTTP/0.9": Kind(raw("GET /health\r\n\r\n"), frozenset(("400",))),
    "HTTP/2": Kind(raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frozenset(("400", "401"))),
    "TLS": Kind(
        lambda _: [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500],
        frozenset(("400",)),
    ),
    "websocket": Kind(
        raw(f"GET /v1/models HTTP/1.1\r\nHost: a\r\nKEY\r\n{UPGRADE.format('websocket')}\r\n"),
        frozenset(("200",)),
    ),
    "upgrade to HTTP/2": Kind(
        raw(f"GET /health HTTP/1.1\r\nHost: localhost\r\n{UPGRADE.format('h2c')}\r\n"),
        frozenset(("200",)),
    ),
    "no Host": Kind(raw("GET /health HTTP/1.1\r\n\r\n"), frozenset(("400",))),
    "header of 1 MB": Kind(
        raw(f"GET /health HTTP/1.1\r\nHost: localhost\r\nX: {'x' * MEGABYTE}\r\n\r\n"),
        frozenset(("400", "431", CLOSED)),
    ),
    "10,000 headers": Kind(
        raw(f"GET /health HTTP/1.1\r\nHost: localhost\r\n{LINES}\r\n"),
        frozenset(("431", CLOSED)),
    ),
    "address of 100 kB": Kind(
        raw(f"GET /{'x' * 100_000} HTTP/1.1\r\nHost: localhost\r\nKEY\r\n\r\n"), ANY_ANSWER
    ),
    "address that is no UTF-8": Kind(
        raw("GET /v1/models/%ff%00%0a HTTP/1.1\r\nHost: localhost\r\nKEY\r\n\r\n"),
        frozenset(("404",)),
    ),
    "two lengths": Kind(
        raw(f"{ONE}Content-Length: {len(BODY)}\r\nContent-Length: 1\r\n\r\n{BODY}"),
        frozenset(("400",)),
    ),
    "a length and chunks": Kind(
        raw(f"{ONE}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{BODY}"),
        REFUSED,
    ),
    "a length below 0": Kind(raw(f"{ONE}Content-Length: -1\r\n\r\n"), frozenset(("400",))),
    "a length of 40 digits": Kind(
        raw(f"{ONE}Content-Length: {'9' * 40}\r\n\r\n"), frozenset(("400", "413"))
    ),
    "a broken chunk": Kind(
        raw(f"{ONE}Transfer-Encoding: chunked\r\n\r\nzz\r\n{BODY}\r\n"), REFUSED
    ),
    "another coding": Kind(
        raw(f"{ONE}Transfer-Encoding: gzip, chunked\r\n\r\n"), frozenset(("400", "501"))
    ),
    "Expect": Kind(
        lambda key: [head(WORK, key, "Expect: 100-continue", length=len(BODY)), BODY.encode()],
        frozenset(("200",)),
        8,
        0.1,
    ),
    "methods": Kind(raw(f"BREW {WORK} HTTP/1.1\r\nHost: localhost\r\nKEY\r\n\r\n"), NO_METHOD),
    "TRACE": Kind(raw("TRACE / HTTP/1.1\r\nHost: localhost\r\nKEY\r\n\r\n"), NO_METHOD),
    "500 requests in one go": Kind(
        raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500), frozenset(("200",))
    ),
    "50 completions in one go": Kind(
        lambda key: whole(WORK, SMALL, key) * 50, frozenset(("200", "429"))
    ),
    "noise": Kind(lambda _: [bytes(range(256)) * 40], frozenset(("400",))),
}

LATE = frozenset(("408",))
SLOW = {
    "silence": Kind(lambda _: [], frozenset((CLOSED,)), 50),
    "slow headers": Kind(
        lambda key: [head(WORK, key)[:-2], *endless(b"X: y\r\n", 200)], frozenset((CLOSED,)), 50, 1
    ),
    "slow headers without a line break": Kind(
        lambda _: [b"GET /health", *endless(b"x", 200)], frozenset((CLOSED,)), 50, 1
    ),
    "half a body": Kind(lambda key: [head(WORK, key, length=100), b"{"], LATE, 40),
    "half a body without a key": Kind(
        lambda _: [head("/translate", "", length=100), b"{"], LATE | {"429"}, 40
    ),
    "a body of a byte per second": Kind(
        lambda key: [head(WORK, key, length=200), *endless(b" ", 200)], LATE, 10, 1
    ),
    "chunks without an end": Kind(
        lambda key: [
            head(WORK, key, "Transfer-Encoding: chunked"),
            *chunked(endless(b" ", 200)),
        ],
        LATE,
        10,
        1,
    ),
    "half a sound": Kind(
        lambda key: [head(SOUNDS, key, PARTS, length=MEGABYTE), SOUND + b"x" * 500_000], LATE, 4
    ),
}
