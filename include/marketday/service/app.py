"""The step service's HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from marketday import __version__
from marketday.errors import ServiceUnavailable
from marketday.service import delivery_routes, job_routes, problems
from marketday.service.executor import Executor
from marketday.service.job_routes import Jobs
from marketday.service.jobs import JobStore
from marketday.service.telemetry import Metrics
from marketday.settings import Settings
from marketday.steps.contract import load_all

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def create_app(settings: Settings) -> FastAPI:
    """Make the application; its jobs end when it shuts down."""
    load_all(settings.step_modules.split())
    settings.home.mkdir(parents=True, exist_ok=True)
    store = JobStore(settings.jobs_database)
    executor = Executor(settings, store, Metrics())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(executor.start)
        yield
        await run_in_threadpool(executor.stop)
        store.close()

    # The documentation pages would fetch their scripts from a public CDN; /openapi.json needs none.
    app = FastAPI(title="Marketday step service", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    # A web page that makes its own name point to this machine must not reach the service through a browser.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, urlsplit(settings.service_url).hostname or ""])
    app.state.settings = settings
    app.state.executor = executor
    app.include_router(job_routes.router)
    app.include_router(delivery_routes.router)
    settings.reports_path.mkdir(parents=True, exist_ok=True)
    app.mount("/reports", StaticFiles(directory=settings.reports_path))
    app.add_api_route("/healthz", healthz)
    app.add_api_route("/readyz", readyz)
    app.add_api_route("/metrics", metrics)
    problems.install(app)
    return app


async def healthz() -> dict[str, str]:
    """Say that the service answers."""
    return {"status": "ok", "version": __version__}


def readyz(jobs: Jobs) -> dict[str, str]:
    """Say that jobs can be submitted: the job store answers, and the service is not stopping."""
    jobs.store.search(limit=1)
    if not jobs.ready:
        raise ServiceUnavailable("The step service is stopping", retry_after=1)
    return {"status": "ready"}


def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    registry = request.app.state.executor.metrics.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
