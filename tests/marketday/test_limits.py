"""What a job's process may use, on real processes; and what it says when that was not enough."""

import datetime as dt
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import lightgbm as lgb
import probe_service
import pytest
from probe_service import all_gone

from marketday.calls import Call
from marketday.errors import OutOfMemory, StepError, TooLarge
from marketday.service import limits
from marketday.settings import RESOURCE_CLASSES, ResourceClass, Settings

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
SMALL = ResourceClass(cores=1, memory_gib=0.25, seconds=60)

_WITHOUT_SHARES = {"status": "status", "smaps_rollup": "not_there"}

BOUND = """
import ctypes, json, mmap, os, resource, subprocess, sys
import dask, lightgbm, pyarrow
from marketday.service import limits
from marketday.settings import ResourceClass

before = os.nice(0)
limits.apply(ResourceClass(cores=1, memory_gib=0.25, seconds=60))
lightgbm_threads = ctypes.c_int()
lightgbm.basic._LIB.LGBM_GetMaxThreads(ctypes.byref(lightgbm_threads))
untouched = mmap.mmap(-1, 1 << 30)
try:
    refused = not bytearray(1 << 32)
except MemoryError:
    refused = True
started = [sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['POLARS_MAX_THREADS'])"]
print(json.dumps({
    "nice": os.nice(0) - before,
    "arrow": [pyarrow.cpu_count(), pyarrow.io_thread_count()],
    "dask": dask.config.get("num_workers"),
    "lightgbm": lightgbm_threads.value,
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "refused": refused,
    "started": subprocess.check_output(started, text=True).split(),
}))
"""

HOLDER = """
import os, sys

held = b"x" * (int(sys.argv[1]) << 20)
pids = [os.getpid()]
for _ in range(int(sys.argv[2])):
    if not (pid := os.fork()):
        sys.stdin.read()
        os._exit(0)
    pids.append(pid)
print(*pids, flush=True)
for line in sys.stdin:
    held = b"x" * (int(line) << 20)
    print("held", flush=True)
"""


@pytest.fixture
def holder():
    """Return a function that starts a process which holds so many MiB, and children that share them."""
    started = []

    def start(mib: int, children: int = 0):
        program = [sys.executable, "-c", HOLDER, str(mib), str(children)]
        process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, {int(pid) for pid in process.stdout.readline().split()}

    yield start
    for process in started:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def hold(process, mib):
    process.stdin.write(f"{mib}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "held\n"


def test_a_process_is_bound_with_all_that_it_starts():
    found = json.loads(subprocess.check_output([sys.executable, "-c", BOUND], text=True))
    assert found == {
        "nice": min(5, 19 - os.nice(0)),
        "arrow": [1, 1],
        "dask": 1,
        "lightgbm": 1,
        "core": [0, 0],
        "refused": True,
        "started": ["1", "1"],
    }


def test_memory_that_processes_share_counts_once(holder):
    _, pids = holder(200, children=3)
    watch = limits.Watch(ResourceClass(cores=1, memory_gib=1.0, seconds=60))
    watch.sample(pids)
    assert 200 * MIB < watch.peak < 300 * MIB
    assert not watch.exceeded


def test_the_peak_is_the_most_that_all_processes_had_together(holder):
    one, pids = holder(10)
    _, more = holder(40)
    watch = limits.Watch(SMALL)
    watch.sample(pids | more)
    assert 50 * MIB < watch.peak < 90 * MIB
    hold(one, 100)
    watch.sample(pids | more)
    most = watch.peak
    assert 140 * MIB < most < 180 * MIB
    hold(one, 1)
    watch.sample(pids | more)
    assert watch.peak == most


def test_a_process_that_grows_beyond_its_class_has_exceeded_it_for_good(holder):
    process, pids = holder(10)
    watch = limits.Watch(SMALL)
    watch.sample(pids)
    assert not watch.exceeded
    hold(process, 260)
    watch.sample(pids)
    assert watch.exceeded
    hold(process, 1)
    watch.sample(pids)
    assert watch.exceeded


def test_processes_that_are_gone_count_for_nothing(holder):
    process, pids = holder(10)
    process.stdin.close()
    process.wait(20)
    watch = limits.Watch(SMALL)
    watch.sample(pids)
    assert (watch.peak, watch.exceeded) == (0, False)


def test_where_the_kernel_tells_no_shares_the_whole_resident_memory_counts(holder, monkeypatch):
    _, pids = holder(50)
    told = limits._figures
    monkeypatch.setattr(limits, "_figures", lambda pid, file, *names: told(pid, _WITHOUT_SHARES[file], *names))
    watch = limits.Watch(SMALL)
    watch.sample(pids)
    assert watch.peak > 50 * MIB


def raised(error, *, by=None, during=None):
    """Return an error that was raised because of another one, or while it was handled."""
    error.__context__ = during
    if by is not None:
        error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("Unable to allocate 9 GiB"), "Unable to allocate 9 GiB"),
        (MemoryError(), "MemoryError"),
        (raised(StepError("it failed"), by=raised(ValueError("odd"), by=MemoryError("no room"))), "no room"),
        (raised(StepError("it failed"), during=MemoryError("no room")), "no room"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "[Errno 12] Cannot allocate memory"),
        (lgb.basic.LightGBMError("std::bad_alloc"), "std::bad_alloc"),
    ],
)
def test_memory_that_was_refused_is_found_behind_other_errors(error, words):
    found = limits.refused(error)
    assert type(found) is OutOfMemory
    assert found.message == words


def test_other_errors_are_left_as_they_are():
    unrelated = raised(StepError("it failed"), during=MemoryError("was got around"))
    unrelated.__suppress_context__ = True
    for error in (StepError("it failed"), OSError(errno.ENOENT, "not there"), unrelated):
        assert limits.refused(error) is None


def test_what_native_code_said_before_it_died_is_found_at_the_end_of_the_log(tmp_path):
    log = tmp_path / "log"
    assert limits.refused_in(log) == ""
    log.write_bytes(b"msg=started\n\xff\n")
    assert limits.refused_in(log) == ""
    log.write_bytes(b"memory allocation of 17 bytes failed\n" + b" 0: frame\n" * 100)
    assert limits.refused_in(log) == "memory allocation of 17 bytes failed"


def test_the_error_names_class_memory_and_what_comes_next():
    retried = limits.out_of_memory("train simulated", "M", RESOURCE_CLASSES, 5 << 30, larger="L", cause="no room")
    assert type(retried) is OutOfMemory
    assert retried.message == (
        "train simulated ran out of memory in class M: it had 5.0 GiB of 6 GiB and asked for more (no room)."
        " Its next attempt runs in class L, with 12 GiB"
    )
    last = limits.out_of_memory("train simulated", "L", RESOURCE_CLASSES, 13 << 30, larger=None)
    assert type(last) is TooLarge
    assert last.message.endswith("it had 13.0 GiB of 12 GiB. No larger class is tried")
    assert "block_size" in last.hint


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("limits"), retailers=ROOT / "include" / "retailers")
    with probe_service.running(settings, environment={"MARKETDAY_DASK_SCHEDULER": "workers"}) as service:
        yield service.client


def ended(client, step, **params):
    call = Call(step=step, retailer="simulated", day=dt.date(2026, 3, 2), params=params)
    return client.status(client.submit(call).job_id, wait=60)


@pytest.mark.parametrize(("where", "words"), [("python", "MemoryError"), ("wrapped", ""), ("native", "bytes failed")])
def test_a_job_that_asks_for_more_than_any_class_has_is_out_of_memory(client, where, words):
    job = ended(client, "greedy", where=where)
    assert (job.status, job.error["type"]) == ("failed", "OutOfMemory")
    for part in ("greedy simulated 2026-03-02 ran out of memory in class S", words, "next attempt runs in class M"):
        assert part in job.message


def test_a_jobs_own_dask_workers_are_processes_of_its_session_and_end_with_it(client):
    job = ended(client, "spread")
    assert job.status == "successful", client.log(job.job_id)
    facts = client.result(job.job_id).facts
    workers = {pid for pid, _ in facts["tasks"]}
    assert facts["own"] not in workers
    assert {session for _, session in facts["tasks"]} == {facts["own"]}
    assert all_gone([facts["own"], *workers])
