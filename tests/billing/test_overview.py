"""GET /orgs/<slug>/billing/: what there is, what waits for a person, where it went."""

import re
from csv import DictReader
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from billing import charges, spans
from billing.models import Organization, Reservation, Role, User
from billing.orgs import add_member
from billing.wanted import Wanted
from oxygen_site import clock
from runs import dispatch
from tests.billing.moves import attempt, open_run, settle
from tests.billing.reading import Read, reader
from tests.conftest import person
from tests.runs.conftest import _catalog_file, catalog, start

__all__ = ["_catalog_file", "catalog"]  # fixtures

pytestmark = pytest.mark.django_db


@pytest.fixture
def read(client: Client, alice: User, acme: Organization) -> Read:
    """Read Acme's billing page as Alice, whole or the fragment that htmx asks for."""
    return reader(client, alice, "/orgs/acme/billing/")


def words(html: str) -> str:
    spaced = re.sub(r"</(td|th|p|div|dd|dt|h1|h2|li)>", " ", html)
    return " ".join(re.sub(r"<[^>]*>", "", spaced).split())


def spend(org: Organization, credits: int = 1, calls: int = 1, **facts: Any) -> None:
    run = open_run(org.pk, credits * calls, begin=calls, unit=credits)
    settle(org.pk, run, *(attempt(item, credits, credits, **facts) for item in range(1, calls + 1)))


def test_a_new_org_sees_its_credits_and_what_will_show_here(read: Read) -> None:
    html = words(read())
    assert "100 granted = 100 available + 0 reserved + 0 captured. It ties out." in html
    assert "Not enough data yet to say how long they last" in html
    assert "No credits were captured in these days" in html
    assert "No charges here." in html


def test_captured_and_reserved_are_told_apart(read: Read, acme: Organization) -> None:
    spend(acme, 2, calls=3)
    open_run(acme.pk, 10)
    html = words(read())
    assert "6 captured this credit month, 10 reserved, 84 available" in read()
    assert "100 granted = 84 available + 10 reserved + 6 captured. It ties out." in html


def test_the_days_the_providers_and_the_charges_add_up_to_the_same(read: Read, acme: Organization) -> None:
    spend(acme, 2, calls=3)
    html = read(range="7d", daily="1")
    assert words(html).count("All days 6") == 1
    assert "All 3 6 100.0% 2" in words(html)
    assert html.count('<tr class="is-captured">') == 3
    assert "3 calls in these days" in words(html)


def test_a_range_is_its_own_days_in_the_orgs_zone(read: Read, acme: Organization) -> None:
    today = clock.clock().astimezone(acme.tz).date()
    spend(acme)
    html = read(range="7d", daily="1")
    days = re.findall(r"day=(\d{4}-\d\d-\d\d)", html)
    assert days[0] == today.isoformat()
    assert len(set(days)) == 7
    assert "Days in Europe/Lisbon" in html


def test_a_filter_is_a_chip_that_can_be_taken_off(read: Read, acme: Organization) -> None:
    spend(acme)
    html = read("usage", provider="hunter", range="30d")
    assert "All providers" in html
    assert 'href="?range=30d#usage"' in html


def test_what_is_filtered_away_is_not_shown(read: Read, acme: Organization) -> None:
    spend(acme)
    assert "No charges here. Remove a filter to see more." in words(read("charges", provider="nobody"))
    yesterday = (clock.clock() - timedelta(days=2)).date()
    assert "No charges here." in words(read("charges", day=yesterday.isoformat()))


def test_htmx_gets_the_fragment_it_asks_for_and_nothing_else(read: Read) -> None:
    assert read("charges").strip().startswith('<section id="charges"')
    assert 'id="balance"' not in read("usage")


def test_charges_page_at_twenty_and_older_ones_follow(read: Read, acme: Organization) -> None:
    spend(acme, 1, calls=30)
    first = read("charges")
    older = re.search(r'href="\?(before=[^"#]+)#charges"[^>]*>Older', first)
    assert older
    second = read("charges", **dict([older[1].split("=", 1)]))
    assert first.count("<tr class=") == 20
    assert second.count("<tr class=") == 10
    assert "Newest" in second


@pytest.mark.parametrize(
    "query",
    [
        *({"range": "1y"}, {"day": "yesterday"}, {"hour": "9"}, {"first": "monday"}, {"before": "x"}),
        *({"before": "a_b_c_d"}, {"run": "7"}, {"member": "7"}, {"mode": "both"}, {"outcome": "good"}),
        *({"tool": "a b"}, {"group": "colour"}, {"measure": "money"}),
    ],
)
def test_a_filter_that_makes_no_sense_is_404(read: Read, query: dict[str, str]) -> None:
    read(status=404, **query)


def test_a_place_beyond_any_number_is_the_end(read: Read) -> None:
    read(before=f"20260101T000000.000000_{'0' * 32}_{10**30}_0")


def test_a_viewer_is_offered_nothing_to_start(client: Client, acme: Organization) -> None:
    vera = person("Vera")
    add_member(acme, vera, Role.VIEWER)
    client.force_login(vera)
    html = client.get(reverse("billing:overview", args=[acme.slug])).content.decode()
    assert "New run" not in html


def mix(org: Organization) -> None:
    """Six calls of two tools: three found something, one on the org's own account."""
    run = open_run(org.pk, 20, begin=4, unit=2)
    settle(
        org.pk,
        run,
        attempt(1, 2, 2),
        attempt(2, 2, 2, outcome="no_result"),
        attempt(3, 0, 2, outcome="failed_before_billing"),
        attempt(4, "0.5", 2, tool="apollo.person"),
        attempt(5, 0, 0, byok=True, tool="hubspot.contact"),
        attempt(6, 0, 0, byok=True, tool="hubspot.contact", outcome="no_result"),
    )


# ------------------------------------------------------------------ the file


def table(client: Client, **query: Any) -> list[dict[str, str]]:
    answer = client.get("/orgs/acme/billing/usage.csv", query)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(DictReader(StringIO(answer.getvalue().decode())))


def test_the_file_holds_exactly_the_filtered_calls_in_the_pages_order(
    client: Client, alice: User, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(alice)
    monkeypatch.setattr(charges, "AT_ONCE", 4)
    mix(acme)
    spend(acme, 1, calls=9)
    rows = table(client, range="30d")
    assert len(rows) == 15
    assert sum(Decimal(row["credits"]) for row in rows) == Decimal("13.5")
    assert [row["timestamp"] for row in rows] == sorted((row["timestamp"] for row in rows), reverse=True)
    assert {row["tool"] for row in table(client, range="30d", provider="apollo")} == {"apollo.person"}
    assert len(table(client, range="30d", mode="byok", outcome="no_result")) == 1
    run = rows[0]["run"]
    assert [row["item"] for row in table(client, range="30d", run=run)] == [str(n) for n in range(9, 0, -1)]


def test_the_file_is_read_as_it_goes_out_a_page_at_a_time(
    acme: Organization, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(charges, "AT_ONCE", 4)
    spend(acme, 1, calls=9)
    span = spans.span("7d", acme, clock.clock())
    lines = charges.lines(acme, charges.Part(*span.instants(), span), Wanted(), acme.tz)
    with django_assert_num_queries(1):
        assert len([next(lines) for _ in range(4)]) == 4
    with django_assert_num_queries(2):
        assert len(list(lines)) == 5


def test_the_page_leads_to_the_file_of_what_it_shows(read: Read, acme: Organization) -> None:
    mix(acme)
    html = read("charges", range="30d", provider="hunter", daily="1")
    assert "/orgs/acme/billing/usage.csv?range=30d&amp;provider=hunter" in html


# ------------------------------------------------------------------ what is reserved, what comes, how it went


def test_reserved_leads_to_the_holds_that_make_it(
    client: Client, alice: User, acme: Organization, catalog: None
) -> None:
    client.force_login(alice)
    run = start(acme, alice, "hunter.email_finder", rows=5, cap=30)
    open_run(acme.pk, 10, begin=2)
    assert 'href="/orgs/acme/billing/holds/"' in client.get("/orgs/acme/billing/").content.decode()
    html = client.get("/orgs/acme/billing/holds/").content.decode()
    held = Reservation.objects.get(org=acme.pk, run=run.id).reserved
    assert f"2 open runs hold {held.normalize() + 10:f}, all that is reserved." in words(html)
    assert f"/orgs/acme/runs/{run.id}/" in html


def test_a_lease_runs_out_by_business_time_like_all_that_stands_beside_it(
    client: Client, alice: User, acme: Organization, catalog: None
) -> None:
    client.force_login(alice)
    run = start(acme, alice, "hunter.email_finder", rows=5, cap=30)
    dispatch.claim(run, uuid4(), 2)
    clock.advance(timedelta(days=40))
    html = client.get("/orgs/acme/billing/holds/").content.decode()
    until = re.search(r'>2</span><small>leased until <time datetime="([^"]+)"', html)
    assert until
    left = datetime.fromisoformat(until[1]) - clock.clock()
    assert timedelta(0) < left <= timedelta(seconds=settings.LEASE_SECONDS)


def test_nothing_held_is_said(client: Client, alice: User, acme: Organization) -> None:
    client.force_login(alice)
    assert "Nothing is held." in client.get("/orgs/acme/billing/holds/").content.decode()


def test_holds_page_at_fifty_with_the_sum_of_all(client: Client, alice: User, acme: Organization) -> None:
    client.force_login(alice)
    for _ in range(52):
        open_run(acme.pk, 1)
    html = client.get("/orgs/acme/billing/holds/").content.decode()
    older = re.search(r'href="\?(before=[\w-]+)#list"', html)
    assert older
    assert "52 open runs hold 52, all that is reserved." in words(html)
    rest = client.get(f"/orgs/acme/billing/holds/?{older[1]}").content.decode()
    assert (html.count("<tr>"), rest.count("<tr>")) == (51, 3)


def test_the_cards_say_what_was_captured_what_comes_and_what_goes(read: Read, acme: Organization) -> None:
    spend(acme, 5)
    html = words(read())
    assert "Captured this credit month 5 Nothing as far into the last one" in html
    assert "Runway Not enough data" in html
    assert "Next refill None" in html
    assert re.search(r"Next expiry 95 \d+ \w+ \d{4}, if nothing uses them before", html)


def test_the_balance_over_time_ends_with_what_is_there_and_says_what_came(read: Read, acme: Organization) -> None:
    spend(acme, 5)
    clock.advance(timedelta(days=2))
    open_run(acme.pk, 10)
    html = words(read("usage", range="7d", course="1"))
    assert "10 85 " in html[html.index("Balance at the end of each day") :]
    assert "Given +100" in html


def test_an_org_that_never_ran_anything_is_taught_the_first_command(read: Read, acme: Organization) -> None:
    assert "oxygen tables import leads.csv" in read()
    spend(acme)
    assert "oxygen tables import leads.csv" not in read()


def test_the_pace_needs_three_active_days(acme: Organization, read: Read) -> None:
    for _ in range(3):
        spend(acme, 7)
        clock.advance(timedelta(days=1))
    assert "About 26 days at your 7-day pace of 3 a day" in words(read())


def test_credits_keep_their_decimals(acme: Organization, read: Read) -> None:
    run = open_run(acme.pk, "0.75", begin=1, unit="0.75")
    settle(acme.pk, run, attempt(1, "0.75", "0.75"))
    assert "100 granted = 99.25 available + 0 reserved + 0.75 captured." in words(read())
