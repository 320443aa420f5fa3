"""Waiting in the triggerer: every branch ends in one event that says what happened, about which job or day."""

import asyncio
import datetime as dt
import threading
import time

import pytest
from fake_service import DAY

from marketday.calls import Call
from marketday.client import StepServiceClient
from marketday.errors import GateFailed
from operators.triggers import DeliveryTrigger, JobTrigger, shared_client

NOWHERE = "http://127.0.0.1:9"


def fired(trigger) -> dict:
    """Run a trigger to its end and return the payload of its only event."""

    async def events() -> list:
        return [event.payload async for event in trigger.run()]

    [payload] = asyncio.run(events())
    return payload


def submitted(service) -> str:
    with StepServiceClient(service.url) as client:
        return client.submit(Call(step="clean", retailer="simulated", day=DAY)).job_id


def delivery_trigger(url: str, cut_off: dt.datetime, pause: float = 0.05) -> DeliveryTrigger:
    return DeliveryTrigger(
        url=url, retailer="simulated", day="2025-03-03", cut_off=cut_off.astimezone().isoformat(), pause=pause
    )


def in_seconds(seconds: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


def test_a_job_trigger_serializes_to_what_rebuilds_it():
    assert JobTrigger(url="http://s", job_id="j").serialize() == (
        "operators.triggers.JobTrigger",
        {"url": "http://s", "job_id": "j", "patience": 600.0, "pause": 1.0},
    )


def test_a_delivery_trigger_serializes_to_what_rebuilds_it():
    given = {"url": "http://s", "retailer": "r", "day": "2025-03-03", "cut_off": "2025-03-03T05:30:00+01:00"}
    assert DeliveryTrigger(**given).serialize() == ("operators.triggers.DeliveryTrigger", {**given, "pause": 1.0})


def test_a_task_does_not_come_back_before_the_scheduler_knows_that_it_waits(service, monkeypatch):
    monkeypatch.setattr("operators.triggers.SETTLES", 0.5)
    began = time.monotonic()
    assert fired(JobTrigger(url=service.url, job_id=submitted(service)))["status"] == "successful"
    assert time.monotonic() - began >= 0.5


def test_a_job_that_ends_well(service):
    service.seconds = 0.2
    assert fired(JobTrigger(url=service.url, job_id=submitted(service))) == {
        "status": "successful",
        "message": "",
        "job_id": "job0",
    }


def test_a_job_that_fails_carries_the_steps_message(service):
    service.results["clean"] = GateFailed("too many refused")
    payload = fired(JobTrigger(url=service.url, job_id=submitted(service)))
    assert (payload["status"], payload["message"]) == ("failed", "too many refused")


def test_a_job_that_somebody_dismisses(service):
    service.seconds = 30.0
    job_id = submitted(service)
    threading.Timer(0.1, service.jobs[job_id].update, kwargs={"dismissed": True}).start()
    assert fired(JobTrigger(url=service.url, job_id=job_id))["status"] == "dismissed"


def test_a_job_that_the_service_does_not_know_is_lost(service):
    payload = fired(JobTrigger(url=service.url, job_id="job9"))
    assert (payload["status"], payload["job_id"]) == ("lost", "job9")
    assert "there is no /jobs/job9" in payload["message"]


def test_a_short_outage_of_the_service_is_outlived(service):
    job_id = submitted(service)
    service.away = 3
    assert fired(JobTrigger(url=service.url, job_id=job_id, pause=0.01))["status"] == "successful"
    assert service.away == 0


def test_a_long_outage_of_the_service_is_not():
    payload = fired(JobTrigger(url=NOWHERE, job_id="job0", patience=0.1, pause=0.02))
    assert payload["status"] == "unreachable"
    assert "does not answer" in payload["message"]


def test_killing_the_waiting_task_cancels_the_job(service):
    service.seconds = 30.0
    job_id = submitted(service)
    asyncio.run(JobTrigger(url=service.url, job_id=job_id).on_kill())
    assert service.status(service.jobs[job_id])["status"] == "dismissed"


def test_the_trigger_shows_the_token_that_the_connection_has(service, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MARKETDAY_SERVICE", service.url.replace("http://", "http://:s3cret@"))
    job_id = submitted(service)
    service.tokens.clear()
    trigger = JobTrigger(url=service.url, job_id=job_id)
    assert fired(trigger)["status"] == "successful"
    assert service.tokens == {"Bearer s3cret"}
    assert "s3cret" not in repr(trigger)


def test_all_triggers_of_a_process_share_one_client_and_the_last_closes_it(service):
    async def lent() -> list[StepServiceClient]:
        async def wait() -> StepServiceClient:
            async with shared_client(service.url) as client:
                await together.wait()
            return client

        together = asyncio.Barrier(3)
        return await asyncio.gather(*(wait() for _ in range(3)))

    first, second, third = asyncio.run(lent())
    assert first is second is third
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(first.astatus("job0"))


def test_a_trigger_that_is_cancelled_leaves_the_others_their_client(service):
    service.seconds = 0.5
    job_id = submitted(service)

    async def ended() -> str:
        trigger = JobTrigger(url=service.url, job_id=job_id)
        other = asyncio.create_task(anext(JobTrigger(url=service.url, job_id=job_id).run()))
        waiting = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0)
        other.cancel()
        return (await waiting).payload["status"]

    assert asyncio.run(ended()) == "successful"


def test_a_delivery_is_seen_when_it_comes_and_not_after_a_pause(service):
    threading.Timer(0.2, setattr, (service, "receipt", {"id": "d1"})).start()
    started = time.monotonic()
    payload = fired(delivery_trigger(service.url, in_seconds(60), pause=60.0))
    assert time.monotonic() - started < 5
    assert payload == {
        "status": "delivered",
        "message": "delivery d1 is there",
        "retailer": "simulated",
        "day": "2025-03-03",
    }


@pytest.mark.parametrize("away", [0, 1000])
def test_at_the_cut_off_the_waiting_ends_whether_or_not_the_service_answers(service, away):
    service.away = away
    started = time.monotonic()
    assert fired(delivery_trigger(service.url, in_seconds(0.3)))["status"] == "cut_off"
    assert 0.2 < time.monotonic() - started < 5
