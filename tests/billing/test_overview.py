"""GET /orgs/<slug>/billing/: what there is, what waits for a person, where it went."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import Organization, Role, User
from billing.orgs import add_member
from oxygen_site import clock
from tests.billing.moves import attempt, open_run, settle
from tests.conftest import give, person

pytestmark = pytest.mark.django_db

type Read = Callable[..., str]


@pytest.fixture
def read(client: Client, alice: User, acme: Organization) -> Read:
    """Read Acme's billing page as Alice, whole or the fragment that htmx asks for."""
    client.force_login(alice)

    def html(fragment: str = "", status: int = 200, **query: Any) -> str:
        headers = {"HX-Request": "true", "HX-Target": fragment} if fragment else {}
        answer = client.get(reverse("billing:overview", args=[acme.slug]), query, headers=headers)
        assert answer.status_code == status
        return answer.content.decode()

    return html


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
    html = read(daily="1")
    assert words(html).count("All days 6") == 1
    assert "All 3 6" in words(html)
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
    html = read("charges", provider="hunter", range="30d")
    assert "All providers" in html
    assert 'href="?range=30d#charges"' in html


def test_what_is_filtered_away_is_not_shown(read: Read, acme: Organization) -> None:
    spend(acme)
    assert "No charges here. Remove a filter to see more." in words(read("charges", provider="nobody"))
    yesterday = (clock.clock() - timedelta(days=2)).date()
    assert "No charges here." in words(read("charges", day=yesterday.isoformat()))


def test_htmx_gets_the_fragment_it_asks_for_and_nothing_else(read: Read) -> None:
    assert read("charges").strip().startswith('<section id="charges"')
    assert 'id="balance"' not in read("usage")


def test_charges_page_at_fifty_and_older_ones_follow(read: Read, acme: Organization) -> None:
    spend(acme, 1, calls=60)
    first = read("charges")
    older = re.search(r'href="\?(before=[^"#]+)#charges"[^>]*>Older', first)
    assert older
    second = read("charges", **dict([older[1].split("=", 1)]))
    assert first.count("<tr class=") == 50
    assert second.count("<tr class=") == 10
    assert "Newest" in second


@pytest.mark.parametrize(
    "query", [{"range": "1y"}, {"day": "yesterday"}, {"run": "7"}, {"before": "x"}, {"before": "a_b_c_d"}]
)
def test_a_filter_that_makes_no_sense_is_404(read: Read, query: dict[str, str]) -> None:
    read(status=404, **query)


def test_a_place_beyond_any_number_is_the_end(read: Read) -> None:
    read(before=f"20260101T000000.000000_{'0' * 32}_{10**30}_0")


@pytest.mark.parametrize("calls", [1, 120])
def test_its_queries_do_not_grow(
    read: Read, acme: Organization, calls: int, django_assert_max_num_queries: Any
) -> None:
    give(acme, 1000)
    for _ in range(3 if calls > 1 else 1):
        spend(acme, 1, calls=calls)
    with django_assert_max_num_queries(28):
        read(range="90d")


def test_a_viewer_is_offered_nothing_to_start(client: Client, acme: Organization) -> None:
    vera = person("Vera")
    add_member(acme, vera, Role.VIEWER)
    client.force_login(vera)
    html = client.get(reverse("billing:overview", args=[acme.slug])).content.decode()
    assert "New run" not in html


def test_the_pace_needs_three_active_days(acme: Organization, read: Read) -> None:
    for _ in range(3):
        spend(acme, 7)
        clock.advance(timedelta(days=1))
    assert "About 26 days at your 7-day pace of 3 a day" in words(read())


def test_credits_keep_their_decimals(acme: Organization, read: Read) -> None:
    run = open_run(acme.pk, "0.75", begin=1, unit="0.75")
    settle(acme.pk, run, attempt(1, "0.75", "0.75"))
    assert "100 granted = 99.25 available + 0 reserved + 0.75 captured." in words(read())
