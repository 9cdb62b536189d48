"""Workers killed with -9 in the middle of a run: nothing is charged twice, nothing is lost, the run ends."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from billing.models import Entry, Organization, User
from oxygen_site.postgres import CLONE
from runs.models import Item, Run
from tests.conftest import give
from tests.effort import SEED
from tests.runs.conftest import Providers, assert_books_hold, booked, start

KILLS = 10
ROWS = 200
SOON = {
    "OXYGEN_LEASE_SECONDS": "1",
    "OXYGEN_RESCUE_SECONDS": "1",
    "OXYGEN_SLICE_SECONDS": "1",
    "OXYGEN_WORKER_CONCURRENCY": "4",
}


def worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "manage.py", "work"], cwd=CLONE, env=os.environ | SOON)


def until(happened: Callable[[], object], seconds: int = 60) -> None:
    give_up = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < give_up, f"SEED={SEED}"
        time.sleep(0.02)


@pytest.mark.usefixtures("fresh_database", "catalog")
def test_ten_kills_in_one_run_charge_every_item_once(acme: Organization, alice: User, providers: Providers) -> None:
    dice = random.Random(SEED)
    give(acme, ROWS)
    run = start(acme, alice, "hunter.email_finder", rows=ROWS, cap=ROWS)

    def calls() -> int:
        return int(providers.charges(run)["calls"])

    for _ in range(KILLS):
        # Held, calls are charged and not answered: however slow this machine, the run cannot end before its tenth kill.
        providers.script(latency=0.2, hold=True)
        victim = worker()
        before = calls()
        until(lambda before=before: calls() > before)  # type: ignore[misc]
        providers.script(hold=False)
        time.sleep(dice.uniform(0, 0.2))
        victim.kill()
        victim.wait()
        assert Run.objects.get(id=run.id).is_open
    providers.script(hold=False)
    last = worker()
    try:
        until(lambda: not Run.objects.get(id=run.id).is_open)
    finally:
        last.kill()
        last.wait()

    run.refresh_from_db()
    charged = providers.charges(run)
    assert run.status == "succeeded"
    assert run.items.filter(status=Item.Status.SUCCEEDED).count() == ROWS
    assert set(charged["by_key"]) == {f"{run.id}:{number}:0:0" for number in range(1, ROWS + 1)}
    assert all(facts["charges"] == 1 for facts in charged["by_key"].values())
    assert charged["calls"] > ROWS, "no call was in flight at any kill: nothing was tried"
    assert Entry.objects.filter(source=run.id, item__gt=0).count() == ROWS
    assert booked(run).captured == Decimal(charged["total"]) == ROWS
    assert_books_hold(acme)
