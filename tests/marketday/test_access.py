"""Who is let in: whoever shows the token, and no page of another site."""

import re
from pathlib import Path

import httpx
import probe_service
import pytest
from fastapi import FastAPI

from marketday.client import StepServiceClient
from marketday.errors import ServiceError, SettingsError
from marketday.runners import service as runner
from marketday.service.access import OPEN, Access
from marketday.service.database import engine
from marketday.service.known_tokens import KnownTokens
from marketday.service.tokens import TokenStore
from marketday.settings import Settings
from marketday.telemetry.metrics import Metrics, Recorded

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "s3cret-of-the-service"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("access"), retailers=ROOT / "include" / "retailers")
    with probe_service.running(settings, environment={"MARKETDAY_SERVICE_TOKEN": TOKEN}) as service:
        yield service


def ask(service, path, method="GET", **options):
    return httpx.request(method, service.url + path, trust_env=False, timeout=30, **options)


def test_every_route_but_those_for_machines_asks_for_the_token(service):
    described = ask(service, "/openapi.json", auth=("", TOKEN)).json()["paths"]
    routes = [(re.sub(r"{.*?}", "x", path), method) for path, methods in described.items() for method in methods]
    assert len(routes) > 10
    for path, method in [*routes, ("/reports/x", "get"), ("/openapi.json", "get"), ("/nowhere", "get")]:
        answer = ask(service, path, method)
        if path in OPEN:
            assert answer.status_code == 200
        else:
            assert answer.status_code == 401, path
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers.get_list("WWW-Authenticate", split_commas=False)[0].startswith("Basic "), (
                "a browser asks"
            )


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ({"headers": {"Authorization": f"Bearer {TOKEN}"}}, 200),
        ({"headers": {"Authorization": f"bearer {TOKEN}"}}, 200),
        ({"auth": ("", TOKEN)}, 200),
        ({"auth": ("anybody", TOKEN)}, 200),
        ({"auth": (TOKEN, "")}, 401),
        ({"headers": {"Authorization": "Bearer wrong"}}, 401),
        ({"headers": {"Authorization": "Bearer"}}, 401),
        ({"headers": {"Authorization": f"Token {TOKEN}"}}, 401),
        ({"headers": {"Authorization": "Basic !"}}, 401),
        ({"headers": {"Authorization": "Basic \u00fc".encode()}}, 401),
    ],
)
def test_the_token_is_a_bearer_or_the_password_of_basic_authentication(service, shown, status):
    assert ask(service, "/processes", **shown).status_code == status


def test_the_client_shows_it_and_hears_what_to_do_if_it_is_wrong(service):
    with StepServiceClient(service.url, token=TOKEN) as client:
        assert client.process("probe").id == "probe"
    for token in ("", "wrong"):
        with (
            StepServiceClient(service.url, token=token) as client,
            pytest.raises(ServiceError, match="MARKETDAY_SERVICE_TOKEN") as refused,
        ):
            client.process("probe")
        assert not refused.value.retryable


def test_the_settings_client_has_the_settings_token(service, monkeypatch):
    monkeypatch.setenv("MARKETDAY_SERVICE_TOKEN", TOKEN)
    with runner.client(Settings(service_url=service.url)) as client:
        assert client.process("probe").id == "probe"


def test_no_log_and_no_representation_shows_it(service):
    with StepServiceClient(service.url, token=TOKEN) as client:
        client.process("probe")
        parts = (client, client._transport, client._transport._client.headers)
        assert not [part for part in parts if TOKEN in repr(part)]
    ask(service, "/processes", auth=("", TOKEN))
    assert TOKEN not in service.output.read_text()


@pytest.mark.parametrize("token", ["line\nbreak", "two words", "grün"])
def test_a_token_that_no_header_can_carry_is_refused_by_both_sides_without_being_shown(token):
    settings = Settings(service_token=token)
    known = KnownTokens(TokenStore(engine("sqlite://")))
    metrics = Metrics(stage="development", steps=[], recorded=lambda: Recorded((), ()))
    for made in (
        lambda: StepServiceClient("http://127.0.0.1", token=token),
        lambda: Access(FastAPI(), settings, known, metrics),
    ):
        with pytest.raises(SettingsError, match="no HTTP header can carry") as refused:
            made()
        assert token not in str(refused.value)


def test_a_page_of_another_site_changes_nothing_though_the_browser_shows_the_token(service):
    address = "/retailers/simulated/deliveries/2026-03-02/complete?kind=daily"
    for origin, status in (("https://elsewhere.example", 403), ("null", 403), ("http://[", 403), (service.url, 422)):
        answer = ask(service, address, "POST", auth=("", TOKEN), headers={"Origin": origin})
        assert answer.status_code == status, origin
    elsewhere = {"Origin": "https://elsewhere.example"}
    assert ask(service, "/processes", auth=("", TOKEN), headers=elsewhere).status_code == 200
