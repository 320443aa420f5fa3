"""Waiting for the retailer."""

import datetime as dt
from typing import Any

from airflow.sdk import BaseOperator, ExceptionRetryPolicy
from airflow.sdk.exceptions import AirflowSkipException

from marketday import retailers, settings
from operators.business_day import business_day
from operators.hook import StepServiceHook
from operators.retries import RETRY_POLICY
from operators.timeouts import http_call
from operators.triggers import DeliveryTrigger


class DeliverySensor(BaseOperator):
    """Wait until the day's delivery is complete, at the longest until the retailer's cut-off.

    A run without a delivery goes on in degraded mode; the sensor then ends as skipped, so that the grid shows it.
    Returns ``{"delivery": receipt id}``.
    """

    def __init__(self, *, retailer: str, retry_policy: ExceptionRetryPolicy = RETRY_POLICY, **kwargs: Any) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.retailer = retailer

    def execute(self, context: Any) -> dict[str, Any]:
        """Wait in the triggerer if it is not too late, else look once."""
        day = business_day(context, self.retailer)
        cut_off = retailers.load(self.retailer, settings.load().retailers).cut_off_at(day)
        if dt.datetime.now(dt.UTC) < cut_off:
            with StepServiceHook().get_conn() as client:
                url = client.url
            self.defer(
                trigger=DeliveryTrigger(
                    url=url, retailer=self.retailer, day=day.isoformat(), cut_off=cut_off.isoformat()
                ),
                method_name="finish",
            )
        return self.finish(context)

    def finish(self, context: Any, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Say what there is.

        Raises:
            AirflowSkipException: there is no delivery.

        """
        if event:
            self.log.info("%s: %s", event["status"], event["message"])
        day = business_day(context, self.retailer)
        with StepServiceHook().get_conn() as client, http_call("delivery"):
            receipt = client.delivery(self.retailer, day)
        if receipt is None:
            raise AirflowSkipException(
                f"{self.retailer} {day}: no delivery by the cut-off; the run goes on without, in degraded mode"
            )
        self.log.info("%s %s: delivery %s", self.retailer, day, receipt["id"])
        return {"delivery": receipt["id"]}
