"""Eight clients of an execution plane settle under one cap over HTTP; batches come twice, and clients are killed."""

import json
import random
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F, Q

from billing import keys
from billing.models import Account, Entry, Organization, Reservation, User
from oxygen_site.postgres import CLONE
from runs import lifecycle, planes
from tests.conftest import give
from tests.effort import SEED, effort
from tests.runs.conftest import assert_books_hold, booked
from tests.runs.plane import CHEAP, DEAR, outcomes
from tests.tally import Tally

CLIENTS = 8
MAXIMUM = {CHEAP: Decimal(1), DEAR: Decimal("3.5")}


@pytest.mark.usefixtures("catalog")
def test_an_outside_plane_is_exact_whatever_is_sent_twice_or_killed(
    site: str, acme: Organization, alice: User, settings: Any, tmp_path: Path, tally: Tally
) -> None:
    settings.API_CALLS_PER_MINUTE = 1_000_000
    wanted, kills = effort(100_000), effort(20)
    give(acme, wanted * 2)
    _, secret = keys.make(acme, alice, "Plane", ["read", "run"])
    cap = Decimal(wanted)  # on the average an item has 1.5 outcomes, which capture 1.45 credits
    run = lifecycle.create_outside(acme, [CHEAP, DEAR], items=wanted, cap=cap, by=alice)

    def client(n: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.runs.plane", str(tmp_path / f"{n}"), site, secret, str(run.id)]
        return subprocess.Popen([*command, str(SEED)], cwd=CLONE, stdout=subprocess.PIPE, text=True)

    clients = [client(n) for n in range(CLIENTS)]
    over = Q(captured__gt=F("cap")) | Q(reserved__gt=F("cap")) | Q(reserved__lt=F("captured") + F("held"))
    dice, passed, killed = random.Random(SEED), 0, 0
    while any(each.poll() is None for each in clients):
        passed += Reservation.objects.filter(over).count()
        time.sleep(0.05)
        share = booked(run).captured / cap
        if killed < kills and share * (kills + 1) > killed + 1:
            n = dice.randrange(CLIENTS)
            clients[n].send_signal(signal.SIGKILL)
            clients[n].communicate()
            clients[n] = client(n)
            killed += 1
    told = [json.loads(each.communicate()[0]) for each in clients]
    assert [each.returncode for each in clients] == [0] * CLIENTS, f"SEED={SEED}"
    tally("kill -9", killed)
    tally("cap overshoots", passed)
    assert (passed, killed) == (0, kills), f"SEED={SEED}"

    entries = Entry.objects.filter(source=run.id, item__gt=0).values_list("item", "attempt", "amount", "cost")
    items = range(1, run.items.count() + 1)
    meant = {
        (item, 16 * step): (min(each["cost"], MAXIMUM[each["tool"]]), each["cost"])
        for item in items
        for step, each in enumerate(outcomes(str(SEED), item))
    }
    assert {(item, attempt): (amount, cost) for item, attempt, amount, cost in entries} == meant, f"SEED={SEED}"
    captured = sum(amount for amount, _ in meant.values())
    held = booked(run)
    assert (held.captured, held.held, held.conflicts) == (captured, 0, 0), f"SEED={SEED}"
    assert cap - run.unit < captured <= cap
    assert len(meant) > wanted * 4 // 5
    assert sum(Decimal(each["captured"]) for each in told) <= captured
    assert sum(each["told"].get("replayed", 0) for each in told) > 0
    tally("outcomes settled outside", len(meant))

    assert planes.close(run, by=alice).status == "completed_with_errors"
    assert Account.objects.get(org=acme.pk).spent == captured
    assert_books_hold(acme)
