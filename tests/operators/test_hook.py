"""The address of the step service, as Airflow's connection has it in any of the usual ways."""

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
    assert StepServiceHook().url == url


def test_without_a_connection_it_is_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("MARKETDAY_SERVICE_URL", "http://127.0.0.1:8602")
    assert StepServiceHook().url == "http://127.0.0.1:8602"
