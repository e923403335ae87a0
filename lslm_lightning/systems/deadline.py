"""HTTP client that enforces a deadline for each request, however slowly the server sends."""

import asyncio
import json
import threading
from collections.abc import Mapping

from openai import AsyncOpenAI, Timeout

from lslm_lightning.types import Json

CONNECTING = 0.9  # share of the time in which the connection must be established


class DeadlineClient:
    """HTTP client for an OpenAI-compatible server that sends each request once and waits at most
    `seconds` for the complete reply.

    The timeout of the HTTP library applies only between two pieces of a reply, so a server that
    sends one byte per second never exceeds it. Here, requests run in a separate event loop, in
    which each can be cancelled. `post` may be called from many threads.

    Args:
        key: API key.
        base_url: address of the server.
        seconds: time limit from the DNS look-up to the last byte of the reply.
    """

    def __init__(self, key: str, base_url: str, seconds: float) -> None:
        self.seconds = seconds
        timeout = Timeout(seconds, connect=CONNECTING * seconds, pool=CONNECTING * seconds)
        self._client = AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0, timeout=timeout)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="requests").start()

    def post(self, path: str, body: Mapping[str, Json]) -> str:
        """Send a request and return the text of its reply.

        Raises:
            TimeoutError: the reply was not complete in time.
            ValueError: the reply is not in a Unicode encoding.
            openai.OpenAIError: there is no reply, or it has an error status.
        """
        return asyncio.run_coroutine_threadsafe(self._post(path, body), self._loop).result()

    async def _post(self, path: str, body: Mapping[str, Json]) -> str:
        async with asyncio.timeout(self.seconds):
            reply = await self._client.post(path, body=dict(body), cast_to=bytes)
        return reply.decode(json.detect_encoding(reply))
