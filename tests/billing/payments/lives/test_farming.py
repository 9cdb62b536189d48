"""Nobody comes to more credits than were paid for, nobody loses what was bought: whatever customers do, in any order.

Judged after each step by the oracle of farm.py: what a payment entitles to, less what has gone back of it.
"""

from datetime import datetime, timedelta
from fractions import Fraction
from io import StringIO
from itertools import groupby
from operator import attrgetter
from random import Random

import pytest
from django.core.management import call_command
from django.db.models import F

from billing import books, jobs, orgs
from billing.models import Customer, Grant, Price
from oxygen_site import clock
from tests.billing.payments.lives.farm import VERBS, Buyer
from tests.effort import SEED, SOAK
from tests.tally import Tally

pytestmark = pytest.mark.django_db(transaction=False)

BATCHES, BUYERS = (40 if SOAK else 4), 50  # of one batch the time moves on together
STEPS = 9
PACES = ((2, 12), (2, 12), (20, 45))  # days of a step
HALF_A_PLACE, A_PLACE, A_CENT = Fraction(1, 20_000), Fraction(1, 10_000), 1


@pytest.fixture
def on_sale(settings: object) -> None:
    settings.STRIPE_SECRET_KEY = ""  # type: ignore[attr-defined]
    call_command("sync_plans", stdout=StringIO())
    Price.objects.update(stripe_id=F("lookup_key"))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_nobody_farms_credits_and_nobody_loses_what_was_bought(on_sale: None, batch: int, tally: Tally) -> None:
    dice = Random(f"{SEED}:{batch}")
    clock.advance(timedelta(days=dice.randrange(365), seconds=dice.randrange(86_400)))  # any day to begin on
    buyers = [buyer(n, Random(f"{SEED}:{batch}:{n}")) for n in range(BUYERS)]
    pace = dice.choice(PACES)
    for _ in range(STEPS):
        clock.advance(timedelta(days=dice.randint(*pace), seconds=dice.randrange(86_400)))
        now = clock.clock()
        for each in buyers:
            try:
                each.renew(now)
                if each.dice.random() < 0.7:
                    verb = each.dice.choice(VERBS)
                    each.story.append(f"{now:%m-%d} {verb.__name__}")
                    verb(each, now)
            except Exception as bug:
                bug.add_note(told(batch, each))
                raise
        jobs.expire_due()
        jobs.give_due()
        judge(buyers, batch)
    assert books.drifts() == []
    tally("lives of customers", BUYERS)


def buyer(n: int, dice: Random) -> Buyer:
    org = orgs.create(f"Buyer {n}", "UTC")
    row = Customer.objects.create(org=org, stripe_id=f"cus_{n}")
    prices = Price.objects.select_related("plan", "pack").order_by("amount")
    plans = [each for each in prices if each.plan]
    if dice.random() < 0.7:  # most like either months or years
        rhythm = dice.choice(["month", "year"])
        plans = [each for each in plans if each.interval == rhythm]
    return Buyer(org, row, dice, plans, [each for each in prices if each.pack])


def told(batch: int, each: Buyer) -> str:
    return f"SEED={SEED} batch {batch}, {each.row.stripe_id}: {', '.join(each.story)}"


def judge(buyers: list[Buyer], batch: int) -> None:
    now = clock.clock()
    rows = Grant.objects.exclude(key__startswith="free:").order_by("org")
    grants = {org: {each.key: each for each in its} for org, its in groupby(rows, attrgetter("org"))}
    for each in buyers:
        try:
            judge_one(each, grants.get(each.org.pk, {}), now)
        except AssertionError as wrong:
            wrong.add_note(told(batch, each))
            raise


def judge_one(each: Buyer, grants: dict[str, Grant], now: datetime) -> None:
    assert grants.keys() <= {key for paid in each.paid for key in paid.due}
    worth = Fraction(0)
    for paid in each.paid:
        owed = paid.owed()
        for key, due in paid.due.items():
            grant = grants.get(key)
            if grant is None:  # to come, or all of it went back
                assert due.begins > now or owed[key] == due.credits, key
                continue
            assert due.begins <= now, key
            assert abs(Fraction(grant.amount) - due.credits) <= HALF_A_PLACE, key
            assert -HALF_A_PLACE <= owed[key] - Fraction(grant.owed) <= A_PLACE + HALF_A_PLACE, key
            nothing_vanishes(grant, now)
            assert grant.expires_at >= due.ends + (timedelta(0) if key.startswith("top_up") else timedelta(hours=72))
            worth += (Fraction(grant.amount) - Fraction(grant.owed)) * paid.worth
    money = sum(paid.bill.total - paid.back for paid in each.paid)
    assert worth <= money + (A_CENT + A_PLACE) * len(each.paid)


def nothing_vanishes(grant: Grant, now: datetime) -> None:
    """Every credit of it is left, captured, has expired when it had to, or went back because its money did."""
    back = grant.clawed_back - grant.restored
    assert grant.amount == grant.remaining + grant.burned + grant.expired + back
    assert not grant.expired or grant.expires_at <= now
    assert 0 <= back <= grant.owed
