"""A job is a wake-up: deferred with its cause or not at all, once per key, and never stuck with a dead worker."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from procrastinate.builtin_tasks import remove_old_jobs
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from oxygen_site.jobs import defer, line
from oxygen_site.postgres import CLONE
from oxygen_site.transactions import Refused, intention

A_TASK = remove_old_jobs  # the queue's own: every worker knows it


def waiting() -> list[dict[str, object]]:
    return [job.args for job in ProcrastinateJob.objects.filter(status="todo").order_by("id")]


@pytest.mark.django_db
def test_a_deferred_job_waits_with_its_arguments() -> None:
    defer(A_TASK, max_hours=1)

    assert waiting() == [{"max_hours": 1}]


@pytest.mark.django_db
def test_the_same_key_twice_waits_once_and_leaves_the_transaction_whole() -> None:
    def verb() -> None:
        defer(A_TASK, key="acme", max_hours=1)
        defer(A_TASK, key="acme", max_hours=2)
        defer(A_TASK, key="globex", max_hours=3)

    intention(verb)

    assert waiting() == [{"max_hours": 1}, {"max_hours": 3}]


@pytest.mark.django_db
def test_a_job_can_be_put_off() -> None:
    defer(A_TASK, after=timedelta(hours=1), max_hours=1)

    due = ProcrastinateJob.objects.get().scheduled_at
    assert due is not None
    assert timedelta(minutes=59) < due - datetime.now(UTC) <= timedelta(hours=1)


@pytest.mark.django_db
def test_a_job_that_was_put_off_makes_way_for_one_that_is_wanted_sooner() -> None:
    defer(A_TASK, key="acme", after=timedelta(hours=1), max_hours=1)
    defer(A_TASK, key="acme", max_hours=2)
    assert waiting() == [{"max_hours": 1}]
    for _ in range(2):
        defer(A_TASK, key="acme", sooner=True, max_hours=3)

    assert list(ProcrastinateJob.objects.values_list("args", "scheduled_at")) == [({"max_hours": 3}, None)]


def test_a_job_of_a_transaction_that_fails_never_was(fresh_database: str) -> None:
    def verb() -> None:
        defer(A_TASK, key="acme", max_hours=1)
        raise Refused("cap_reached", "The cap is reached.")

    with pytest.raises(Refused):
        intention(verb)
    assert waiting() == []


@contextmanager
def a_worker() -> Iterator[subprocess.Popen[bytes]]:
    """A worker that takes others for dead after a second."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "work"], cwd=CLONE, env=os.environ | {"OXYGEN_RESCUE_SECONDS": "1"}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def die_at_work() -> None:
    """Take a job as a worker does, and give no more sign of life."""
    queue = app.job_manager

    async def take() -> None:
        assert await queue.fetch_job(queues=None, worker_id=await queue.register_worker())
        await sync_to_async(connections.close_all)()  # its thread outlives this test's database

    asyncio.run(take())


def until_all_done(seconds: float = 30) -> None:
    """Wait for the jobs deferred here; periodic ones come and go."""
    deadline = time.monotonic() + seconds
    while left := list(ProcrastinateJob.objects.filter(task_name=A_TASK.name).values("status", "args")):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_a_job_behind_one_of_its_own_key_is_not_in_line(fresh_database: str) -> None:
    defer(A_TASK, key="acme", max_hours=1)
    die_at_work()
    for n, key in enumerate(("acme", "globex", None), start=2):
        defer(A_TASK, key=key, max_hours=n)
    defer(A_TASK, key="initech", after=timedelta(hours=1), max_hours=5)

    assert line(A_TASK) == [({"max_hours": 1}, True), ({"max_hours": 3}, False), ({"max_hours": 4}, False)]


def test_a_dead_workers_job_is_done_by_another(fresh_database: str) -> None:
    defer(A_TASK, key="acme", max_hours=1)
    die_at_work()

    with a_worker():
        until_all_done()


def test_a_dead_workers_job_does_not_stand_in_the_way_of_its_successor(fresh_database: str) -> None:
    defer(A_TASK, key="acme", max_hours=1)
    die_at_work()
    defer(A_TASK, key="acme", max_hours=2)

    with a_worker():
        until_all_done()


def test_a_worker_told_to_stop_ends_well(fresh_database: str) -> None:
    defer(A_TASK, max_hours=1)
    with a_worker() as process:
        until_all_done()
        process.terminate()

        assert process.wait(10) == 0
