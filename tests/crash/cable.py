"""A connection that can be lost: a TCP forwarder on loopback that drops everything for a while, on request."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


class Cable:
    """Forwards to ``port``; :meth:`cut_after` loses the connection in the middle of a request or of its answer."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._pieces_left = -1
        self._dark_for = 0.0
        self._dark_until = 0.0
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, pieces: int, *, seconds: float) -> None:
        """Lose every connection once so many more pieces of data have come, for that long."""
        with self._lock:
            self._pieces_left, self._dark_for = pieces, seconds

    def close(self) -> None:
        self._listener.close()
        self._drop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if time.monotonic() < self._dark_until:
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                with self._lock:
                    self._open |= {client, server}
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if self._is_lost():
                    self._drop()
                    break
                target.sendall(piece)
        self._hang_up(source, target)

    def _is_lost(self) -> bool:
        with self._lock:
            self._pieces_left -= 1
            if self._pieces_left == -1:
                self.cuts += 1
                self._dark_until = time.monotonic() + self._dark_for
                return True
        return False

    def _drop(self) -> None:
        with self._lock:
            ends, self._open = self._open, set()
        self._hang_up(*ends)

    def _hang_up(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # A mere close would not be heard while another thread listens.
            end.close()


@contextlib.contextmanager
def between(environment: dict[str, str]) -> Iterator[tuple[Cable, dict[str, str]]]:
    """Lay a cable to the object store that ``environment`` reaches; give it, and the environment that goes over it."""
    host, _, port = environment["AWS_ENDPOINT_URL"].rpartition(":")
    cable = Cable(int(port))
    try:
        yield cable, {**environment, "AWS_ENDPOINT_URL": f"{host}:{cable.port}"}
    finally:
        cable.close()
