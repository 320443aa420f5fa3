"""Which failures are worth another try."""

import datetime as dt

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from marketday.errors import JobFailed, JobLost, MarketdayError, ServiceUnavailable

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(ServiceUnavailable, RetryAction.RETRY, reason="The step service may answer later"),
        # Airflow's back-off grows with every try, those before a clearing too; a new job need not wait for that.
        RetryRule(JobLost, RetryAction.RETRY, dt.timedelta(seconds=5), reason="A new job may reach its end"),
        # What a library raised in the step: a lost connection to the warehouse passes, a bug fails again.
        RetryRule(JobFailed, RetryAction.RETRY, dt.timedelta(seconds=30), reason="What nobody foresaw may pass"),
        RetryRule(MarketdayError, RetryAction.FAIL, reason="The same call would fail again; do what the error says"),
    ]
)
"""Retries are for what may pass; what nobody foresaw, in a step or in the task itself, may."""
