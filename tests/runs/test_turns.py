"""Who waits for whom: runs take turns, and so do organizations, however many runs one of them has in line."""

import asyncio
import os
import subprocess
import sys

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from procrastinate.contrib.django import app

from billing.models import Organization, User
from oxygen_site.postgres import CLONE
from runs import jobs
from runs.models import Run
from tests.chaos.processes import until
from tests.conftest import give
from tests.runs.conftest import Providers, assert_books_hold, start

HUNTER = "hunter.email_finder"
NARROW = {"OXYGEN_WORKER_JOBS": "2", "OXYGEN_SLICE_SECONDS": "1", "OXYGEN_WORKER_CONCURRENCY": "1"}


@pytest.mark.usefixtures("fresh_database", "catalog")
def test_an_org_with_one_run_does_not_wait_for_another_orgs_many(
    acme: Organization, globex: Organization, alice: User, mallory: User, providers: Providers
) -> None:
    give(acme, 100)
    providers.script(latency=0.2)
    many = [start(acme, alice, HUNTER, rows=12, cap=12) for _ in range(8)]
    one = start(globex, mallory, HUNTER, rows=3, cap=3)
    worker = subprocess.Popen([sys.executable, "manage.py", "work"], cwd=CLONE, env=os.environ | NARROW)
    try:
        until(lambda: not Run.objects.get(id=one.id).is_open)
    finally:
        worker.terminate()
        worker.wait()
    assert Run.objects.get(id=one.id).status == "succeeded"
    begun = [run for run in Run.objects.filter(id__in=[run.id for run in many]) if run.started_at]
    assert 0 < len(begun) < len(many), "in line they were before it, every one"
    assert_books_hold(acme, globex)


async def take_all_jobs() -> None:
    """Put every run in line to work, as a worker with room for all of them does."""
    worker = await app.job_manager.register_worker()
    while await app.job_manager.fetch_job(queues=["runs"], worker_id=worker):
        pass
    await sync_to_async(connections.close_all)()  # its thread outlives this test's database


@pytest.mark.usefixtures("fresh_database", "catalog")
def test_an_org_does_not_give_way_to_a_run_that_is_at_work_already(
    acme: Organization, globex: Organization, alice: User, mallory: User, providers: Providers
) -> None:
    many = [start(acme, alice, HUNTER, rows=1, cap=1) for _ in range(3)]
    start(globex, mallory, HUNTER, rows=1, cap=1)
    asyncio.run(take_all_jobs())
    jobs.ensure_driven()  # each run has a job that waits for its own other one
    jobs.drive_run(str(many[0].id), 0, str(acme.id))
    assert Run.objects.get(id=many[0].id).status == "succeeded"
    assert_books_hold(acme, globex)
