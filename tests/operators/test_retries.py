"""Which failures are tried again, and when."""

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralTimeout

from marketday import errors
from marketday.errors import JobFailed, JobLost, MarketdayError, OutOfMemory, ServiceUnavailable, TimedOut
from operators.retries import RETRY_POLICY
from operators.stages import CleanOperator


def kinds(kind: type[MarketdayError]) -> list[type[MarketdayError]]:
    return [kind, *(deep for child in kind.__subclasses__() for deep in kinds(child))]


OURS = [kind for kind in kinds(MarketdayError) if kind.__module__ == errors.__name__]


def decided(error: BaseException, *, try_number: int = 1, clears: int = 0):
    """Decide as Airflow does after a task's try; each clearing came after one try."""
    task = CleanOperator(task_id="clean", retailer="simulated", retries=3)
    return task.retry_policy.evaluate(error, try_number, 3 + clears, {"task": task})


@pytest.mark.parametrize("kind", OURS)
def test_what_may_pass_is_tried_again_and_what_would_fail_again_is_not(kind):
    may_pass = kind.retryable or kind is JobFailed
    assert decided(kind("no")).action is (RetryAction.RETRY if may_pass else RetryAction.FAIL)


@pytest.mark.parametrize("error", [KeyError("bug"), TaskDeferralTimeout("30 min"), AirflowTaskTimeout("30 min")])
def test_what_nobody_foresaw_and_a_tasks_timeout_are_tried_again(error):
    assert decided(error).action is RetryAction.RETRY


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (ServiceUnavailable, "may answer later"),
        (JobLost, "new job"),
        (OutOfMemory, "next larger resource class"),
        (TimedOut, "may not hang again"),
    ],
)
def test_the_log_says_why_it_is_tried_again(kind, says):
    assert says in decided(kind("no")).reason


@pytest.mark.parametrize(("try_number", "shortest"), [(1, 5), (2, 20), (3, 80), (4, 300), (99, 300)])
def test_the_waits_grow_and_are_spread_by_half(try_number, shortest):
    waits = [decided(JobLost("gone"), try_number=try_number).retry_delay.total_seconds() for _ in range(50)]
    assert all(shortest <= wait <= 1.5 * shortest for wait in waits)
    assert len(set(waits)) > 1


def test_the_tries_before_a_clearing_do_not_count():
    assert decided(JobLost("gone"), try_number=5, clears=4).retry_delay.total_seconds() <= 7.5


def test_a_policy_without_a_context_decides_all_the_same():
    assert RETRY_POLICY.evaluate(JobLost("gone"), 1, 3).action is RetryAction.RETRY
