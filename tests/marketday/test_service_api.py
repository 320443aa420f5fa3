"""The step API over real HTTP: what each address answers, and that every error is a problem detail."""

import datetime as dt
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import polars as pl
import probe_service
import pytest
from probe_service import alive, all_gone, start_hanging

from marketday import tables
from marketday.calls import Call
from marketday.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DAY = dt.date(2026, 3, 2)
MY_KEY = {"Idempotency-Key": "mine"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("api"), retailers=ROOT / "include" / "retailers")
    with probe_service.running(settings, slots=2) as service:
        yield service


@pytest.fixture
def http(service):
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
        yield client


def call(step="probe", **params):
    return Call(step=step, retailer="simulated", day=DAY, params=params)


def body(step="probe", **fields):
    return {"step": step, "retailer": "simulated", "day": "2026-03-02"} | fields


def submit(http, call, **options):
    return http.post(f"/processes/{call.step}/execution", json=call.model_dump(mode="json"), **options)


def ended(http, job):
    return http.get(f"/jobs/{job['jobID']}", params={"wait": 30}).json()


def test_processes_are_the_steps_with_what_they_read_and_write(http):
    listed = {process["id"]: process for process in http.get("/processes").json()["processes"]}
    assert {"probe", "volatile", "fail", "hang"} <= set(listed)
    probe = http.get("/processes/probe").json()
    assert probe == listed["probe"]
    assert probe["description"].startswith("Write one row")
    assert (probe["version"], probe["size"], probe["reads"], probe["writes"]) == ("1", "S", ["events"], ["events"])
    assert probe["jobControlOptions"] == ["async-execute", "dismiss"]


def test_a_new_call_is_created_and_can_be_followed_to_its_result(http):
    wanted = call(n=1)
    answer = submit(http, wanted, headers={"Idempotency-Key": wanted.key, "X-Run-ID": "manual__1"})
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["Location"] == f"/jobs/{job['jobID']}"
    assert (job["processID"], job["type"], job["key"], job["attempt"]) == ("probe", "process", wanted.key, 1)
    final = ended(http, job)
    assert (final["status"], final["error"], final["run_id"]) == ("successful", None, "manual__1")
    assert final["created"] <= final["started"] <= final["finished"] <= final["updated"]
    links = {link["rel"].rsplit("/", 1)[-1]: link["href"] for link in final["links"]}
    result = http.get(links["results"]).json()
    assert result["rows"] == {"events": 1}
    assert result["facts"] == {"day": "2026-03-02", "share": 0.25, "blocks": ["a", "b"]}
    log = http.get(links["related"]).text
    assert "the step says hello" in log
    line = f"run_id=manual__1 retailer=simulated day=2026-03-02 step=probe job_id={job['jobID']}"
    assert f"level=info msg=started {line}" in log
    assert (final["size"], final["service"]) == ("S", job["service"])
    assert 0 < final["peak_memory"] < 2 << 30


def test_the_same_call_again_returns_the_recorded_job_without_another_execution(http, tmp_path):
    tally = tmp_path / "tally"
    wanted = call(tally=str(tally))
    first = ended(http, submit(http, wanted).json())
    again = submit(http, wanted)
    assert (again.status_code, again.json()["jobID"]) == (200, first["jobID"])
    assert tally.read_text() == "x"


def test_a_recorded_result_stands_only_while_what_the_call_left_open_is_unchanged(http, tmp_path):
    tally = tmp_path / "tally"
    wanted = call(tally=str(tally))
    first = ended(http, submit(http, wanted).json())
    ended(http, submit(http, wanted.model_copy(update={"day": wanted.day + dt.timedelta(days=1), "params": {}})).json())
    again = submit(http, wanted)
    assert (again.status_code, again.json()["attempt"]) == (201, 2)
    ended(http, again.json())
    pinned = wanted.model_copy(update={"inputs": http.get(f"/jobs/{first['jobID']}/results").json()["snapshots"]})
    assert ended(http, submit(http, pinned).json())["jobID"] == submit(http, pinned).json()["jobID"]
    assert tally.read_text() == "xxx"


def test_what_a_step_reads_at_its_newest_version_keeps_no_recorded_result_though_it_is_pinned(http):
    def read(call):
        answer = submit(http, call)
        return answer.status_code, http.get(f"/jobs/{ended(http, answer.json())['jobID']}/results").json()

    old = read(call(n=3))[1]["snapshots"]
    pinned = call("newest").model_copy(update={"inputs": old})
    assert read(pinned) == (201, {"snapshots": old, "hashes": {}, "rows": {}, "facts": old, "links": {}})
    assert read(pinned)[0] == 200
    new = read(call(n=4).model_copy(update={"day": DAY + dt.timedelta(days=7)}))[1]["snapshots"]
    assert new["events"] > old["events"]
    code, result = read(pinned)
    assert (code, result["facts"], result["snapshots"]) == (201, new, new)


def test_a_forced_call_is_executed_again_as_the_next_attempt(http, tmp_path):
    tally = tmp_path / "tally"
    wanted = call(tally=str(tally))
    first = ended(http, submit(http, wanted).json())
    forced = submit(http, wanted, params={"force": "true"})
    assert (forced.status_code, forced.json()["attempt"]) == (201, 2)
    assert ended(http, forced.json())["jobID"] != first["jobID"]
    assert tally.read_text() == "xx"


@pytest.mark.parametrize("step", ["volatile", "fail"])
def test_a_step_that_is_not_repeatable_or_has_failed_is_executed_again(http, step):
    first = ended(http, submit(http, call(step, n=2)).json())
    second = submit(http, call(step, n=2))
    assert (second.status_code, second.json()["attempt"]) == (201, 2)
    assert ended(http, second.json())["jobID"] != first["jobID"]


def test_a_running_job_is_joined_by_its_key_and_a_full_service_refuses_the_rest(service, http, tmp_path):
    one, _ = start_hanging(service.client, tmp_path / "one")
    two, _ = start_hanging(service.client, tmp_path / "two")
    joined = submit(http, call("hang", pids=str(tmp_path / "one")), params={"force": "true"})
    assert (joined.status_code, joined.json()["jobID"]) == (200, one.job_id)
    refused = submit(http, call(n=3))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert refused.json()["error"]["type"] == "ServiceUnavailable"
    assert 'marketday_job_refusals_total{step="probe"} 1.0' in http.get("/metrics").text
    running = http.get("/jobs", params={"state": "running", "retailer": "simulated"}).json()["jobs"]
    assert [job["jobID"] for job in running] == [two.job_id, one.job_id]
    for job in (one, two):
        assert http.delete(f"/jobs/{job.job_id}").json()["status"] == "dismissed"
    accepted = submit(http, call(n=3))
    assert accepted.status_code == 201
    ended(http, accepted.json())


def test_another_hosts_name_does_not_lead_here(http):
    assert http.get("/healthz", headers={"Host": "elsewhere.example"}).status_code == 400


def test_cancelling_ends_the_whole_process_tree(service, tmp_path):
    job, pids = start_hanging(service.client, tmp_path / "pids")
    assert all(map(alive, pids))
    assert service.client.cancel(job.job_id).status == "dismissed"
    assert all_gone(pids)
    assert service.client.cancel(job.job_id).status == "dismissed", "a second time changes nothing"


def test_equal_calls_at_the_same_time_make_one_job(http, tmp_path):
    wanted = call("hang", pids=str(tmp_path / "pids"))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: submit(http, wanted), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    (job_id,) = {answer.json()["jobID"] for answer in answers}
    assert http.delete(f"/jobs/{job_id}").json()["status"] == "dismissed"


def test_a_status_call_waits_until_the_job_ends_and_no_longer_than_asked(http, tmp_path):
    job = submit(http, call("await", file=str(tmp_path / "go"))).json()
    start = time.monotonic()
    assert http.get(f"/jobs/{job['jobID']}", params={"wait": 0.3}).json()["status"] == "running"
    assert time.monotonic() - start >= 0.3
    assert http.get(f"/jobs/{job['jobID']}/results").status_code == 409
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ended, http, job)
        (tmp_path / "go").touch()
        assert waiting.result()["status"] == "successful"


def test_a_failed_jobs_result_is_the_steps_own_error(http):
    job = ended(http, submit(http, call("fail", n=5)).json())
    assert (job["status"], job["message"]) == ("failed", "cannot do it")
    problem = http.get(f"/jobs/{job['jobID']}/results")
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert problem.json()["error"] == job["error"]
    assert job["error"]["hint"] == "give it more"
    assert "Traceback" in http.get(f"/jobs/{job['jobID']}/logs").text


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (("GET", "/processes/nothing", {}), 404, "There is no step 'nothing'"),
        (("POST", "/processes/nothing/execution", {"json": body("nothing")}), 404, "no step"),
        (("POST", "/processes/probe/execution", {"json": body("fail")}), 422, "'fail'"),
        (("POST", "/processes/probe/execution", {"json": body(retailer="nobody")}), 404, "nobody"),
        (("POST", "/processes/probe/execution", {"json": body(version=9)}), 422, "version 1, not 9"),
        (("POST", "/processes/probe/execution", {"json": {"step": "probe", "day": "yesterday"}}), 422, "body.retailer"),
        (("POST", "/processes/probe/execution", {"json": body(), "headers": MY_KEY}), 422, "Idempotency-Key mine"),
        (("GET", "/jobs/nothing", {}), 404, "no job 'nothing'"),
        (("DELETE", "/jobs/nothing", {}), 404, "no job 'nothing'"),
        (("GET", "/jobs/nothing/logs", {}), 404, "no job 'nothing'"),
        (("GET", "/jobs/nothing", {"params": {"wait": 61}}), 422, "query.wait"),
        (("GET", "/nowhere", {}), 404, "Not Found"),
        (("PUT", "/retailers/nobody/deliveries/2026-03-02/sales", {"content": b""}), 404, "nobody"),
        (("PUT", "/retailers/simulated/deliveries/2026-03-02/secrets", {"content": b""}), 404, "secrets"),
        (("PUT", "/retailers/simulated/deliveries/2026-03-02/sales", {"content": b"PAR1"}), 422, "Parquet"),
        (("POST", "/retailers/simulated/deliveries/2026-03-03/complete", {"params": {"kind": "daily"}}), 422, "sales"),
        (("GET", "/retailers/simulated/deliveries/2026-03-03", {}), 404, "no accepted delivery"),
    ],
)  # fmt: skip
def test_every_error_is_a_problem_detail_that_says_what_was_wrong(http, request_, status, says):
    method, path, options = request_
    answer = http.request(method, path, **options)
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status), problem
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert says in problem["detail"]
    assert problem["instance"] == path


def test_health_and_metrics_speak_of_the_jobs(http):
    assert http.get("/healthz").json()["status"] == "ok"
    assert http.get("/readyz").json() == {"status": "ready"}
    ended(http, submit(http, call(n=6)).json())
    metrics = http.get("/metrics").text
    for sample in (
        'marketday_jobs_total{state="successful",step="probe"}',
        'marketday_job_duration_seconds_count{step="probe"}',
        "marketday_jobs_running 0.0",
        "marketday_job_slots 2.0",
    ):
        assert sample in metrics


def test_a_delivered_table_is_streamed_in_and_handed_over_with_a_receipt(http, tmp_path):
    sales = tmp_path / "sales.parquet"
    empty = pl.from_arrow(tables.get("sales").delivered_schema.empty_table())
    empty.write_parquet(sales)
    address = "/retailers/simulated/deliveries/2026-03-04"
    with sales.open("rb") as file:
        measured = http.put(f"{address}/sales", content=file).json()
    assert (measured["rows"], measured["sent_sha256"]) == (0, hashlib.sha256(sales.read_bytes()).hexdigest())
    receipt = http.post(f"{address}/complete", params={"kind": "daily"}).json()
    assert receipt["tables"] == {"sales": measured}
    assert receipt["checks"]["sales"] == {"received": 0, "accepted": 0, "collapsed": 0, "quarantined": {}}
    assert http.get(address).json() == receipt
