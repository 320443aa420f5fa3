"""The HTTP server, in a thread of its own."""

import gc
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from marketday.errors import ServiceError

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

_START_SECONDS = 60.0
_CLOSE_SECONDS = 2
"""What open requests get to end."""
_STUCK_SECONDS = 60.0
"""Without a turn of the event loop, after which it is taken to be stuck: no request is to hold it for a second."""


class HttpServer:
    """Serves an application on a socket that listens already; an actor of the supervisor.

    The socket stays open while the server is stopped: whoever connects meanwhile waits for the next start.
    """

    name = "HTTP server"

    def __init__(self, app: "FastAPI", listener: "socket.socket") -> None:
        self._config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_CLOSE_SECONDS,
            callback_notify=self._turned,
            timeout_notify=1,
        )
        self._listener = listener
        self._server = uvicorn.Server(self._config)
        self._thread = threading.Thread()
        self._last_turn = 0.0

    def start(self) -> None:
        """Serve.

        Raises:
            ServiceError: it does not begin within some seconds.

        """
        # What has been imported stays: no request is to wait while it is looked through for garbage.
        gc.collect()
        gc.freeze()
        self._server = uvicorn.Server(self._config)
        self._last_turn = time.monotonic()
        sockets = [self._listener.dup()]  # uvicorn closes what it is given
        self._thread = threading.Thread(target=self._server.run, args=(sockets,), name=self.name, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise ServiceError(f"The HTTP server did not start within {_START_SECONDS:g} s; the log says why")
            time.sleep(0.01)

    def healthy(self) -> str | None:
        """Return why nobody is answered, or None."""
        if not self._thread.is_alive():
            return "its thread has ended"
        silent = time.monotonic() - self._last_turn
        return f"its event loop has not turned for {silent:.0f} s" if silent > _STUCK_SECONDS else None

    def stop(self) -> None:
        """Let open requests end, for some seconds, and serve no more.

        Raises:
            ServiceError: it is stuck.

        """
        self._server.should_exit = True
        if not self._thread.is_alive():
            return
        self._thread.join(2 * _CLOSE_SECONDS + 1)
        if self._thread.is_alive():
            raise ServiceError("The HTTP server does not stop: its event loop is stuck")

    async def _turned(self) -> None:
        self._last_turn = time.monotonic()
