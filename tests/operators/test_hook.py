"""The address and the token of the step service, as Airflow's connection has them in any of the usual ways."""

import asyncio
import json

import pytest

from operators.hook import StepServiceHook


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        ("http://127.0.0.1:8601", "http://127.0.0.1:8601"),
        ("https://steps.example", "https://steps.example:443"),
        ({"conn_type": "http", "host": "steps.example"}, "http://steps.example:80"),
        ({"conn_type": "http", "host": "steps.example", "schema": "https"}, "https://steps.example:443"),
        ({"conn_type": "http", "host": "https://steps.example"}, "https://steps.example"),
        ({"conn_type": "http", "host": "https://steps.example", "schema": "https"}, "https://steps.example"),
        ({"conn_type": "http", "host": "https://steps.example", "port": 8443}, "https://steps.example:8443"),
    ],
)
def test_the_service_is_where_the_connection_says(monkeypatch, connection, url):
    text = connection if isinstance(connection, str) else json.dumps(connection)
    monkeypatch.setenv("AIRFLOW_CONN_MARKETDAY_SERVICE", text)
    assert StepServiceHook().get_conn().url == url


def test_without_a_connection_it_is_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("MARKETDAY_SERVICE_URL", "http://127.0.0.1:8602")
    assert StepServiceHook().get_conn().url == "http://127.0.0.1:8602"


def test_a_url_that_is_given_goes_before_the_connections(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MARKETDAY_SERVICE", "http://127.0.0.1:8601")
    assert StepServiceHook(url="http://old.example").get_conn().url == "http://old.example"


def test_the_connections_password_is_the_token(service, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MARKETDAY_SERVICE", service.url.replace("http://", "http://:s3cret@"))
    with StepServiceHook().get_conn() as client:
        client.process("clean")
    assert service.tokens == {"Bearer s3cret"}


def test_a_connection_may_hold_nothing_but_the_token(service, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MARKETDAY_SERVICE", json.dumps({"conn_type": "http", "password": "s3cret"}))
    with StepServiceHook().get_conn() as client:
        client.process("clean")
    assert service.tokens == {"Bearer s3cret"}


def test_without_a_connection_the_environment_has_the_token(service, monkeypatch):
    monkeypatch.setenv("MARKETDAY_SERVICE_TOKEN", "fr0m-env")
    with StepServiceHook(url=service.url).get_conn() as client:
        client.process("clean")
    assert service.tokens == {"Bearer fr0m-env"}


@pytest.mark.parametrize("connection", [None, "http://:s3cret@127.0.0.1:8601"])
def test_the_triggerer_finds_the_same_service(monkeypatch, connection):
    monkeypatch.setenv("MARKETDAY_SERVICE_URL", "http://127.0.0.1:8602")
    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_MARKETDAY_SERVICE", connection)

    async def found() -> str:
        client = await StepServiceHook().aget_conn()
        await client.aclose()
        return client.url

    assert asyncio.run(found()) == StepServiceHook().get_conn().url
