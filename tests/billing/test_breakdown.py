"""The billing page's groups and filters: they combine, come off one by one, and always add up to the same."""

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from urllib.parse import urlencode

import pytest
from django.test import Client

from billing import breakdown, usage
from billing.models import Entry, Organization, Reservation, User
from oxygen_site import clock
from tests.billing.moves import MEMBER, attempt, open_run, settle
from tests.billing.reading import Read, reader
from tests.billing.test_overview import mix, spend, words
from tests.conftest import give
from tests.runs.conftest import _catalog_file, catalog, start
from tests.runs.test_queries import answer

__all__ = ["_catalog_file", "catalog"]  # fixtures

pytestmark = pytest.mark.django_db


@pytest.fixture
def read(client: Client, alice: User, acme: Organization) -> Read:
    """Read Acme's billing page as Alice, whole or the fragment that htmx asks for."""
    return reader(client, alice, "/orgs/acme/billing/")


@pytest.mark.parametrize("measure", ["credits", "calls"])
@pytest.mark.parametrize("group", list(breakdown.GROUPS))
def test_every_group_adds_up_to_the_same(read: Read, acme: Organization, group: str, measure: str) -> None:
    mix(acme)
    html = read("usage", range="30d", group=group, measure=measure)
    # 2 results of the 5 calls that did not fail before billing; 4.5 credits for 3 results
    assert re.search(r"All 6 4.5 60.0% 1.50? ", words(html))


def test_the_table_tells_share_success_and_what_a_result_cost(read: Read, acme: Organization) -> None:
    mix(acme)
    html = words(read("usage", range="30d", group="tool"))
    assert "hunter.email_finder 3 4.0 88.9% 50.0% 4.0 new" in html
    assert "apollo.person 1 0.5 11.1% 100.0% 0.5 new" in html
    assert "hubspot.contact 2 0.0 0.0% 50.0% – –" in html


FILTERS = {
    "provider": "hunter",
    "tool": "hunter.email_finder",
    "member": str(MEMBER),
    "kind": "column",
    "mode": "managed",
    "outcome": "no_result",
}


@pytest.mark.parametrize("group", ["provider", "member", "run"])
def test_filters_combine_and_each_comes_off_by_itself(read: Read, acme: Organization, group: str) -> None:
    mix(acme)
    filters = FILTERS | {"run": str(Reservation.objects.get(org=acme.pk).run)}
    html = read("usage", range="30d", group=group, **filters)
    assert "All 1 2" in words(html)
    assert "1 call" not in words(html)  # no rollup knows
    assert html.count('class="chip"') == len(filters)
    for off in filters:
        left = urlencode({"range": "30d", "group": group} | {k: v for k, v in filters.items() if k != off})
        assert f'href="?{left}#usage"'.replace("&", "&amp;") in html, off


def test_who_is_not_of_the_org_is_not_named(read: Read, acme: Organization, mallory: User, alice: User) -> None:
    mix(acme)
    assert "Mallory" not in read("usage", member=str(mallory.pk))
    assert "One member" in read("usage", member=str(mallory.pk))
    assert "Alice" in read("usage", member=str(alice.pk))


def test_the_form_offers_the_runs_there_are_and_keeps_one_that_captured_nothing(
    read: Read, acme: Organization, alice: User, catalog: None
) -> None:
    mix(acme)
    there = Reservation.objects.get(org=acme.pk).run
    other = start(acme, alice, "hunter.email_finder", rows=5, cap=3)
    html = read("usage", filters="1", range="30d", run=str(other.id))
    assert f'<option value="{other.id}" selected>{other.name}</option>' in html
    assert f'<option value="{there}">' in html


def test_by_run_each_leads_to_its_own_page(read: Read, acme: Organization, alice: User, catalog: None) -> None:
    run = start(acme, alice, "hunter.email_finder", rows=5, cap=3)
    answer(run, 2)
    html = read("usage", range="30d", group="run")
    assert f'<a href="/orgs/acme/runs/{run.id}/" data-series="{run.id}">' in html
    assert f"{run.name} 2 2 100.0% 100.0% 1 new All 2 2" in words(html)


@pytest.mark.parametrize("filters", [{}, {"provider": "hunter"}])
@pytest.mark.parametrize("measure", ["credits", "calls"])
def test_of_many_runs_ten_are_named_and_the_others_are_one(
    read: Read, acme: Organization, measure: str, filters: dict[str, str]
) -> None:
    give(acme, 1000)
    for n in range(1, 21):
        spend(acme, 1, calls=n)
    html = read("usage", range="30d", group="run", measure=measure, all="1", **filters)
    assert html.count('class="spark"') == 10
    assert '<a href="/orgs/acme/runs/"><i class="key s0"></i>10 others</a>' in html
    assert "10 others 55 55 26.2% 100.0%" in words(html)
    assert "All 210 210" in words(html)
    assert '"name":"15 others"' in unescape(html)  # in the chart five have a colour


def test_eleven_runs_are_all_named(read: Read, acme: Organization) -> None:
    for _ in range(11):
        spend(acme)
    html = read("usage", range="30d", group="run")
    assert html.count('class="spark"') == 11
    assert "others" not in words(html)


def test_one_run_is_found_by_its_id(read: Read, acme: Organization) -> None:
    mix(acme)
    spend(acme, 3)
    run = Entry.objects.filter(org=acme.pk, kind="captured", amount=3).get().source
    html = words(read("usage", range="30d", run=str(run)))
    assert "All 1 3" in html
    assert "1 call in these days" in html


def test_what_no_rollup_holds_is_read_up_to_a_bound_and_says_so(
    read: Read, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix(acme)
    monkeypatch.setattr(usage, "MOST_CALLS", 5)
    html = words(read(range="30d", group="member", provider="hunter"))
    assert "6 calls settled in these days. With these filters they are read one by one" in html
    html = words(read(range="30d", group="member"))
    assert "Success by member is told for up to 50,000 calls" in html
    assert "All 6 4.5 – 1.5" in html


def test_the_fields_of_a_form_that_are_empty_do_not_stay_in_the_address(
    client: Client, alice: User, acme: Organization
) -> None:
    client.force_login(alice)
    answer = client.get("/orgs/acme/billing/?provider=&tool=&outcome=no_result&first=")
    assert answer["Location"] == "/orgs/acme/billing/?outcome=no_result"


def test_the_form_offers_what_there_is_and_keeps_what_is_chosen(read: Read, acme: Organization) -> None:
    mix(acme)
    html = read("usage", filters="1", range="30d", group="tool", provider="hunter")
    assert '<option value="hunter" selected>' in html
    assert "<option>apollo.person</option>" in html
    assert '<input type="hidden" name="group" value="tool">' in html


def test_two_days_are_cut_by_hours_and_an_hour_leads_to_its_charges(read: Read, acme: Organization) -> None:
    spend(acme, 2)
    clock.advance(timedelta(hours=1))
    spend(acme, 3)
    today = clock.clock().astimezone(acme.tz).date()
    html = read(first=str(today - timedelta(days=1)), last=str(today), daily="1")
    assert "All hours 5" in words(html)
    hours = re.findall(r"hour=(\w+)", html)
    filled = [hour for hour in dict.fromkeys(hours) if 'class="is-captured"' in read("charges", hour=hour)]
    assert len(filled) == 2


def test_hours_with_too_many_calls_are_one_day(read: Read, acme: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    spend(acme, 2, calls=3)
    monkeypatch.setattr(usage, "MOST_CALLS", 2)
    today = str(clock.clock().astimezone(acme.tz).date())
    assert "By day: too many calls settled to show their hours." in words(read(first=today, last=today))


def test_a_long_range_is_cut_in_weeks_then_months_that_narrow_it(read: Read, acme: Organization) -> None:
    spend(acme)
    today = clock.clock().astimezone(acme.tz).date()
    weeks = read(first=str(today - timedelta(days=100)), last=str(today), daily="1")
    months = read(first=str(today - timedelta(days=300)), last=str(today), daily="1")
    assert "All weeks 1" in words(weeks)
    assert "All months 1" in words(months)
    assert f"first={today.replace(day=1)}&amp;last={today}" in months


def test_many_providers_are_ten_and_the_others(read: Read, acme: Organization) -> None:
    give(acme, 1000)
    run = open_run(acme.pk, 100, begin=60)
    settle(acme.pk, run, *(attempt(n, 1, 1, tool=f"provider{n:02}.tool") for n in range(1, 61)))
    html = read("usage", range="30d")
    assert html.count('class="spark"') == 10
    assert "50 others 50 50 83.3%" in words(html)
    assert read("usage", range="30d", all="1").count('class="spark"') == 60


@pytest.mark.parametrize("amount", ["0.0001", "99999999"])
def test_the_least_and_the_most_credits_are_shown_as_they_are(read: Read, acme: Organization, amount: str) -> None:
    give(acme, amount)
    run = open_run(acme.pk, amount, begin=1, unit=amount)
    settle(acme.pk, run, attempt(1, amount, amount))
    assert f"All 1 {Decimal(amount):,}" in words(read("usage", range="30d"))


def test_the_form_keeps_the_day_and_the_tables_that_are_open(read: Read, acme: Organization) -> None:
    mix(acme)
    today = clock.clock().astimezone(acme.tz).date().isoformat()
    hour = f"{clock.clock():%Y%m%dT%H00Z}"
    html = read("usage", filters="1", range="30d", day=today, daily="1", course="1")
    kept = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)">', html))
    assert kept == {"range": "30d", "day": today, "daily": "1", "course": "1"}
    assert f'name="hour" value="{hour}"' in read("usage", filters="1", hour=hour)


def test_a_day_outside_the_days_chosen_since_is_not_asked_for_any_more(read: Read, acme: Organization) -> None:
    mix(acme)
    today = clock.clock().astimezone(acme.tz).date()
    day = (today - timedelta(days=9)).isoformat()
    assert "No charges here." in words(read("charges", range="30d", day=day))
    assert "No charges here." not in words(read("charges", first=str(today), day=day))


@pytest.mark.parametrize("part", [{"day": "9999-12-31"}, {"day": "0001-01-01"}, {"hour": "00010101T0000Z"}])
def test_a_part_out_of_reach_is_not_found(read: Read, part: dict[str, str]) -> None:
    read("charges", status=404, **part)
