"""A connection to a server that can be slow, and cut."""

import socket
import threading
import time
from contextlib import suppress
from queue import SimpleQueue


class Wire:
    """Passes bytes between a port of its own and a server of this machine, while it is up.

    Args:
        port: of the server.
        delay: seconds that a request is under way; answers take none.
    """

    def __init__(self, port: int, delay: float = 0.0) -> None:
        self._target = port
        self._delay = delay
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.up = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.up = False
        for end in self._ends:
            hang_up(end)

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if not self.up:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            for end in (near, far):
                # a wire does not wait for more
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends += [near, far]
            for source, sink, delay in ((near, far, self._delay), (far, near, 0.0)):
                under_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
                threading.Thread(target=take, args=(source, under_way, delay), daemon=True).start()
                threading.Thread(target=give, args=(under_way, source, sink), daemon=True).start()


def take(
    source: socket.socket, under_way: "SimpleQueue[tuple[float, bytes]]", delay: float
) -> None:
    """Queue the data of `source`, each with the time at which it is due; at its end, b""."""
    with suppress(OSError):
        while data := source.recv(65536):
            under_way.put((time.monotonic() + delay, data))
    under_way.put((0.0, b""))


def give(
    under_way: "SimpleQueue[tuple[float, bytes]]", source: socket.socket, sink: socket.socket
) -> None:
    """Send queued data when it is due; at its end, or where `sink` is closed, close both ends."""
    with suppress(OSError):
        while (due_and_data := under_way.get())[1]:
            due, data = due_and_data
            time.sleep(max(0.0, due - time.monotonic()))
            sink.sendall(data)
    hang_up(source)
    hang_up(sink)


def hang_up(end: socket.socket) -> None:
    """Close a socket, and wake a thread that waits in it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
