"""The run waits for its delivery until the cut-off and then goes on with what it has."""

import datetime as dt

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from marketday.errors import ServiceUnavailable
from operators.sensors import DeliverySensor
from operators.triggers import DeliveryTrigger


@pytest.fixture
def sensor(settings):
    return DeliverySensor(task_id="wait_for_delivery", retailer="simulated")


def test_before_the_cut_off_it_waits_in_the_triggerer(service, context, sensor):
    day = dt.date.today() + dt.timedelta(days=2)
    with pytest.raises(TaskDeferred) as waiting:
        sensor.execute(context(sensor, key=f"simulated|{day}"))
    _, arguments = waiting.value.trigger.serialize()
    assert isinstance(waiting.value.trigger, DeliveryTrigger)
    assert (arguments["url"], arguments["day"]) == (service.url, day.isoformat())
    assert arguments["cut_off"].startswith(f"{day}T05:30:00+0")


def test_after_the_cut_off_it_does_not_wait_and_says_degraded(service, context, sensor):
    with pytest.raises(AirflowSkipException, match=r"no delivery by the cut-off; .* in degraded mode"):
        sensor.execute(context(sensor))


def test_a_late_delivery_counts_all_the_same(service, context, sensor):
    service.receipt = {"id": "d1"}
    assert sensor.execute(context(sensor)) == {"delivery": "d1"}


def test_resuming_looks_again_rather_than_trust_the_trigger(service, context, sensor):
    service.receipt = {"id": "d2"}
    event = {"status": "cut_off", "message": "no delivery yet"}
    assert sensor.finish(context(sensor), event) == {"delivery": "d2"}


def test_a_service_that_is_away_is_no_missing_delivery(service, context, sensor):
    service.away = 1
    with pytest.raises(ServiceUnavailable):
        sensor.execute(context(sensor))
