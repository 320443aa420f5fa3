"""Which failures are worth another try, and when."""

import datetime as dt
import random
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryDecision, RetryRule

from marketday.errors import JobFailed, JobLost, MarketdayError, OutOfMemory, ServiceUnavailable, TimedOut

FIRST = 5.0
"""Seconds before the first retry; each further one waits four times as long."""

LONGEST = 300.0
"""Seconds: no retry waits for longer, but for the jitter."""


class BackOff(ExceptionRetryPolicy):
    """Rules by kind of failure; the waits between retries grow, and tasks that fail together come back apart.

    Airflow's own back-off counts the tries before a clearing too, and gives all blocks of a mapped task the same wait.
    """

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return whether to retry, and after how long."""
        decision = super().evaluate(exception, try_number, max_tries, context)
        if decision.action is not RetryAction.RETRY:
            return decision
        # Clearing grants a task its retries on top of the tries so far: this is the first try of the last grant.
        first = max_tries - context["task"].retries + 1 if context else 1
        seconds = min(LONGEST, FIRST * 4.0 ** (try_number - first))
        return RetryDecision.retry(dt.timedelta(seconds=jittered(seconds)), decision.reason)


def jittered(seconds: float) -> float:
    """Return a wait of ``seconds`` and up to half as much again, so that many do not come back at once."""
    return seconds * random.uniform(1.0, 1.5)  # noqa: S311  no secret


RETRY_POLICY = BackOff(
    rules=[
        RetryRule(ServiceUnavailable, RetryAction.RETRY, reason="The step service may answer later"),
        RetryRule(JobLost, RetryAction.RETRY, reason="A new job may reach its end"),
        RetryRule(OutOfMemory, RetryAction.RETRY, reason="The next job runs in the next larger resource class"),
        RetryRule(TimedOut, RetryAction.RETRY, reason="What hung may not hang again"),
        # What a library raised in the step: a lost connection to the warehouse passes, a bug fails again.
        RetryRule(JobFailed, RetryAction.RETRY, reason="What nobody foresaw may pass"),
        RetryRule(MarketdayError, RetryAction.FAIL, reason="The same call would fail again; do what the error says"),
    ],
    default=RetryAction.RETRY,
)
"""Retries are for what may pass; what nobody foresaw, in a step or in the task itself, may."""
