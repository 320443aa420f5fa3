"""Secrets are masked, however they are written and whether they are known or not; what is none stays readable."""

import json
from urllib.parse import quote

import pytest

from marketday import secrets
from marketday.secrets import redact, redact_all
from marketday.settings import Settings

TOKEN = 'to ken"\\1'
PASSWORD = "p@ss/w:rd"


@pytest.fixture(autouse=True)
def learned(monkeypatch):
    monkeypatch.setattr(secrets, "_known", None)  # whatever it becomes, the next test has its own
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret-value")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://airflow:of-airflow@db/airflow")
    monkeypatch.setenv("ASK_FOR_PASSWORD", "true")
    secrets.learn(
        Settings(
            service_token=TOKEN,
            sentry_dsn="https://dsnkey@errors.example.com/1",
            jobs_url=f"postgresql://jobs:{PASSWORD}@db.example.com:5432/jobs",
            mlflow="https://:hidden-too@mlflow.example.com",
        )
    )


@pytest.mark.parametrize("written", [TOKEN, quote(TOKEN), quote(TOKEN, safe=""), json.dumps(TOKEN), repr(TOKEN)])
def test_a_known_secret_is_masked_in_every_way_of_writing_it(written):
    assert redact(f"before {written} after").replace('"', "").replace("'", "") == "before *** after"


@pytest.mark.parametrize("secret", [PASSWORD, "hidden-too", "dsnkey", "aws-secret-value", "of-airflow"])
def test_passwords_in_urls_and_variables_that_sound_like_secrets_are_known(secret):
    assert redact(f"it is {secret}!") == "it is ***!"


def test_a_url_keeps_its_host_and_its_user():
    known = redact(f"postgresql://jobs:{PASSWORD}@db.example.com:5432/jobs")
    assert known == "postgresql://jobs:***@db.example.com:5432/jobs"
    assert redact("s3 at http://me:other@host:9000/bucket") == "s3 at http://me:***@host:9000/bucket"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer unknown-token",
        "authorization=unknown-token",
        "{'Authorization': 'Basic unknown-token'}",
        r"{\"Authorization\": \"Basic unknown-token\"}",
        "[(b'authorization', b'Bearer unknown-token')]",
        "sent Bearer unknown-token to it",
        "host=db password=unknown-token user=me",
        '{"password": "unknown-token"}',
        "https://host/x?access_token=unknown-token&page=1",
    ],
)
def test_what_looks_like_a_secret_is_masked_though_nobody_knows_it(text):
    assert "unknown-token" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "the step service asks for no password: let only your own network reach it",
        "it is true that 12:30 is at noon",
        "postgresql://db.example.com:5432/jobs does not answer",
        "s3://bucket/warehouse, tcp://127.0.0.1:8786 and http://127.0.0.1:8600/jobs/1/log",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_data_is_redacted_wherever_a_text_stands_in_it():
    data = {"message": f"at {PASSWORD}", "more": [f"{PASSWORD}!", 3, None], "retryable": True}
    assert redact_all(data) == {"message": "at ***", "more": ["***!", 3, None], "retryable": True}
