"""/orgs/<slug>/billing/grants/: what is left of each grant, until when, and which is used next."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing import charts, ledger
from billing.models import Grant, Organization, User
from oxygen_site import clock
from tests.billing.moves import adjust, attempt, close, grant, open_run, owe, settle
from tests.billing.reading import Read, reader
from tests.billing.test_overview import words
from tests.conftest import give

pytestmark = pytest.mark.django_db


@pytest.fixture
def read(client: Client, alice: User, acme: Organization) -> Read:
    """Read Acme's grants as Alice."""
    return reader(client, alice, "/orgs/acme/billing/grants/")


def order(html: str) -> list[str]:
    return re.findall(r'<tr id="grant-([0-9a-f-]+)"', html)


def meters(html: str) -> list[str]:
    return re.findall(r'<svg class="meter" role="img" aria-label="([^"]+)"', html)


def test_they_stand_in_the_order_in_which_they_are_used(read: Read, acme: Organization) -> None:
    late, soon = give(acme, 10, days=90), give(acme, 20, days=3)
    between = Grant.objects.get(org=acme.pk, amount=100).id
    html = read()
    assert order(html) == [str(soon), str(between), str(late)]
    assert words(html).count("Used next") == 1
    assert "Promo of 20 Used next" in words(html.replace("</a>", " "))
    open_run(acme.pk, 25)
    assert set(order(read())) == {str(between), str(late)}
    assert "20 drawn by open runs" in words(read(show="ended"))


def test_a_grants_credits_are_told_apart(read: Read, acme: Organization) -> None:
    run = open_run(acme.pk, 12, begin=1, unit=12)
    settle(acme.pk, run, attempt(1, 12, 12))
    close(acme.pk, run)
    open_run(acme.pk, 8)
    assert meters(read()) == ["12 captured, 8 drawn by open runs, 80 left of 100"]


def test_what_is_left_ties_out_with_what_is_available(read: Read, acme: Organization) -> None:
    give(acme, "0.0001", days=60)
    open_run(acme.pk, 40)
    assert "60.0001 left in 2 grants = 60.0001 available." in words(read())


def test_what_became_of_an_ended_one_is_told_on_its_own_list(read: Read, acme: Organization) -> None:
    owed = grant(acme.pk, 50, days=1)
    owe(acme.pk, owed, 30)
    clock.advance(timedelta(days=2))
    ledger.expire(acme.pk)
    adjust(acme.pk, 100)
    html = words(read(show="ended"))
    assert "Nothing captured, 20 expired, 30 clawed back" in html
    assert "Nothing captured, 100 taken back by Oxygen" in html
    assert "There are no credits to use." in words(read())


def test_what_was_paid_is_said(read: Read, acme: Organization) -> None:
    ledger.grant(
        acme.pk,
        key="in_1",
        source="top_up",
        amount=Decimal(1000),
        expires_at=clock.clock() + timedelta(days=365),
        actor="stripe:in_1",
        paid=Decimal(1200),
        currency="usd",
    )
    assert "$12.00 paid" in words(read())


def test_a_grant_leads_to_the_entry_that_gave_it(client: Client, read: Read, acme: Organization) -> None:
    html = read()
    way = re.search(r'href="(/orgs/acme/billing/ledger/[^"]+)"', html)
    assert way
    said = words(client.get(way[1]).content.decode())
    assert "Granted 100" in said
    assert "Promo of 100" in said


def test_fifty_stand_on_a_page_and_numbers_go_on(read: Read, acme: Organization) -> None:
    for n in range(59):
        give(acme, 1, days=40 + n)
    first = read("list")
    place = re.search(r'href="\?after=([0-9a-f-]+)"[^>]*>Next', first)
    assert place
    second = read("list", after=place[1])
    assert (len(order(first)), len(order(second))) == (50, 10)
    assert set(order(first)).isdisjoint(order(second))
    assert "Number 51" in words(second)
    assert "159 left in 60 grants = 159 available." in words(second)


def test_ended_ones_page_too(read: Read, acme: Organization) -> None:
    for n in range(52):
        give(acme, 1, days=1, key=f"short:{n}")
    clock.advance(timedelta(days=2))
    ledger.expire(acme.pk)
    first = read("list", show="ended")
    place = re.search(r'href="\?show=ended&amp;after=([0-9a-f-]+)"[^>]*>Next', first)
    assert place
    assert len(order(first)) == 50
    assert len(order(read("list", show="ended", after=place[1]))) == 2


@pytest.mark.parametrize("query", [{"show": "all"}, {"after": "x"}, {"after": "00000000-0000-7000-8000-000000000000"}])
def test_a_list_that_is_not_there_is_404(read: Read, query: dict[str, str]) -> None:
    read(status=404, **query)


def test_its_queries_do_not_grow(read: Read, acme: Organization) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            read()
        return len(queries)

    read()
    few = cost()
    for n in range(40):
        give(acme, 1, days=40 + n)
    assert cost() == few <= 12


def test_lives_share_one_line_of_time(acme: Organization) -> None:
    give(acme, 10, days=60)
    grants = list(Grant.objects.filter(org=acme.pk).order_by("expires_at"))
    now = clock.clock() + timedelta(days=15)
    drawn = charts.life_lines(grants, now, 1)
    assert drawn
    assert (drawn.first, drawn.last) == (grants[0].effective_at, grants[1].expires_at)
    short, long = drawn.lines
    assert [round(share, 2) for share in (drawn.now, short.width, short.lived)] == [
        Decimal("0.25"),
        Decimal("0.5"),
        Decimal("0.25"),
    ]
    assert round(long.x + long.width, 3) == 1
    assert charts.life_lines([], now) is None
