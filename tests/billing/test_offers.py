"""What the plan page offers: a button never says what cannot be done."""

from decimal import Decimal

import pytest

from billing.models import Plan, PlanChange, Price, Subscription
from billing.offers import Card, Choice, Kind, Shown, offer, per_thousand


def plan(key: str, rank: int, credits: int, month: int, version: int = 1) -> Card:
    sold = Plan(id=f"{key}-{version}", key=key, version=version, name=key.title(), rank=rank, credits=Decimal(credits))
    prices = [
        Price(f"{key}_{version}_{interval}", plan=sold, interval=interval, amount=amount, currency="usd")
        for interval, amount in (("month", month), ("year", month * 10))
    ]
    return Card(sold, prices, is_current=False, is_next=False)


STARTER, GROWTH, SCALE = (
    plan("starter", 1, 8000, 7900),
    plan("growth", 2, 30000, 24900),
    plan("scale", 3, 100000, 69900),
)
CARDS = [STARTER, GROWTH, SCALE]


def on(card: Card, interval: str = "month") -> Subscription:
    return Subscription(price=card.price(interval))


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        (Choice("scale"), Kind.UPGRADE),
        (Choice("starter"), Kind.RENEWAL),
        (Choice("growth"), Kind.CURRENT),
        (Choice("growth", "year"), Kind.RENEWAL),
        (Choice("scale", "year"), Kind.RENEWAL),
        (Choice(), Kind.NOTHING),
    ],
)
def test_only_an_upgrade_at_the_same_interval_can_start_now(choice: Choice, kind: Kind) -> None:
    seen = offer(CARDS, choice, on(GROWTH), None)
    assert seen
    assert seen.kind == kind
    assert bool(seen.why_not_now) == (kind == Kind.RENEWAL)


def test_who_has_no_subscription_subscribes() -> None:
    seen = offer(CARDS, Choice("starter", "year"), None, None)
    assert seen
    assert (seen.kind, seen.price) == (Kind.FIRST, STARTER.price("year"))


def test_what_is_scheduled_is_not_sold_again() -> None:
    change = PlanChange(old=GROWTH.price("month"), new=STARTER.price("month"), state="scheduled")
    seen = offer(CARDS, Choice("starter"), on(GROWTH), change)
    assert seen
    assert seen.kind == Kind.NEXT


def test_an_upgrade_that_is_scheduled_may_still_be_had_now() -> None:
    change = PlanChange(old=GROWTH.price("month"), new=SCALE.price("month"), state="scheduled")
    seen = offer(CARDS, Choice("scale"), on(GROWTH), change)
    assert seen
    assert (seen.kind, seen.planned) == (Kind.UPGRADE, True)


def test_an_older_version_of_a_plan_is_another_plan() -> None:
    seen = offer(CARDS, Choice("growth"), on(plan("growth", 2, 25000, 19900, version=0)), None)
    assert seen
    assert seen.kind == Kind.RENEWAL


@pytest.mark.parametrize("choice", [Choice("pro"), Choice("growth", "once")])
def test_what_is_not_sold_is_no_offer(choice: Choice) -> None:
    assert offer(CARDS, choice, on(STARTER), None) is None


@pytest.mark.parametrize(
    ("card", "interval", "cents"), [(STARTER, "month", 988), (GROWTH, "month", 830), (GROWTH, "year", 692)]
)
def test_a_thousand_credits_cost_their_share_rounded_half_up(card: Card, interval: str, cents: int) -> None:
    price = card.price(interval)
    assert price
    assert per_thousand(price) == cents


def test_what_a_balance_takes_off_stands_between_the_lines_and_what_is_due() -> None:
    change = PlanChange(due=13000, tax=0, lines=[["Unused", -7470], ["Rest", 20970]])
    assert Shown(None, change, "now").balance == -500
    assert Shown(PlanChange(due=0, lines=[["Growth, each month", 24900]]), None, "renewal").balance == 0
