"""Eight processes race for the same runs, whose caps are far below their items. No cap is passed, at any instant."""

import json
import random
import subprocess
import sys
from decimal import Decimal

import pytest
from django.db.models import F, Q

from billing.models import Account, Entry, Organization, Reservation, User
from oxygen_site.postgres import CLONE
from runs.models import Run
from tests.conftest import give
from tests.effort import SEED, effort
from tests.runs.conftest import assert_books_hold, start
from tests.tally import Tally

RACERS = 8
ROWS = 60
CASCADES = (
    ("openai.ai_column",),
    ("hunter.email_finder", "icypeas.email_finder"),
    ("icypeas.email_finder", "openai.ai_column"),
    ("hubspot.contact_upsert", "prospeo.email_finder"),
)


@pytest.mark.usefixtures("fresh_database", "catalog")
def test_the_cap_holds_whatever_the_number_of_workers(acme: Organization, alice: User, tally: Tally) -> None:
    dice = random.Random(SEED)
    give(acme, 100_000)
    runs = [start(acme, alice, *dice.choice(CASCADES), rows=ROWS, cap=dice.randint(4, 12)) for _ in range(effort(200))]
    ids = [str(run.id) for run in runs]
    command = [sys.executable, "-m", "tests.runs.racer"]
    racers = [
        subprocess.Popen([*command, f"{SEED}:{n}", *ids], cwd=CLONE, stdout=subprocess.PIPE, text=True)
        for n in range(RACERS)
    ]
    over = Q(captured__gt=F("cap")) | Q(reserved__gt=F("cap")) | Q(reserved__lt=F("captured") + F("held"))
    polls, passed = 0, set()
    while any(racer.poll() is None for racer in racers):
        passed |= set(Reservation.objects.filter(over).values_list("run", flat=True))
        polls += 1
    told = [json.loads(racer.communicate()[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * RACERS, f"SEED={SEED}"
    assert polls > 50
    passed |= set(Reservation.objects.filter(over).values_list("run", flat=True))
    tally("cap races", len(runs))
    tally("cap overshoots", len(passed))
    assert not passed, f"SEED={SEED}"

    for run in Run.objects.all():
        held = Reservation.objects.get(org=acme.id, run=run.id)
        assert (run.status, run.pause_reason) == ("paused", "cap_reached"), f"SEED={SEED}"
        assert held.held == 0
        assert held.cap - run.unit < held.captured <= held.cap
        assert not run.items.filter(status="running").exists()
        assert not run.attempts.filter(outcome=None).exists()

    entries = Entry.objects.filter(item__gt=0)
    assert entries.count() == sum(racer["settled"] for racer in told)
    captured = sum(held.captured for held in Reservation.objects.all())
    assert captured == sum(Decimal(racer["captured"]) for racer in told)
    assert sum(racer["settled"] > 0 for racer in told) > RACERS // 2, "hardly a race"  # the last may find nothing left
    assert Account.objects.get(org=acme.id).drawn == sum(run.cap or 0 for run in runs)
    assert_books_hold(acme)
