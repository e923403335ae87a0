"""A real HTTP server that speaks OpenAI's protocol, well or badly, as a test wants it."""

import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.support.waiting import PATIENCE

KEY = "sk-secret-of-the-test"


class Raw(NamedTuple):
    """A reply of any kind; `body` is JSON, or a text or bytes as they are."""

    body: Any
    status: int = 200
    kind: str = "application/json"


class Provider:
    """Answers "<question>!" with true token counts, unless the next of `faults` says otherwise.

    A fault is an HTTP status, "slow" (answers when the client has given up), "broken" (no JSON),
    "empty" (no choices) or "cut" (the line goes dead).
    """

    def __init__(self) -> None:
        self.faults: list[int | str] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.answer: Callable[[str], str] = lambda question: f"{question}!"
        self.under_way = self.most_under_way = 0
        self.pause = 0.0
        self._lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                """Quiet."""

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with provider._lock:
                    provider.requests.append(body)
                    provider.keys.add(self.headers["Authorization"])
                    provider.under_way += 1
                    provider.most_under_way = max(provider.most_under_way, provider.under_way)
                    fault = provider.faults.pop(0) if provider.faults else None
                try:
                    time.sleep(provider.pause)
                    self.reply(body, fault)
                finally:
                    with provider._lock:
                        provider.under_way -= 1

            def reply(self, body: dict[str, Any], fault: int | str | None) -> None:
                if fault == "cut":
                    self.connection.close()
                    return
                if fault == "slow":
                    self.connection.settimeout(PATIENCE)
                    self.connection.recv(1, socket.MSG_PEEK)  # returns when the client hangs up
                content = provider.content(self.path, body)
                status = 200
                kind = "application/json"
                if isinstance(content, Raw):
                    content, status, kind = content
                if isinstance(fault, int):
                    status = fault
                    content = {
                        "error": {
                            "message": f"failed with {self.headers['Authorization']}",
                            "type": "test",
                        }
                    }
                if fault == "empty":
                    content = content | {"choices": []}
                text = content if isinstance(content, str | bytes) else json.dumps(content)
                if fault == "broken":
                    text = "<html>bad gateway</html>"
                sent = text if isinstance(text, bytes) else text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *about: None  # a client that hung up
        # by default a server looks twice a second whether it is to end
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def content(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A reply; tokens are bytes, and every byte is as probable as any other."""
        chat = path.endswith("/chat/completions")
        question = body["messages"][-1]["content"] if chat else body["prompt"]
        text = self.answer(question)
        usage = {"prompt_tokens": len(question.encode()), "completion_tokens": len(text.encode())}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if chat:
            choice["message"] = {"role": "assistant", "content": text}
        elif body.get("echo"):
            usage["completion_tokens"] = 0
            letters = list(question)
            # 8 bits a byte
            logprobs = [
                None,
                *(-len(letter.encode()) * 5.545177444479562 for letter in letters[1:]),
            ]
            choice |= {
                "text": question,
                "logprobs": {
                    "tokens": letters,
                    "token_logprobs": logprobs,
                    "text_offset": list(range(len(letters))),
                },
            }
        else:
            choice["text"] = text
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        kind = "chat.completion" if chat else "text_completion"
        return {
            "id": "1",
            "object": kind,
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
