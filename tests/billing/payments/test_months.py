"""Paid periods cut into credit months: when each begins, expires, what an upgrade adds, what a refund owes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.models import PaidPeriod, Plan, Price
from billing.payments import months


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def price(interval: str = "month", rollover: int = 0) -> Price:
    plan = Plan(id="growth-1", key="growth", version=1, credits=Decimal(1000), rollover_months=rollover)
    return Price(lookup_key=f"growth_{interval}", plan=plan, interval=interval)


def period(start: str, end: str, interval: str = "month", **facts: Any) -> PaidPeriod:
    common: dict[str, Any] = {
        "key": "refill:si_1:x",
        "source": "plan_refill",
        "item": "si_1",
        "anchor": at(start),
        "first": Decimal(1000),
        "credits": Decimal(1000),
        "paid_at": at(start),
        "price": price(interval, facts.pop("rollover", 0)),
    }
    return PaidPeriod(**(common | {"start": at(start), "end": at(end)} | facts))


def test_a_month_that_is_paid_is_one_credit_month_whatever_days_it_has() -> None:
    (month,) = months.months(period("2027-01-31T10:00", "2027-02-28T10:00"))
    assert (month.start, month.expires_at) == (at("2027-01-31T10:00"), at("2027-02-28T10:00") + timedelta(hours=72))
    assert month.key == "refill:si_1:2027-01-31T10:00:00Z"


def test_a_year_is_twelve_months_counted_from_its_own_start() -> None:
    its = months.months(period("2027-01-31T10:00", "2028-01-31T10:00", "year"))
    assert [f"{month.start:%m-%d}" for month in its] == [
        *("01-31", "02-28", "03-31", "04-30", "05-31", "06-30"),
        *("07-31", "08-31", "09-30", "10-31", "11-30", "12-31"),
    ]
    assert {month.credits for month in its} == {Decimal(1000)}
    assert len({month.key for month in its}) == 12


def test_rollover_months_let_credits_live_longer() -> None:
    (month,) = months.months(period("2027-03-01T00:00", "2027-04-01T00:00", rollover=2))
    assert month.expires_at == at("2027-06-01T00:00") + timedelta(hours=72)


def test_a_refill_that_is_paid_late_lives_thirty_days_from_its_payment() -> None:
    (month,) = months.months(period("2027-03-01T00:00", "2027-04-01T00:00", paid_at=at("2027-03-20T00:00")))
    assert month.expires_at == at("2027-04-19T00:00")


def test_an_upgrade_of_a_month_expires_with_its_month() -> None:
    upgrade: dict[str, Any] = {
        "source": "plan_upgrade",
        "anchor": at("2027-03-01T00:00"),
        "first": Decimal(5),
        "key": "upgrade:in_1",
    }
    (month,) = months.months(period("2027-03-20T00:00", "2027-04-01T00:00", paid_at=at("2027-03-31T00:00"), **upgrade))
    assert (month.key, month.effective_at, month.credits) == ("upgrade:in_1", at("2027-03-20T00:00"), Decimal(5))
    assert month.expires_at == at("2027-04-04T00:00")


def test_an_upgrade_of_a_year_adds_to_the_month_that_runs_and_to_each_later_one() -> None:
    facts: dict[str, Any] = {
        "source": "plan_upgrade",
        "anchor": at("2027-01-15T00:00"),
        "first": Decimal(7),
        "credits": Decimal(100),
    }
    its = months.months(period("2027-11-20T00:00", "2028-01-15T00:00", "year", key="upgrade:in_1", **facts))
    assert [(month.key, month.credits) for month in its] == [
        ("upgrade:in_1", Decimal(7)),
        ("upgrade:in_1:2027-12-15T00:00:00Z", Decimal(100)),
    ]


def test_half_of_a_month_adds_half_of_the_difference() -> None:
    month = (at("2027-04-01T00:00"), at("2027-05-01T00:00"))
    assert months.added(Decimal(1000), Decimal(4000), at("2027-04-16T00:00"), month) == Decimal(1500)


def test_what_an_upgrade_adds_is_rounded_half_up_to_four_places() -> None:
    month = (at("2027-04-01T00:00"), at("2027-04-01T00:00") + timedelta(seconds=32))
    halves = at("2027-04-01T00:00") + timedelta(seconds=31)  # one part in 32 of 0.0016 is half of the last place
    assert months.added(Decimal(0), Decimal("0.0016"), halves, month) == Decimal("0.0001")


def test_going_down_adds_nothing() -> None:
    month = (at("2027-04-01T00:00"), at("2027-05-01T00:00"))
    assert months.added(Decimal(1000), Decimal(400), at("2027-04-16T00:00"), month) == 0


def test_what_is_owed_of_a_year_is_owed_from_the_last_month_backwards() -> None:
    assert months.owed([Decimal(100)] * 4, 400, 150) == [0, 0, 50, 100]


def test_a_payment_of_nothing_owes_nothing() -> None:
    assert months.owed([Decimal(100)], 0, 0) == [0]


@given(
    parts=st.lists(st.decimals(0, 100_000, places=4), min_size=1, max_size=12),
    paid=st.integers(1, 10_000_000),
    back=st.fractions(0, 1),
)
def test_owed_is_never_more_than_its_share_nor_short_by_a_ten_thousandth_each(
    parts: list[Decimal], paid: int, back: Fraction
) -> None:
    gone = int(paid * back)
    shares = months.owed(parts, paid, gone)
    exact = Fraction(sum(parts, Decimal(0))) * Fraction(gone, paid)
    assert all(0 <= share <= part for share, part in zip(shares, parts, strict=True))
    assert 0 <= exact - Fraction(sum(shares, Decimal(0))) < Fraction(len(parts), 10_000)


@pytest.mark.parametrize("interval", ["month", "year"])
def test_the_month_that_runs_holds_its_instant(interval: str) -> None:
    start, end = at("2027-01-31T10:00"), at("2027-02-28T10:00") if interval == "month" else at("2028-01-31T10:00")
    now = at("2027-02-20T00:00")
    first, following = months.month_of(price(interval), start, end, now)
    assert first <= now < following <= end
