"""Requests to a hosted model that end when their time is up, however slowly the server sends."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from openai import AsyncOpenAI, Timeout

CONNECTING = 0.9  # share of the time in which the server must have been reached


class DeadlineClient:
    """Sends each request once, and waits for its whole reply no longer than `seconds`.

    A timeout of the HTTP library is one between two pieces of a reply: a server that sends a byte
    a second is never late to it. Requests run in an event loop of their own, where any of them can
    be cancelled; `post` may be called from many threads.

    Args:
        seconds: from the look-up of the server's name to the last byte of the reply.
    """

    def __init__(self, key: str, base_url: str, seconds: float) -> None:
        self.seconds = seconds
        timeout = Timeout(seconds, connect=CONNECTING * seconds, pool=CONNECTING * seconds)
        self._client = AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0, timeout=timeout)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="requests").start()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return what came back: of JSON the object, else the text.

        Raises:
            TimeoutError: the reply was not whole in time.
            openai.OpenAIError: there is none.
        """
        return asyncio.run_coroutine_threadsafe(self._post(path, body), self._loop).result()

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        async with asyncio.timeout(self.seconds):
            return await self._client.post(path, body=dict(body), cast_to=object)
