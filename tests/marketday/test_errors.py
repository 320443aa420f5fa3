"""One exception tree, drawn at the head of its module, that travels as data."""

import inspect

import pytest

from marketday import errors
from marketday.errors import GateFailed, JobFailed, MarketdayError, ServiceUnavailable, from_dict, listed

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MarketdayError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_travels_as_data_and_comes_back_as_itself(kind: type[MarketdayError]):
    sent = kind("what happened", hint="do this", evidence="look there")
    back = from_dict(sent.to_dict())
    assert type(back) is kind
    assert str(back) == "what happened\nWhat to do: do this\nEvidence: look there"
    assert sent.to_dict()["retryable"] is back.retryable


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_stands_in_the_drawing(kind: type[MarketdayError]):
    assert kind.__name__ in (errors.__doc__ or "")


def test_only_what_may_pass_by_itself_is_retryable():
    assert {kind.__name__ for kind in KINDS if kind.retryable} == {
        "ServiceUnavailable",
        "JobLost",
        "OutOfMemory",
        "TimedOut",
    }
    assert ServiceUnavailable("full", retry_after=2.0).retry_after == 2.0
    assert not GateFailed("no").retryable


def test_a_library_error_becomes_a_failed_job_that_names_it():
    back = from_dict({"type": "KeyError", "message": "'units'"})
    assert type(back) is JobFailed
    assert back.message == "KeyError: 'units'"


def test_long_lists_are_capped_and_counted():
    assert listed(range(3)) == "0, 1, 2"
    assert listed(range(13)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more"
