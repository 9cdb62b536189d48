"""The low-balance e-mail: once a crossing, to who can do something, with the one thing to do."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core import mail

from billing import balance, jobs, low_balance, mails, orgs, usage
from billing.models import Agency, LowBalance, Organization, Role, User
from oxygen_site import clock
from oxygen_site.jobs import line
from oxygen_site.transactions import Refused
from tests.billing.moves import adjust, attempt, open_run, settle
from tests.conftest import give, person


def letters() -> list[str]:
    """Look whether it is low and send what waits to be sent; the subjects of all mail so far."""
    jobs.tell_low()
    for words, _ in line(mails.send)[len(mail.outbox) :]:
        mails.send(**words)
    return [str(each.subject) for each in mail.outbox]


def read_by() -> list[list[str]]:
    """Whom each mail went to."""
    return sorted(letter.to for letter in mail.outbox)


LOW = "Acme: credits are running low"


@pytest.fixture
def told_below_50(acme: Organization) -> Organization:
    low_balance.change(acme, Decimal(50), "credits")
    return acme


def test_the_mail_says_what_is_left_and_what_to_do(told_below_50: Organization) -> None:
    adjust(told_below_50.pk, "60.5")
    assert letters() == [LOW]
    (letter,) = mail.outbox
    assert letter.body == (
        "Acme has 39.5 credits available, fewer than the 50 set in its settings. A run that needs more than that cannot"
        " start. Add credits here:\n\n"
        "http://localhost:8000/orgs/acme/subscribe/\n\n"
        "This is said once. You hear of it again when the balance has recovered and runs low another time."
    )


def test_admins_and_owners_hear_of_it_and_nobody_else(told_below_50: Organization) -> None:
    for name, role in (("Ada", Role.ADMIN), ("Max", Role.MEMBER), ("Vera", Role.VIEWER)):
        orgs.add_member(told_below_50, person(name), role)
    adjust(told_below_50.pk, 60)
    letters()
    assert read_by() == [["ada@oxygen.example"], ["alice@oxygen.example"]]


def test_where_a_client_has_no_admin_its_agencys_staff_hear_of_it_once_each(harbor: Agency) -> None:
    harbor.staff.add(person("Hugo"), gone := person("Gina"))
    User.objects.filter(pk=gone.pk).update(is_active=False)
    bluefin = Organization.objects.get(agency=harbor)
    orgs.add_member(bluefin, person("Max"), Role.MEMBER)
    orgs.create("Redfin", "Asia/Tokyo", agency=harbor)
    low_balance.change(bluefin, Decimal(50), "credits")
    assert letters() == letters() == ["Bluefin: credits are running low"] * 2
    assert read_by() == [["harriet@oxygen.example"], ["hugo@oxygen.example"]]


def test_where_a_client_has_an_admin_its_agencys_staff_do_not_hear_of_it(harbor: Agency) -> None:
    bluefin = Organization.objects.get(agency=harbor)
    orgs.add_member(bluefin, person("Ada"), Role.ADMIN)
    low_balance.change(bluefin, Decimal(50), "credits")
    letters()
    assert read_by() == [["ada@oxygen.example"]]


def test_an_org_of_no_agency_whose_owner_left_writes_to_nobody(
    told_below_50: Organization, alice: User, harbor: Agency
) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    adjust(told_below_50.pk, 60)
    assert letters() == []


def test_it_is_said_once_and_again_only_after_it_has_recovered(told_below_50: Organization) -> None:
    adjust(told_below_50.pk, 60)
    assert letters() == letters() == [LOW]
    adjust(told_below_50.pk, 10)  # lower still is no other crossing
    assert letters() == [LOW]
    give(told_below_50, 100)
    assert letters() == [LOW]
    adjust(told_below_50.pk, 100)
    assert letters() == [LOW, LOW]


def test_at_the_threshold_it_is_not_low(told_below_50: Organization) -> None:
    adjust(told_below_50.pk, 50)
    assert letters() == []
    adjust(told_below_50.pk, "0.0001")
    assert letters() == [LOW]


def test_what_runs_hold_is_not_available(told_below_50: Organization) -> None:
    open_run(told_below_50.pk, 60)
    assert letters() == [LOW]


def test_nobody_who_did_not_wish_it_is_mailed(acme: Organization) -> None:
    adjust(acme.pk, 100)
    assert letters() == []


def test_another_threshold_is_crossed_anew_and_the_same_is_not(told_below_50: Organization) -> None:
    adjust(told_below_50.pk, 60)
    assert letters() == [LOW]
    low_balance.change(told_below_50, Decimal(50), "credits")
    assert letters() == [LOW]
    low_balance.change(told_below_50, Decimal(45), "credits")
    assert letters() == [LOW, LOW]


def spend_daily(org: Organization, credits: int, days: int) -> None:
    """Capture so much on each of so many days; now is the day after."""
    for _ in range(days):
        settle(org.pk, open_run(org.pk, credits, begin=1, unit=credits), attempt(1, credits, credits))
        clock.advance(timedelta(days=1))


def test_in_days_it_is_measured_at_the_pace_of_the_last_seven(acme: Organization) -> None:
    low_balance.change(acme, Decimal(9), "days")
    spend_daily(acme, 14, days=3)
    assert letters() == []  # 58 are left, at 6 a day
    adjust(acme.pk, "4.0001")
    assert letters() == [LOW]
    assert "less than 9 days of work at the pace of the last seven." in mail.outbox[0].body


def test_too_few_active_days_say_nothing(acme: Organization) -> None:
    low_balance.change(acme, Decimal(365), "days")
    spend_daily(acme, 40, days=2)
    assert letters() == []


def test_two_who_look_at_once_send_one_mail(told_below_50: Organization) -> None:
    adjust(told_below_50.pk, 60)
    seen = LowBalance.objects.get()
    low_balance._tell(seen, clock.clock(), "one")
    low_balance._tell(seen, clock.clock(), "two")
    assert [words["words"] for words, _ in line(mails.send)] == ["one"]


def test_paces_of_many_orgs_are_those_of_each(acme: Organization, globex: Organization, mallory: User) -> None:
    far = orgs.create("Far", "Pacific/Kiritimati", owner=mallory)
    give(far, 100)
    for org, credits in ((acme, 7), (globex, 9), (far, 5)):
        spend_daily(org, credits, days=3 if org != globex else 2)
    now = clock.clock()
    each = {org.pk: usage.pace(org, now.astimezone(ZoneInfo(org.zone)).date()) for org in (acme, globex, far)}
    assert balance.paces([acme, globex, far], now) == each
    assert (each[globex.pk], each[far.pk]) == (None, Decimal(15) / 7)


def test_looking_costs_the_same_for_many(
    told_below_50: Organization, globex: Organization, django_assert_num_queries: Any
) -> None:
    low_balance.change(globex, Decimal(1), "days")
    with django_assert_num_queries(3):
        low_balance.tell_due()


@pytest.mark.parametrize("threshold", ["0", "-1", "NaN", "Infinity", "0.00001", "1000000001"])
def test_a_threshold_that_is_none_is_refused(acme: Organization, threshold: str) -> None:
    with pytest.raises(Refused) as refused:
        low_balance.change(acme, Decimal(threshold), "credits")
    assert (refused.value.code, refused.value.field) == ("invalid_threshold", "threshold")
