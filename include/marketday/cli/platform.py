"""`marketday up` and `marketday serve`: what keeps running."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from marketday import settings as configuration
from marketday.cli.console import console, waiting
from marketday.settings import Settings

if TYPE_CHECKING:
    from marketday.embedded import Platform

_CHECK_SECONDS = 1.0
_PORT = 8600
"""Of the step service, where its address names none."""


def up() -> None:
    """Start the step service and Airflow on this machine and keep them running; Ctrl-C stops both.

    Everything is kept in MARKETDAY_HOME (./var): databases, tables, logs, and the password and keys of the first start.

    Example: marketday up
    """
    from marketday import embedded

    settings = configuration.load()
    began = time.monotonic()
    try:
        with platform(settings) as running:
            user, password = embedded.credentials(settings)
            ready = f"Marketday is up after {time.monotonic() - began:.0f} s; Ctrl-C stops it."
            console.print(
                ready if running.ours else "Marketday is up already; the command that started it will stop it."
            )
            console.print(f"  Airflow       {running.airflow_url}   user {user}   password {password}")
            console.print(f"  step service  {running.service_url}/processes")
            console.print(f"  logs          {settings.home.resolve() / 'logs'}")
            while running.ours:
                time.sleep(_CHECK_SECONDS)
                running.check()
    except KeyboardInterrupt:
        console.print("Everything is stopped.")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every network interface.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on. Default: that of MARKETDAY_SERVICE_URL.")
    ] = None,
) -> None:
    """Serve the steps over HTTP, in this process: the step service.

    Its job store must have this release's schema: run `marketday migrate` first. Several services can share one store,
    each with a MARKETDAY_HOME of its own and the same MARKETDAY_JOBS_URL. At SIGTERM or Ctrl-C it takes no more jobs,
    and gives those that run MARKETDAY_SERVICE_GRACE seconds; a second signal ends them at once.

    Example: marketday serve --host 0.0.0.0 --port 8600
    """
    from marketday.service import server
    from marketday.service.app import LOOPBACK

    settings = configuration.load()
    address = urlsplit(settings.service_url)
    port = port or address.port or _PORT
    if address.hostname in LOOPBACK:  # any other address may be a proxy's, whose port is not ours
        url = address._replace(netloc=f"{address.hostname}:{port}").geturl()
        settings = settings.model_copy(update={"service_url": url})
    server.serve(settings, host=host, port=port)


@contextmanager
def platform(settings: Settings) -> Iterator["Platform"]:
    """Use the platform that runs, or start one with its progress shown, and stop it again at the end."""
    from marketday import embedded

    with ExitStack() as stack:
        with waiting() as tell:
            running = stack.enter_context(embedded.started(settings, tell))
        try:
            yield running
        finally:
            if running.ours:
                console.print("Stopping what was started …")
