"""Who waits for whom: runs take turns, and so do organizations, however many runs one of them has in line."""

import os
import subprocess
import sys

import pytest

from billing.models import Organization, User
from oxygen_site.postgres import CLONE
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
