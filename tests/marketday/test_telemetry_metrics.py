"""The metrics: their list in the documentation, what each counts, and what they say when the job store is away."""

import datetime as dt
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from marketday.calls import Result
from marketday.client import JobStatus
from marketday.errors import ServiceUnavailable, TimedOut
from marketday.telemetry.metrics import Metrics, Recorded

PAGE = Path(__file__).resolve().parents[2] / "docs" / "telemetry.md"
UP = "marketday_job_store_up"
NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def job(step="clean", status="successful", **fields):
    times = {"created": NOON, "started": NOON, "finished": NOON + dt.timedelta(seconds=5), "updated": NOON}
    known = {"job_id": "1", "key": "k", "retailer": "corner", "day": dt.date(2026, 3, 2), "attempt": 1}
    return JobStatus(process_id=step, status=status, **{**times, **known, **fields})


def failed(error, **fields):
    return job(status="failed", error=error.to_dict(), **fields)


def metrics(*successes, unfinished=()):
    return Metrics(stage="staging", steps=["clean"], recorded=lambda: Recorded(successes, unfinished))


def families(of):
    """What is shown, by the name that stands in the page."""
    found = text_string_to_metric_families(generate_latest(of.registry).decode())
    return {f"{each.name}_total" if each.type == "counter" else each.name: each for each in found}


def samples(of):
    """Every sample as ``name{label="value",…}`` → value, the labels in order."""
    return {
        f"{sample.name}{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}": sample.value
        for family in families(of).values()
        for sample in family.samples
    }


def of_every_kind():
    """Metrics of which each has at least one sample."""
    some = metrics((job(peak_memory=7), Result(rows={"sales": 3})), unfinished=[job(status="running")])
    some.request("/jobs/{job_id}", "GET", 200, 0.01)
    some.refused("clean")
    some.job_ended(failed(TimedOut("too slow")))
    return some


def listed():
    """The table of the page: name → type, labels, unit, who counts, meaning."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `marketday_")]
    return {name.strip(" `"): [cell.strip() for cell in cells] for name, *cells in rows}


def test_the_page_lists_exactly_the_names_types_labels_and_meanings_that_the_service_shows():
    shown = {
        name: (
            family.type,
            set.union(*(set(sample.labels) for sample in family.samples)) - {"le"},
            family.documentation,
        )
        for name, family in families(of_every_kind()).items()
        if name.startswith("marketday_")
    }
    page = {
        name: (kind, set(filter(None, labels.split(", "))), meaning)
        for name, (kind, labels, _, _, meaning) in listed().items()
    }
    assert page == shown


def test_a_metric_that_has_a_base_unit_has_it_in_its_name():
    for name, (_, _, unit, _, _) in listed().items():
        if unit in ("seconds", "bytes"):
            assert name.endswith(f"_{unit}")


def test_what_the_page_calls_the_stores_is_missing_while_the_store_does_not_answer_and_nothing_else_is():
    def away():
        raise ServiceUnavailable("the database is away")

    some = Metrics(stage="staging", steps=["clean"], recorded=away)
    missing = set(listed()) - set(families(some))
    assert missing == {name for name, (_, _, _, of, _) in listed().items() if of == "store"} - {UP}
    assert samples(some)[f"{UP}{{}}"] == 0
    assert samples(metrics())[f"{UP}{{}}"] == 1


def test_counters_are_there_before_they_count_so_that_a_rate_sees_the_first_increment():
    assert samples(metrics())["marketday_job_refusals_total{step=clean}"] == 0
    assert samples(metrics())["marketday_jobs_total{state=failed,step=clean}"] == 0


def test_a_job_that_ends_is_counted_by_its_state_timed_and_its_error_named():
    some = metrics()
    some.job_ended(job())
    some.job_ended(failed(TimedOut("too slow")))
    found = samples(some)
    assert found["marketday_jobs_total{state=successful,step=clean}"] == 1
    assert found["marketday_jobs_total{state=failed,step=clean}"] == 1
    assert found["marketday_job_failures_total{error=TimedOut,step=clean}"] == 1
    assert found["marketday_job_timeouts_total{step=clean}"] == 1
    assert found["marketday_job_duration_seconds_sum{step=clean}"] == pytest.approx(10)


def test_a_job_that_never_started_is_counted_and_not_timed():
    some = metrics()
    some.job_ended(job(status="dismissed", started=None))
    assert samples(some)["marketday_jobs_total{state=dismissed,step=clean}"] == 1
    assert samples(some)["marketday_job_duration_seconds_count{step=clean}"] == 0


def test_the_blocks_of_a_step_are_one_rows_added_up_and_the_largest_memory_and_the_latest_end_taken():
    found = samples(
        metrics(
            (job(block="000", peak_memory=5, finished=NOON), Result(rows={"forecasts": 2, "quarantine": 0})),
            (job(block="001", peak_memory=None), Result(rows={"forecasts": 3})),
        )
    )
    assert found["marketday_step_last_rows{retailer=corner,step=clean,table=forecasts}"] == 5
    assert found["marketday_step_last_rows{retailer=corner,step=clean,table=quarantine}"] == 0
    assert found["marketday_step_last_peak_memory_bytes{retailer=corner,step=clean}"] == 5
    ended = (NOON + dt.timedelta(seconds=5)).timestamp()
    assert found["marketday_step_last_success_timestamp_seconds{retailer=corner,step=clean}"] == ended
    day = dt.datetime(2026, 3, 2, tzinfo=dt.UTC).timestamp()
    assert found["marketday_step_last_day_timestamp_seconds{retailer=corner,step=clean}"] == day


def test_unfinished_jobs_are_counted_by_step_and_state():
    found = samples(metrics(unfinished=[job(status="running"), job(status="running"), job(status="accepted")]))
    assert found["marketday_jobs_unfinished{state=running,step=clean}"] == 2
    assert found["marketday_jobs_unfinished{state=accepted,step=clean}"] == 1
