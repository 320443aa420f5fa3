"""The step service's HTTP application."""

from collections import Counter
from urllib.parse import urlsplit

import anyio
from fastapi import Depends, FastAPI, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from marketday import __version__
from marketday.errors import ServiceUnavailable
from marketday.service import delivery_routes, job_routes, problems, process_routes, retailer_routes, uploads
from marketday.service.access import Access
from marketday.service.answers import Answers
from marketday.service.arrivals import Arrivals
from marketday.service.job_routes import Jobs
from marketday.service.known_tokens import KnownTokens
from marketday.service.slots import Slots
from marketday.service.tokens import TokenStore
from marketday.service.waiting import Ends
from marketday.settings import Settings
from marketday.telemetry.requests import WatchedRequests

_TOKEN = HTTPBearer(description="The retailer's token.", auto_error=False)
"""For the description of the API; :class:`Access` is what asks for it."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def create_app(settings: Settings, slots: Slots) -> FastAPI:
    """Make the application in front of the job slots."""
    # The documentation pages would fetch their scripts from a public CDN; /openapi.json needs none.
    app = FastAPI(
        title="Marketday step service", version=__version__, docs_url=None, redoc_url=None, responses=problems.RESPONSES
    )
    # A web page that makes its own name point to this machine must not reach the service through a browser.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, urlsplit(settings.service_url).hostname or ""])
    app.state.settings = settings
    app.state.slots = slots
    app.state.ends = Ends(slots)
    app.state.answers = Answers(slots)
    app.state.arrivals = Arrivals(settings.deliveries_url)
    app.state.readers = anyio.CapacityLimiter(settings.service_slots)
    app.state.judges = anyio.CapacityLimiter(settings.service_slots)
    app.state.under_way = Counter[str]()
    uploads.clear(settings)
    app.include_router(process_routes.router)
    app.include_router(job_routes.router)
    app.include_router(delivery_routes.router, dependencies=[Depends(_TOKEN)])
    app.include_router(retailer_routes.router, dependencies=[Depends(_TOKEN)])
    settings.reports_path.mkdir(parents=True, exist_ok=True)
    app.mount("/reports", StaticFiles(directory=settings.reports_path))
    app.add_api_route("/healthz", healthz)
    app.add_api_route("/readyz", readyz)
    app.add_api_route("/metrics", metrics)
    problems.install(app)
    tokens = KnownTokens(TokenStore(slots.store.engine))
    app.add_middleware(Access, settings=settings, tokens=tokens, metrics=slots.metrics)
    # The last to be added is the outermost.
    app.add_middleware(WatchedRequests, metrics=slots.metrics)
    return app


async def healthz() -> dict[str, str]:
    """Say that the service answers."""
    return {"status": "ok", "version": __version__}


def readyz(jobs: Jobs) -> dict[str, str]:
    """Say that jobs can be submitted: the job store answers, and the service is not stopping."""
    jobs.store.search(limit=1)
    if not jobs.ready:
        raise ServiceUnavailable("The step service is starting or stopping", retry_after=1)
    return {"status": "ready"}


def metrics(jobs: Jobs) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(generate_latest(jobs.metrics.registry), media_type=CONTENT_TYPE_LATEST)
