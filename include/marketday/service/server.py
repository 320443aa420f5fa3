"""The step service as a process: its parts under one supervisor, on loopback unless told otherwise."""

import contextlib
import fcntl
import gc
import os
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import structlog

from marketday.errors import SettingsError
from marketday.service import migrations
from marketday.service.app import LOOPBACK, create_app
from marketday.service.heartbeat import Heartbeat
from marketday.service.http import HttpServer
from marketday.service.slots import Slots
from marketday.service.store import JobStore
from marketday.service.supervisor import Supervisor
from marketday.settings import Settings
from marketday.steps.contract import load_all, names
from marketday.telemetry import errors, tracing
from marketday.telemetry.logs import configure_logging
from marketday.telemetry.metrics import Metrics

_FLUSH_SECONDS = 2.0
"""What telemetry gets to send its last words."""

_log = structlog.stdlib.get_logger(__name__)


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8600) -> None:
    """Run the step service until SIGTERM or SIGINT.

    Then it is not ready and takes no more jobs, gives those that run `service_grace` seconds to end, and ends the
    others as lost. A second signal ends them at once.

    Raises:
        SettingsError: the job store is not migrated, the address is taken, or another service runs on the same home.
        ServiceError: a part of it failed too often in a row.

    """
    configure_logging(settings)
    errors.configure(settings)
    tracing.configure(settings)
    migrations.require_head(settings.jobs_database)
    load_all(settings.step_modules.split())
    with _alone(settings) as lock, _listen(host, port) as listener, contextlib.ExitStack() as closing:
        store = JobStore(settings.jobs_database)
        closing.callback(store.close)
        metrics = Metrics(stage=settings.stage, steps=names(), recorded=store.for_metrics)
        service = _identity(settings)
        hurry = threading.Event()
        slots = Slots(settings, store, metrics, service=service, hurry=hurry)
        # With connections of its own: however many requests wait for the store, leases are renewed.
        leases = JobStore(settings.jobs_database)
        closing.callback(leases.close)
        heartbeat = Heartbeat(settings, leases, slots)
        # Who held the lock before is dead for sure: its jobs need not wait for their leases to run out.
        heartbeat.end_jobs_of(lock.read_text(encoding="utf-8"))
        lock.write_text(service, encoding="utf-8")
        _forget_main()
        if host not in LOOPBACK and not settings.service_token.get_secret_value():
            _log.warning(
                "whoever reaches the step service may use it: set MARKETDAY_SERVICE_TOKEN, or let only your own "
                "network reach it",
                host=host,
            )
        url = f"http://{host}:{port}"
        _log.info("starting", url=url, slots=settings.service_slots, service=service, pid=os.getpid())
        app = create_app(settings, slots)
        gc.freeze()  # What is here stays: the collector need not walk through it again and again.
        try:
            # The last to start is the first to stop: while jobs end, the others still answer and hold their leases.
            Supervisor([HttpServer(app, listener), heartbeat, slots], hurry).run()
        finally:
            errors.flush(_FLUSH_SECONDS)
            tracing.flush(_FLUSH_SECONDS)


def _identity(settings: Settings) -> str:
    """Return a name that no other service has, nor this one's next life, and that tells people where it runs."""
    return f"{socket.gethostname()}:{settings.home.resolve()}:{secrets.token_hex(4)}"


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[Path]:
    """Keep a second service off the same home, and give the locked file. The lock dies with us."""
    settings.home.mkdir(parents=True, exist_ok=True)
    path = settings.home / "service.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"Another step service runs on {settings.home.resolve()}",
                hint="Stop it, or give this one a home of its own with MARKETDAY_HOME.",
            ) from error
        yield path


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
