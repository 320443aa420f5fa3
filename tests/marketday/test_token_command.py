"""`marketday token` makes, lists, replaces and revokes the tokens of retailers, and shows each of them once."""

import hashlib
import re

import pytest
from typer.testing import CliRunner

from marketday import cli
from marketday.service import migrations


@pytest.fixture
def token(settings, monkeypatch):
    """Call `marketday token …` on a migrated database."""
    migrations.migrate(settings.jobs_database)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(cli.app, ["token", *words])


def test_the_command_prints_the_token_alone_on_standard_output_and_never_again(token, settings):
    made = token("create", "simulated", "--label", "till")
    assert made.exit_code == 0, made.output
    shown = made.stdout.strip()
    assert re.fullmatch(r"mdt_[\w-]{43}", shown)
    assert "labelled till, is valid until it is revoked. It is not shown again." in made.stderr
    assert "MARKETDAY_SERVICE_TOKEN is not set" in made.stderr
    listed = token("list", "simulated").stdout
    assert "till" in listed
    assert shown not in listed
    assert hashlib.sha256(shown.encode()).hexdigest() not in listed


def test_the_command_rotates_revokes_and_lists(token, monkeypatch):
    monkeypatch.setenv("MARKETDAY_SERVICE_TOKEN", "of-the-service")
    first = token("create", "simulated", "--days", "30")
    assert "MARKETDAY_SERVICE_TOKEN" not in first.stderr
    assert token("create", "m5").exit_code == 0
    second = token("rotate", "simulated", "--overlap", "4")
    assert second.stdout != first.stdout
    assert "the one before it is valid too" in second.stderr
    states = re.compile(r"\b(valid|expired|revoked)\b")
    assert states.findall(token("list", "simulated").stdout) == ["valid", "valid"]
    assert states.findall(token("list").stdout) == ["valid"] * 3
    token_id = re.search(r"Token (\w+) of simulated", second.stderr)[1]
    assert f"Revoked {token_id} of simulated" in token("revoke", "simulated", token_id).stdout
    assert states.findall(token("list", "simulated").stdout) == ["valid", "revoked"]
    assert token("rotate", "simulated", "--overlap", "0").exit_code == 0
    assert states.findall(token("list", "simulated").stdout) == ["expired", "revoked", "valid"]
    assert token("revoke", "simulated", "--all").stdout.count("Revoked") == 3
    assert set(states.findall(token("list", "simulated").stdout)) == {"revoked"}
    assert states.findall(token("list", "m5").stdout) == ["valid"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["create", "simulatd"], 1, "There is no retailer 'simulatd'"),
        (["rotate", "simulated"], 1, "has no valid token labelled 'default', but none at all"),
        (["revoke", "simulated", "--all"], 1, "simulated has no token"),
        (["revoke", "simulated", "0f2c5a81b3d9"], 1, "simulated has no token 0f2c5a81b3d9"),
        (["revoke", "simulated"], 2, "Give the ids of tokens, or --all."),
        (["revoke", "simulated", "0f2c5a81b3d9", "--all"], 2, "Give the ids of tokens, or --all."),
    ],
)
def test_the_command_says_what_is_wrong(token, words, code, says):
    done = token(*words)
    assert done.exit_code == code
    assert says in done.stderr
    assert "Traceback" not in done.output


def test_the_command_needs_a_migrated_database(settings):
    settings.home.mkdir()
    done = CliRunner().invoke(cli.app, ["token", "list"])
    assert done.exit_code == 1
    assert "marketday migrate" in done.stderr
