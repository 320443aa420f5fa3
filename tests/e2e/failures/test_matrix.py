"""The failure matrix, on a real Airflow and a real step service, with SQLite and with PostgreSQL.

Each row ends with the step's effect exactly once, without orphaned process or job, and with words in the task's log
from which support knows what happened: `Row.has_its_effect_once`. The rows come in the order of what they destroy.
"""

from typing import NamedTuple

import pytest

from failures.machine import SCHEDULER, SERVICE, TRIGGERER
from failures.rows import Row, World

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

either_way = pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "synchronous"])
CANCELLED = 5.0
"""Seconds in which a job that nobody wants any more is gone, with everything that it has started."""
OUTAGE = 60.0
"""Seconds."""


# A job.


def test_a_job_that_outgrows_its_class_ends_in_the_next_larger_one(world: World):
    row = world.begin("outgrows")
    row.has_its_effect_once("ran out of memory in class S", "Its next attempt runs in class M", attempts=2)
    assert [job.size for job in row.jobs] == ["S", "M"]


def test_a_job_that_hangs_is_ended_at_its_time_limit_and_tried_again(world: World):
    row = world.begin("hangs_once")
    row.has_its_effect_once("was not done within the step's time limit of 8 s", attempts=2)


# A task.


def test_the_job_of_a_worker_that_was_killed_is_joined_by_the_retry(world: World):
    row = world.hold(deferrable=False)
    row.kill_worker()
    row.wait_for_try(2)
    row.let_go()
    row.has_its_effect_once("Process terminated by signal", "is running", "Reconnecting to existing job", attempts=1)


def test_the_job_of_a_worker_that_was_killed_before_it_deferred_is_joined_by_the_retry(world: World):
    row = world.begin("holds")
    row.wait_for_execution(1)
    row.kill_worker()
    row.wait_for_try(2)
    row.let_go()
    row.has_its_effect_once("Process terminated by signal", "is running", "Reconnecting to existing job", attempts=1)


@either_way
def test_a_task_cleared_while_its_job_runs_cancels_it_and_starts_over(world: World, deferrable: bool):
    row = world.hold(deferrable=deferrable)
    row.clear()
    row.wait_for_execution(2)
    row.let_go()
    row.has_its_effect_once("carried out anew", "Cancelled on request.", attempts=2)


def test_a_deferred_task_marked_failed_cancels_its_job_and_can_be_cleared(world: World):
    row = world.hold()
    row.mark_failed()
    row.is_cancelled_within(CANCELLED)
    row.ends("failed")
    row.let_go()
    row.clear()
    row.has_its_effect_once("Cancelled on request.", attempts=2)


def test_a_run_marked_failed_cancels_the_jobs_of_its_tasks_and_can_be_cleared(world: World):
    row = world.hold()
    row.mark_run_failed()
    row.is_cancelled_within(CANCELLED)
    row.ends("failed")
    row.let_go()
    row.clear()
    row.has_its_effect_once("Cancelled on request.", attempts=2)


# The step service.


def test_the_job_of_a_service_that_was_killed_is_lost_and_tried_again(world: World):
    row = world.hold()
    with world.machine.without(SERVICE):
        row.let_go()
    row.has_its_effect_once("the job was lost: the step service", "was gone while it ran", attempts=2)


class Outage(NamedTuple):
    """Three rows at which the service was gone: as they wanted to submit, to ask for the state, to fetch the result."""

    submitting: Row
    polling: Row
    fetching: Row


@pytest.fixture(scope="module")
def outage(world: World) -> Outage:
    """Have the service killed, and started again after a minute, in the middle of three rows."""
    polling, fetching = world.hold(), world.hold()
    with world.machine.frozen(SCHEDULER):
        fetching.let_go()
        # The triggerer has seen the end of the job, and the scheduler has not heard of it.
        fetching.wait_for_task("scheduled")
        world.machine.kill(SERVICE)
    with world.machine.without(SERVICE, OUTAGE):
        submitting = world.begin("holds")
        submitting.let_go()
        polling.let_go()
    for row in (submitting, polling, fetching):
        row.ends("success")
    return Outage(submitting, polling, fetching)


def test_a_task_that_wants_to_submit_while_the_service_is_gone_waits_for_it(outage: Outage):
    outage.submitting.has_its_effect_once("does not answer", "asking again in", attempts=1)
    assert outage.submitting.task.try_number == 1, f"an outage uses up no retry: {outage.submitting.story()}"


def test_a_task_that_polls_while_the_service_is_gone_hears_of_its_loss_afterwards(outage: Outage):
    outage.polling.has_its_effect_once("the job was lost: the step service", "was gone while it ran", attempts=2)


def test_a_task_that_fetches_its_result_while_the_service_is_gone_gets_it_afterwards(outage: Outage):
    outage.fetching.has_its_effect_once("does not answer", "asking again in", attempts=1)


# Airflow.


def test_a_triggerer_that_was_killed_is_replaced_and_misses_no_end(world: World):
    row = world.hold()
    with world.machine.without(TRIGGERER):
        row.let_go()
    row.has_its_effect_once(attempts=1)


def test_a_scheduler_that_is_restarted_goes_on_with_what_waits_in_the_triggerer(world: World):
    row = world.hold()
    world.machine.restart(SCHEDULER)
    row.let_go()
    row.has_its_effect_once(attempts=1)


def test_a_scheduler_that_is_restarted_with_its_workers_cancels_their_jobs_and_tries_again(world: World):
    row = world.hold(deferrable=False)
    world.machine.restart(SCHEDULER)
    row.let_go()
    row.has_its_effect_once("of work was cancelled: Cancelled on request.", attempts=2)


# Everything.


def test_after_a_power_cut_everything_that_was_under_way_comes_to_its_end(world: World):
    rows = [world.hold(deferrable=True), world.hold(deferrable=False)]
    world.machine.power_cut()
    world.machine.start()
    for row in rows:
        row.let_go()
        row.ends("success")
    for row in rows:
        row.has_its_effect_once("the job was lost: the step service", "was gone while it ran", attempts=2)
