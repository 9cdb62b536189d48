"""What an org has, holds and spends, and for how long it lasts."""

from datetime import timedelta

import pytest

from billing import balance
from billing.models import Organization
from oxygen_site import clock
from tests.billing.moves import attempt, close, open_run, settle
from tests.conftest import give

pytestmark = pytest.mark.django_db


def spend(org: Organization, credits: int) -> None:
    run = open_run(org.pk, credits, begin=1, unit=credits)
    settle(org.pk, run, attempt(1, credits, credits))
    close(org.pk, run)


def read(org: Organization) -> balance.Balance:
    return balance.read(org, clock.clock())


def test_captured_reserved_and_available_are_told_apart(acme: Organization) -> None:
    spend(acme, 20)
    open_run(acme.pk, 30)
    assert read(acme).column == [20, 30, 50]


def test_shares_of_nothing_are_nothing(acme: Organization) -> None:
    spend(acme, 100)
    seen = read(acme)
    assert (seen.captured_share, seen.reserved_share) == (1, 0)


def test_under_three_active_days_there_is_no_pace(acme: Organization) -> None:
    for _ in range(2):
        spend(acme, 7)
        clock.advance(timedelta(days=1))
    assert (read(acme).pace, read(acme).days) == (None, None)


def test_the_pace_is_of_seven_whole_days_and_not_of_today(acme: Organization) -> None:
    for _ in range(3):
        spend(acme, 7)
        clock.advance(timedelta(days=1))
    spend(acme, 60)
    seen = read(acme)
    assert (seen.pace, seen.days) == (3, 6)


def test_what_was_captured_before_the_credit_month_is_not_of_it(acme: Organization) -> None:
    give(acme, 100, days=90)
    spend(acme, 20)
    clock.advance(timedelta(days=32))
    spend(acme, 5)
    assert read(acme).captured == 5


def test_the_course_holds_each_days_end_and_quiet_days_repeat(acme: Organization) -> None:
    spend(acme, 10)
    clock.advance(timedelta(days=2))
    spend(acme, 20)
    spend(acme, 5)
    assert read(acme).course == [90, 90, 65]


def test_on_the_day_of_renewal_as_much_is_left_as_is_available(acme: Organization) -> None:
    give(acme, 500, days=90)
    ends = read(acme).standing.month[1]
    for days in (3, 2, 1):
        clock.advance(ends - timedelta(days=days) - clock.clock())
        spend(acme, 7)
    clock.advance(ends - timedelta(seconds=1) - clock.clock())
    seen = read(acme)
    assert seen.daily == 3
    assert seen.burn
    assert seen.burn.left == seen.available


def test_grants_come_in_the_order_in_which_they_burn(acme: Organization) -> None:
    give(acme, 7, days=2)
    assert [grant.remaining for grant in read(acme).grants] == [7, 100]


def test_too_many_moves_to_tell_cheaply_leave_the_course_out(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "MOVES", 3)
    for _ in range(3):
        spend(acme, 1)
    assert read(acme).course == []
