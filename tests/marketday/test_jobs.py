"""The job store: a state changes once, a key has one unfinished job, and a lease that is over may be taken."""

import datetime as dt
import threading

import pytest
import throwaway_postgres

from marketday.calls import Call
from marketday.errors import ServiceUnavailable, SettingsError
from marketday.service import migrations
from marketday.service import store as store_module
from marketday.service.database import engine
from marketday.service.store import Ended, JobStore

DAY = dt.date(2026, 3, 2)
LOST = Ended("failed", "lost", error={"type": "JobLost"})


def call(step="probe", **params):
    return Call(step=step, retailer="simulated", day=DAY, params=params)


@pytest.fixture(scope="module")
def postgres():
    with throwaway_postgres.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
        opened = engine(url)
        with opened.begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS jobs, tokens, alembic_version")
        opened.dispose()
    migrations.migrate(url)
    return url


@pytest.fixture
def store(url):
    store = JobStore(url)
    yield store
    store.close()


def create(store, call, *, definition="d", service="one", lease=60.0, **more):
    job, new = store.create(call, definition=definition, size="S", service=service, lease=lease, **more)
    assert new
    return job


def test_a_new_job_says_whose_it_is_and_what_it_may_use(store):
    job, new = store.create(
        call(), definition="d", size="M", service="here:1", lease=60, run_id="manual__1", message="Because."
    )
    assert new
    assert (job.status, job.attempt, job.size, job.service) == ("accepted", 1, "M", "here:1")
    assert (job.run_id, job.message, job.peak_memory) == ("manual__1", "Because.", None)
    assert store.get(job.job_id) == job
    assert store.get("nothing") is None


def test_of_two_who_end_a_job_the_first_wins(store):
    job = create(store, call())
    assert store.begin(job.job_id)
    assert not store.begin(job.job_id)
    assert store.end(job.job_id, Ended("dismissed", "first"))
    assert not store.end(job.job_id, Ended("successful", result={}))
    assert not store.begin(job.job_id)
    ended = store.get(job.job_id)
    assert (ended.status, ended.message) == ("dismissed", "first")
    assert store.result(job.job_id) is None


def test_a_job_ends_with_its_result_its_memory_and_the_message_that_it_began_with(store):
    job = create(store, call(), message="Runs in class L.")
    assert store.end(job.job_id, Ended("successful", result={"facts": {"n": 1}}, peak_memory=3 << 30))
    ended = store.get(job.job_id)
    assert (ended.status, ended.message, ended.peak_memory) == ("successful", "Runs in class L.", 3 << 30)
    assert ended.created <= ended.finished <= ended.updated
    assert store.result(job.job_id).facts == {"n": 1}


def test_who_comes_second_with_a_key_gets_the_first_ones_job(store):
    first = create(store, call(), service="one")
    joined, new = store.create(call(), definition="d", size="S", service="two", lease=60)
    assert (joined, new) == (first, False)
    store.end(first.job_id, Ended("failed"))
    second = create(store, call(), service="two")
    assert (second.attempt, second.service) == (2, "two")
    assert [job.job_id for job in store.attempts(call().key)] == [second.job_id, first.job_id]


def test_the_last_attempt_is_the_last_though_another_hosts_clock_was_ahead(store, monkeypatch):
    with monkeypatch.context() as ahead:
        ahead.setattr(store_module, "_now", lambda ahead=0.0, real=store_module._now: real(ahead + 3600))
        store.end(create(store, call()).job_id, Ended("failed"))
    second = create(store, call())
    assert store.attempts(call().key)[0].job_id == second.job_id


def test_of_many_who_come_with_a_key_at_the_same_time_one_makes_the_job(url):
    answers, ready = [], threading.Barrier(6)

    def come(service):
        store = JobStore(url)
        ready.wait()
        answers.append(store.create(call(), definition="d", size="S", service=service, lease=60))
        store.close()

    threads = [threading.Thread(target=come, args=(f"service {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new for _, new in answers) == [False] * 5 + [True]
    assert len({job.job_id for job, _ in answers}) == 1


def test_jobs_are_found_by_key_retailer_state_and_service_latest_first(store):
    one, two = create(store, call(n=1), service="a"), create(store, call(n=2), service="b")
    store.end(one.job_id, Ended("successful", result={}))
    assert store.recorded(call(n=1).key, "d").job_id == one.job_id
    assert store.recorded(call(n=1).key, "another definition") is None
    assert store.recorded(call(n=2).key, "d") is None
    assert store.unfinished(call(n=2).key).job_id == two.job_id
    assert [job.job_id for job in store.unfinished_of("b")] == [two.job_id]
    assert store.unfinished_of("a") == []
    assert [job.job_id for job in store.search(retailer="simulated")] == [two.job_id, one.job_id]
    assert [job.job_id for job in store.search(state="successful")] == [one.job_id]
    assert store.search(retailer="m5") == []


def test_a_lease_that_is_renewed_never_ends_and_only_unfinished_jobs_have_one(store):
    held, ended = create(store, call(n=1), lease=-1), create(store, call(n=2), lease=-1)
    store.end(ended.job_id, Ended("failed"))
    assert [job.job_id for job in store.expired()] == [held.job_id]
    assert store.renew([held.job_id, ended.job_id, "nothing"], 60) == {held.job_id}
    assert store.expired() == []
    assert not store.end(held.job_id, LOST, if_expired=True), "its service has come back in time"
    store.renew([held.job_id], -1)
    assert store.end(held.job_id, LOST, if_expired=True)


def test_the_metrics_hear_of_unfinished_jobs_and_of_each_blocks_last_success_on_its_steps_latest_day(store):
    def succeed(step, day, block=None, **result):
        job = create(store, call(step).model_copy(update={"day": day, "block": block}))
        store.end(job.job_id, Ended("successful", result=result))
        return job.job_id

    succeed("probe", DAY, rows={"events": 1})
    tomorrow = DAY + dt.timedelta(1)
    succeed("probe", tomorrow, "a", rows={"events": 2})
    latest = {succeed("probe", tomorrow, "a"), succeed("probe", tomorrow, "b"), succeed("clean", DAY)}
    under_way = create(store, call("load"))
    told = store.for_metrics()
    assert {job.job_id for job, _ in told.successes} == latest
    assert [job.job_id for job in told.unfinished] == [under_way.job_id]


def test_a_database_that_does_not_answer_makes_the_service_unavailable_and_is_named_without_its_password():
    store = JobStore("postgresql://marketday:secret@127.0.0.1:9/jobs")
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:9/jobs does not answer") as refused:
        store.get("x")
    assert refused.value.retry_after
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["jobs.db", "mysql://127.0.0.1/jobs", "postgresql+nothing://127.0.0.1/jobs"])
def test_an_address_that_is_no_job_store_is_refused_with_one_that_is(url):
    with pytest.raises(SettingsError, match="MARKETDAY_JOBS_URL") as refused:
        JobStore(url)
    assert "postgresql://" in refused.value.hint
