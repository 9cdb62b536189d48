"""GET /orgs/<slug>/billing/statement/: a month from beginning to end, which ties out; as a page and as a file."""

import csv
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.test import Client

from billing import books, ledger, monthly
from billing.models import Entry, Organization, User
from oxygen_site import clock
from tests.billing.moves import adjust, attempt, close, open_run, settle
from tests.billing.test_overview import words
from tests.conftest import give

pytestmark = pytest.mark.django_db

type Read = Callable[..., str]


@pytest.fixture
def read(client: Client, alice: User, acme: Organization) -> Read:
    client.force_login(alice)

    def html(status: int = 200, **query: Any) -> str:
        answer = client.get("/orgs/acme/billing/statement/", query)
        assert answer.status_code == status
        return answer.content.decode()

    return html


@pytest.fixture
def lived(acme: Organization) -> date:
    """Acme's last month, in which a bit of everything happened over its end; answer its first day."""
    long = open_run(acme.pk, 30, begin=3, unit=2)
    settle(acme.pk, long, attempt(1, 2, 2), attempt(2, "0.5", 2, tool="prospeo.email_finder"))
    short = open_run(acme.pk, 5, begin=1, unit=1)
    settle(acme.pk, short, attempt(1, 0, held=1, outcome="no_result", byok=True))
    close(acme.pk, short)
    adjust(acme.pk, "1.25")
    give(acme, 7, days=2)
    month = this_month(acme)
    start = datetime(*monthly.later(month).timetuple()[:3], tzinfo=acme.tz)
    clock.advance(start - clock.clock() + timedelta(hours=1))
    settle(acme.pk, long, attempt(3, 1, 2))
    close(acme.pk, long)
    give(acme, 11)
    return month


def this_month(org: Organization) -> date:
    return clock.clock().astimezone(org.tz).date().replace(day=1)


def statement(org: Organization, first: date) -> monthly.Statement:
    return monthly.read(org, first, clock.clock())


def test_both_months_tie_out_and_the_second_begins_where_the_first_ended(acme: Organization, lived: date) -> None:
    first, second = statement(acme, lived), statement(acme, monthly.later(lived))
    assert first.ties
    assert second.ties
    assert (first.closing.available, first.closing.reserved) == (second.opening.available, second.opening.reserved)
    now = books.tie_out(acme.pk)
    assert (second.closing.available, second.closing.reserved) == (now.available, now.reserved)
    assert first.captured + second.captured == now.captured == Decimal("3.5")


def test_every_entry_is_in_one_line_of_one_month(acme: Organization, lived: date) -> None:
    months = [statement(acme, lived), statement(acme, monthly.later(lived))]
    assert sum(line.entries for month in months for line in month.lines) == Entry.objects.filter(org=acme.pk).count()


def test_calls_stand_by_tool_and_account(acme: Organization, lived: date) -> None:
    lines = {(line.tool, line.byok): (line.entries, line.credits) for line in statement(acme, lived).lines if line.tool}
    assert lines == {
        ("hunter.email_finder", False): (1, 2),
        ("prospeo.email_finder", False): (1, Decimal("0.5")),
        ("hunter.email_finder", True): (1, 0),
    }


def test_the_page_shows_the_lines_and_that_they_tie_out(read: Read, acme: Organization, lived: date) -> None:
    html = words(read(month=f"{lived:%Y-%m}"))
    assert f"Statement, {lived:%B %Y}" in html
    assert "2.5 credits captured. Beginning and lines add up to the end" in html
    assert "What Acme had, got and used." in html
    assert "this is how it stands now" in words(read())


def test_the_file_adds_up_from_its_opening_to_its_closing(
    client: Client, read: Read, acme: Organization, lived: date
) -> None:
    answer = client.get("/orgs/acme/billing/statement.csv", {"month": f"{lived:%Y-%m}"})
    assert answer["Content-Disposition"] == f'attachment; filename="acme-{lived:%Y-%m}.csv"'
    opening, *lines, closing = csv.DictReader(StringIO(b"".join(answer).decode()))
    assert (opening["line"], closing["line"]) == ("opening", "closing")
    for side in ("available", "reserved"):
        assert Decimal(opening[side]) + sum(Decimal(line[side]) for line in lines) == Decimal(closing[side])
    assert {line["account"] for line in lines} == {"", "managed", "own"}


@pytest.mark.parametrize("month", ["1999-01", "2999-01", "x", "2026-13"])
def test_a_month_that_was_not_is_404(read: Read, month: str) -> None:
    read(404, month=month)


def test_its_queries_do_not_grow(read: Read, acme: Organization, django_assert_max_num_queries: Any) -> None:
    for _ in range(5):
        run = open_run(acme.pk, 5, begin=5)
        settle(acme.pk, run, *(attempt(n) for n in range(1, 6)))
    ledger.pause(acme.pk, run, True)
    with django_assert_max_num_queries(15):
        read()
