"""Two retailers, each with tokens: every route of the service, and what it says to whoever may not use it."""

import contextlib
import http.client
import re
import socket

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client import generate_latest
from served_shops import DAY, GARBAGE, MINE, NOBODY, NOW, OPEN_ONE, SERVICE_TOKEN, THEIRS, served
from starlette.routing import Mount, Route
from structlog.testing import capture_logs

from marketday.client import StepServiceClient
from marketday.errors import ServiceError, ServiceUnavailable
from marketday.service import known_tokens
from marketday.service.access import OPEN, Access
from marketday.service.database import engine
from marketday.service.http import HttpServer
from marketday.service.known_tokens import KnownTokens
from marketday.service.store import JobStore
from marketday.service.tokens import TokenStore
from marketday.settings import Settings
from marketday.telemetry.metrics import Metrics, Recorded


@pytest.fixture(scope="module", params=[SERVICE_TOKEN, ""], ids=["with the service's token", "without"])
def shop(request, tmp_path_factory):
    with served(tmp_path_factory.mktemp("access"), service_token=request.param) as shop:
        yield shop


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with served(tmp_path_factory.mktemp("guarded"), service_token=SERVICE_TOKEN) as shop:
        yield shop


def every_route(shop):
    """Each method and path template of the application: its own list of routes, with what is mounted in it."""
    for route in shop.app.routes:
        if isinstance(route, Mount):
            yield "GET", f"{route.path}/{{retailer}}/{DAY}/gate.html"
        else:
            assert isinstance(route, Route | APIRoute), f"{route} is of a kind that this test does not know"
            for method in sorted(route.methods):
                yield method, route.path


def filled(template, shop, retailer):
    """A path with everything in it that the retailer, if there is one of that name, has."""
    values = {
        "retailer": retailer,
        "day": f"{DAY}",
        "table": "sales",
        "step": "clean",
        "job_id": shop.jobs.get(retailer, "0123456789abcdef"),
    }
    return re.sub(r"{(\w+)(?::\w+)?}", lambda found: values.get(found[1], "1"), template)


def told(answer):
    """Everything that an answer tells, but for when it was given."""
    return answer.status_code, answer.content, sorted(set(answer.headers.items()) - {("date", answer.headers["date"])})


def credentials(shop):
    others = {"nothing": None, "garbage": GARBAGE, "another retailer's": shop.tokens[MINE]}
    return others | {name: shop.tokens[name] for name in ("revoked", "expired")}


def test_no_route_of_a_retailer_tells_anything_to_who_may_not_use_it_not_even_whether_there_is_one(shop):
    routes = [(method, path) for method, path in every_route(shop) if path.startswith("/retailers/")]
    assert len(routes) >= 4
    for method, template in routes:
        for what, token in credentials(shop).items():
            theirs, nobodys = (shop.ask(method, filled(template, shop, name), token) for name in (THEIRS, NOBODY))
            case = f"{method} {template} with {what}"
            assert theirs.status_code == (403 if what == "another retailer's" else 401), case
            assert told(theirs) == told(nobodys), case
            assert not names(theirs), case
            if method != "HEAD":
                assert theirs.json()["status"] == theirs.status_code, case


def names(answer):
    """The retailers that an answer names, and their data that it shows."""
    text = answer.text + str(answer.headers)
    return [word for word in (MINE, THEIRS, OPEN_ONE, "P001", "S01") if word in text.lower()]


def test_no_other_route_is_a_retailers_whoever_it_is_about(shop):
    routes = [(method, path) for method, path in every_route(shop) if not path.startswith("/retailers/")]
    assert len(routes) >= 10
    for method, template in routes:
        for name in (MINE, THEIRS):
            path = filled(template, shop, name)
            answer = shop.ask(method, path, shop.tokens[MINE])
            if path in OPEN:
                assert not names(answer)
            else:
                assert answer.status_code == 403, f"{method} {path}"
                assert not set(names(answer)) - {word for word in (MINE, THEIRS) if word in path}


def test_every_other_route_asks_for_the_services_token_if_there_is_one(guarded):
    wrong = {what: token for what, token in credentials(guarded).items() if what != "another retailer's"}
    for method, template in every_route(guarded):
        path = filled(template, guarded, THEIRS)
        if template.startswith("/retailers/") or path in OPEN:
            continue
        for what, token in wrong.items():
            assert guarded.ask(method, path, token).status_code == 401, f"{method} {path} with {what}"
        right = guarded.ask(method, path, SERVICE_TOKEN).status_code
        assert right not in (401, 403), f"{method} {path}"


def test_a_retailer_has_its_own_routes_and_the_services_token_has_all(shop):
    for name in (MINE, THEIRS):
        for token in {shop.tokens[name], shop.settings.service_token.get_secret_value() or shop.tokens[name]}:
            receipt = shop.ask("GET", f"/retailers/{name}/deliveries/{DAY}", token)
            assert (receipt.status_code, receipt.json()["retailer"]) == (200, name)


@pytest.mark.parametrize(
    "path",
    [
        f"/retailers/{MINE}/../{THEIRS}/deliveries/{DAY}",
        f"/retailers/{MINE}%2F..%2F{THEIRS}/deliveries/{DAY}",
        f"/retailers/{MINE}/%2e%2e/{THEIRS}/deliveries/{DAY}",
        f"//retailers/{THEIRS}/deliveries/{DAY}",
        f"/%72etailers/{THEIRS}/deliveries/{DAY}",
        f"/retailers//{THEIRS}/deliveries/{DAY}",
        f"/retailers/{MINE}%0A/deliveries/{DAY}",
        f"/retailers/{THEIRS}%00/deliveries/{DAY}",
        f"/retailers/{THEIRS}/deliveries/{DAY}/",
        f"/RETAILERS/{THEIRS}/deliveries/{DAY}",
        f"/healthz/../retailers/{THEIRS}/deliveries/{DAY}",
        f"/reports/../retailers/{THEIRS}/deliveries/{DAY}",
    ],
)
def test_no_way_of_writing_a_path_leads_around_it(guarded, path):
    for token in (guarded.tokens[MINE], GARBAGE):
        connection = http.client.HTTPConnection(guarded.http.base_url.netloc.decode(), timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            assert answer.status in (401, 403, 404), path
            body = answer.read()
            assert b"P001" not in body
            assert b"sha256" not in body


def test_a_retailer_that_never_had_a_token_is_open_while_the_service_is(tmp_path):
    with served(tmp_path) as shop:
        open_, unknown = (f"/retailers/{name}/deliveries?before={DAY}" for name in (OPEN_ONE, NOBODY))
        assert shop.ask("GET", open_).status_code == 200
        assert shop.ask("GET", open_, GARBAGE).status_code == 200
        assert shop.ask("GET", open_, shop.tokens[MINE]).status_code == 403
        assert shop.ask("GET", unknown).status_code == 401, "like one that has a token"
        assert shop.ask("GET", unknown.replace(NOBODY, 300 * "a")).status_code == 401
        assert shop.ask("GET", "/jobs").status_code == 200


def test_without_any_token_everything_is_open(tmp_path):
    with served(tmp_path, with_tokens=False) as shop:
        assert shop.ask("GET", f"/retailers/{THEIRS}/deliveries/{DAY}").status_code == 200
        assert shop.ask("GET", f"/retailers/{NOBODY}/deliveries/{DAY}").status_code == 404


def test_a_retailer_that_has_lost_its_last_token_is_not_open_again(tmp_path, monkeypatch):
    monkeypatch.setattr(known_tokens, "FRESH_SECONDS", 0.0)
    with served(tmp_path) as shop, contextlib.closing(JobStore(shop.settings.jobs_database)) as store:
        path = f"/retailers/{MINE}/deliveries/{DAY}"
        assert shop.ask("GET", path, shop.tokens[MINE]).status_code == 200
        tokens = TokenStore(store.engine)
        tokens.revoke(MINE, [token.id for token in tokens.all(MINE)], now=NOW)
        assert shop.ask("GET", path, shop.tokens[MINE]).status_code == 401, "at once, with a copy that is never kept"
        assert shop.ask("GET", path).status_code == 401


def test_the_token_of_a_retailer_that_is_defined_no_more_learns_nothing(tmp_path):
    with served(tmp_path) as shop:
        (shop.settings.retailers / f"{MINE}.yaml").unlink()
        answer = shop.ask("GET", f"/retailers/{MINE}/deliveries/{DAY}", shop.tokens[MINE])
        assert told(answer) == told(shop.ask("GET", f"/retailers/{THEIRS}/deliveries/{DAY}", shop.tokens[MINE]))


def test_who_asks_too_often_is_told_when_to_come_back_and_nobody_else_is(tmp_path):
    with served(tmp_path, service_token=SERVICE_TOKEN, delivery_rate=5) as shop:
        mine, theirs = (f"/retailers/{name}/deliveries/{DAY}" for name in (MINE, THEIRS))
        answers = [shop.ask("GET", mine, shop.tokens[MINE]) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        late = answers[-1]
        assert late.headers["Content-Type"] == "application/problem+json"
        assert late.headers["Retry-After"] == "12"
        assert late.json()["title"] == "Too Many Requests"
        assert shop.ask("GET", theirs, shop.tokens[THEIRS]).status_code == 200
        assert {shop.ask("GET", mine, SERVICE_TOKEN).status_code for _ in range(20)} == {200}

        failed = [shop.ask("GET", path, GARBAGE).status_code for path in [mine, "/jobs"] * 3]
        assert failed == [401] * 5 + [429], "failing is limited too, wherever it is"
        assert shop.ask("GET", theirs, shop.tokens[THEIRS]).status_code == 200, "a good token is no guess"
        with StepServiceClient(str(shop.http.base_url), token=shop.tokens[MINE]) as client:
            with pytest.raises(ServiceUnavailable, match="Too many requests") as refused:
                client.delivery(MINE, DAY)
            assert refused.value.retryable
            assert refused.value.retry_after == pytest.approx(12, abs=1)


def test_an_open_service_counts_by_address(tmp_path):
    with served(tmp_path, delivery_rate=3) as shop:
        path = f"/retailers/{OPEN_ONE}/deliveries?before={DAY}"
        assert [shop.ask("GET", path).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert {shop.ask("GET", "/jobs").status_code for _ in range(10)} == {200}, "only deliveries are limited"


def test_the_client_says_what_to_do_about_a_token_that_is_not_the_right_one(guarded):
    for token, says, hint in (
        (guarded.tokens[THEIRS], "is for the deliveries of one retailer", "the retailer that it was made for"),
        (GARBAGE, "only from who shows the retailer's token", "marketday token create"),
    ):
        with StepServiceClient(str(guarded.http.base_url), token=token) as client:
            with pytest.raises(ServiceError, match=says) as refused:
                client.delivery(MINE, DAY)
            assert hint in refused.value.hint
            assert not refused.value.retryable


def test_refusals_are_counted_by_reason(tmp_path):
    with served(tmp_path, service_token=SERVICE_TOKEN, delivery_rate=2) as shop:
        path = f"/retailers/{THEIRS}/deliveries/{DAY}"
        for token in (None, GARBAGE, GARBAGE, shop.tokens[MINE]):
            shop.ask("GET", path, token)
        elsewhere = {"Origin": "https://elsewhere.example"}
        shop.http.post(path, auth=("", SERVICE_TOKEN), headers=elsewhere)
        text = shop.ask("GET", "/metrics", SERVICE_TOKEN).text
        reasons = dict(re.findall(r'marketday_http_refusals_total{reason="(\w+)"} (\S+)', text))
        counted = {"no_token", "wrong_token", "not_its_own", "too_many", "other_site"}
        assert reasons == dict.fromkeys(counted, "1.0") | {"store_away": "0.0"}


def test_while_the_database_is_away_the_services_token_still_opens_and_no_other_does(tmp_path):
    settings = Settings(home=tmp_path, retailers=tmp_path, service_token=SERVICE_TOKEN)
    away = KnownTokens(TokenStore(engine("postgresql://marketday@127.0.0.1:9/jobs")))
    metrics = Metrics(stage="development", steps=[], recorded=lambda: Recorded((), ()))
    app = FastAPI()
    app.add_api_route("/retailers/{retailer}/deliveries", lambda: "delivered")
    app.add_middleware(Access, settings=settings, tokens=away, metrics=metrics)
    with socket.create_server(("127.0.0.1", 0)) as listener, capture_logs() as logged:
        server = HttpServer(app, listener)
        server.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/retailers/{MINE}/deliveries"
            answers = [
                httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
                for token in (SERVICE_TOKEN, GARBAGE)
            ]
        finally:
            server.stop()
    assert [answer.status_code for answer in answers] == [200, 503]
    assert answers[1].json()["detail"] == "Tokens cannot be checked now"
    assert not [word for word in ("127.0.0.1", "postgres", "refused") if word in answers[1].text]
    assert any("127.0.0.1" in line.get("why", "") for line in logged), "it is for the log"
    assert answers[1].headers["Retry-After"] == "5"
    assert b'reason="store_away"} 1.0' in generate_latest(metrics.registry)


def test_the_description_of_the_api_says_that_deliveries_need_a_token(guarded):
    described = guarded.ask("GET", "/openapi.json", SERVICE_TOKEN).json()
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for path, methods in described["paths"].items():
        for about in methods.values():
            assert bool(about.get("security")) == path.startswith("/retailers/"), path
