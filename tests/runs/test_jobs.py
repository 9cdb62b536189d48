"""Wake-ups: asked for with their cause, and given anew where they were lost."""

import os
from datetime import timedelta
from decimal import Decimal
from threading import Timer
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from procrastinate.contrib.django.models import ProcrastinateJob

from billing.models import Organization, User
from runs import dispatch, jobs, lifecycle
from runs.dispatch import Answer
from runs.models import Run
from runs.providers.outcomes import Outcome
from tests.chaos.driver import BEFORE, Fault, planted
from tests.runs.conftest import Providers, start

pytestmark = pytest.mark.usefixtures("catalog")

HUNTER = "hunter.email_finder"


def waiting(run: Run) -> list[int]:
    """The shards of a run that wait on the queue."""
    todo = ProcrastinateJob.objects.filter(status="todo", task_name="runs.jobs.drive_run").order_by("id")
    return [job.args["shard"] for job in todo if job.args["run"] == str(run.id)]


def lose_the_queue() -> None:
    connection.cursor().execute("DELETE FROM procrastinate_jobs")


def test_starting_a_run_wakes_as_many_slices_as_it_can_keep_busy(
    acme: Organization, alice: User, settings: Any
) -> None:
    settings.WORKER_CONCURRENCY, settings.RUN_SHARDS = 10, 3
    assert waiting(start(acme, alice, HUNTER, rows=20, cap=20)) == [0, 1]
    assert waiting(start(acme, alice, HUNTER, rows=60, cap=60)) == [0, 1, 2]


def test_a_run_on_the_queue_already_is_not_put_there_twice(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    lifecycle.pause(run, by=alice)
    lifecycle.resume(run, by=alice)
    assert waiting(run) == [0]


def test_losing_the_queue_loses_nothing(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    lose_the_queue()
    jobs.ensure_driven()
    assert waiting(run) == [0]


def test_a_paused_run_rests_unless_something_of_it_is_in_flight(acme: Organization, alice: User) -> None:
    resting = lifecycle.pause(start(acme, alice, HUNTER, rows=2, cap=2), by=alice)
    busy = start(acme, alice, HUNTER, rows=2, cap=2)
    dispatch.claim(busy, uuid4(), 1)
    lifecycle.pause(busy, by=alice)
    lose_the_queue()
    jobs.ensure_driven()
    assert (waiting(resting), waiting(busy)) == ([], [0])


def test_an_ended_run_is_not_woken(acme: Organization, alice: User) -> None:
    run = lifecycle.cancel(start(acme, alice, HUNTER, rows=2, cap=2), by=alice)
    lose_the_queue()
    jobs.ensure_driven()
    assert waiting(run) == []


@pytest.mark.usefixtures("fresh_database")
def test_a_wake_up_waits_out_a_worker_that_froze_while_it_asked_for_the_same(acme: Organization, alice: User) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    lose_the_queue()
    with psycopg.connect(os.environ["DATABASE_URL"]) as frozen:
        frozen.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock) VALUES ('runs', 'frozen', %s)",
            [f"{run.id}:0"],
        )
        connection.cursor().execute("SET lock_timeout = '50ms'")
        Timer(0.2, frozen.rollback).start()
        jobs.ensure_driven()
    assert waiting(run) == [0]


@pytest.mark.usefixtures("fresh_database")
def test_a_slice_with_more_to_do_gets_in_line_again(
    acme: Organization, alice: User, providers: Providers, settings: Any
) -> None:
    settings.WORKER_CONCURRENCY, settings.SLICE_SECONDS = 1, 1
    providers.script(latency=0.4)
    run = start(acme, alice, HUNTER, rows=20, cap=20)
    lose_the_queue()
    jobs.drive_run(str(run.id), 0, str(run.org_id))
    assert 0 < run.items.filter(status="succeeded").count() < 20
    assert waiting(run) == [0]


@pytest.mark.usefixtures("fresh_database")
def test_a_slice_that_waits_for_a_lease_is_put_off_until_then(
    acme: Organization, alice: User, providers: Providers
) -> None:
    run = start(acme, alice, HUNTER, rows=1, cap=1)
    dispatch.claim(run, uuid4(), 1)
    lose_the_queue()
    jobs.drive_run(str(run.id), 0, str(run.org_id))
    due = ProcrastinateJob.objects.get(status="todo").scheduled_at
    assert due is not None
    assert due - run.items.get().lease_until < timedelta(seconds=2)


@pytest.mark.usefixtures("fresh_database")
def test_resuming_a_run_that_waits_for_a_provider_has_it_driven_at_once(
    acme: Organization, alice: User, providers: Providers
) -> None:
    run, owner = start(acme, alice, HUNTER, rows=2, cap=2), uuid4()
    busy = Outcome("failed_before_billing", Decimal(0), "Refused.", wait=300)
    dispatch.settle(run, owner, [Answer(call, busy, 1) for call in dispatch.claim(run, owner, 1)])
    lifecycle.pause(run, by=alice)
    lose_the_queue()
    jobs.drive_run(str(run.id), 0, str(run.org_id))
    put_off = ProcrastinateJob.objects.get(status="todo").scheduled_at
    lifecycle.resume(run, by=alice)
    assert (put_off is None, ProcrastinateJob.objects.get(status="todo").scheduled_at) == (False, None)


def test_a_slice_that_loses_its_database_gets_in_line_again(
    fresh_database: str, acme: Organization, alice: User
) -> None:
    run = start(acme, alice, HUNTER, rows=2, cap=2)
    lose_the_queue()
    with psycopg.connect(fresh_database, autocommit=True) as other, planted(Fault(2, BEFORE), other) as seen:
        jobs.drive_run(str(run.id), 0, str(run.org_id))
    assert seen.struck is not None
    assert waiting(run) == [0]
