"""The step service as a process: one per job store, on loopback unless told otherwise."""

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import Iterator

import structlog
import uvicorn

from marketday.errors import SettingsError
from marketday.service.app import LOOPBACK, create_app
from marketday.service.executor import Executor
from marketday.service.telemetry import configure_logging
from marketday.settings import Settings

_CLOSE_SECONDS = 2
"""What open requests get to end once the jobs have ended."""

_log = structlog.stdlib.get_logger(__name__)


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8600) -> None:
    """Run the step service until SIGTERM or SIGINT; its jobs end with it.

    Raises:
        SettingsError: the address is taken, or another service runs on the same home.

    """
    with _alone(settings), _listen(host, port) as listener:
        configure_logging(settings.log_level)
        _forget_main()
        app = create_app(settings)
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=_CLOSE_SECONDS)
        if host not in LOOPBACK:
            _log.warning("the step service asks for no password: let only your own network reach it", host=host)
        _log.info("starting", url=f"http://{host}:{port}", slots=settings.service_slots, pid=os.getpid())
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config, app.state.executor).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, executor: Executor) -> None:
        super().__init__(config)
        self.executor = executor

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Jobs end first, so that whoever waits for one gets its state, and no open request holds up the end.
        await asyncio.to_thread(self.executor.stop)
        await super().shutdown(sockets)


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Keep a second service off the same jobs: it would take them for a dead service's. The lock dies with us."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "service.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"Another step service runs on {settings.home.resolve()}",
                hint="Stop it, or give this one a home of its own with MARKETDAY_HOME.",
            ) from error
        yield


def _listen(host: str, port: int) -> socket.socket:
    # Before anything else: a service that cannot have its port must not touch the jobs of the one that has it.
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise SettingsError(
            f"The step service cannot listen on {host}:{port}: {error.strerror}",
            hint="Stop what uses the port, or choose another with --port and MARKETDAY_SERVICE_URL.",
        ) from error


def _forget_main() -> None:
    """Keep multiprocessing from importing the program that called us into every job's process."""
    main = sys.modules["__main__"]
    main.__spec__ = None
    vars(main).pop("__file__", None)
