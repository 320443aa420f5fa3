"""`marketday features`."""

import pytest
from typer.testing import CliRunner

from marketday import cli
from marketday.features.declare import registry


@pytest.fixture
def shown(monkeypatch):
    """Return what the command prints."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        return CliRunner().invoke(cli.app, ["features", *words])

    return run


def test_every_declared_feature_is_listed(shown):
    listed = shown().output
    assert all(name in listed for name in registry())


@pytest.mark.parametrize("name", list(registry()))
def test_every_feature_can_be_explained(shown, name):
    done = shown(name)
    assert done.exit_code == 0
    assert done.output.startswith(f"{name}: ")


def test_an_explanation_says_what_is_read_how_far_back_and_what_is_known(shown):
    text = " ".join(shown("mean_28_back_7").output.split())
    assert "knows what was observed up to the end of the origin" in text
    assert "reads demand (units sold" in text
    assert "look-back 28 days, the last of them 7 days before the origin" in text


def test_an_unknown_feature_is_answered_with_those_there_are(shown):
    done = shown("mean_29")
    assert done.exit_code == 1
    assert "There is no feature 'mean_29'" in done.output
    assert "mean_28_back_7" in done.output
