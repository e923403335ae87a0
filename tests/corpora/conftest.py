"""Corpora of a few lines, described in a configs/corpora.yaml of their own."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

PAIRS = {"train.en": "A dog.\nA cat.\nA cow.\n", "train.de": "Ein Hund.\nEine Katze.\nEine Kuh.\n"}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and cache; no data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LSLM_DATA", raising=False)
    return tmp_path


@pytest.fixture
def put(alone: Path) -> Callable[[dict[str, str | bytes], str], None]:
    """Writes files into a folder."""

    def write(files: dict[str, str | bytes], folder: str) -> None:
        for name, content in files.items():
            path = alone / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


@pytest.fixture
def describe(alone: Path) -> Callable[..., None]:
    """Writes configs/corpora.yaml with one corpus, `pets`; by default English and German pairs in
    data/pets.
    """

    def write(**keys: Any) -> None:
        entry = {
            "task": "translation",
            "languages": ["en", "de"],
            "format": "parallel",
            "splits": {"train": "train.{language}"},
        }
        (alone / "configs").mkdir(exist_ok=True)
        (alone / "configs/corpora.yaml").write_text(yaml.safe_dump({"pets": entry | keys}))

    return write


@pytest.fixture
def home(alone: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a web server of the folder `home`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (alone / "home").mkdir()
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(alone / "home")))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def sha256(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()
