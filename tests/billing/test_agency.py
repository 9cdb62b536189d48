"""GET /agency/: what burns first, a line for each client, who used how much; and the same as a file."""

import csv
import re
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.test import Client as Browser

from billing import agencies, balance, breakdown, ledger, orgs, spans
from billing.agencies import Board, Client
from billing.models import Agency, Organization, Role, User
from billing.views.agency import PAGE
from billing.wanted import Wanted
from oxygen_site import clock
from tests.billing.moves import attempt, open_run, settle
from tests.billing.reading import Read, reader
from tests.billing.test_api import FREE, GROWTH, SCALE, plan, price, subscribed
from tests.billing.test_overview import spend, words
from tests.conftest import give

pytestmark = pytest.mark.django_db


@pytest.fixture
def read(client: Browser, harriet: User, harbor: Agency) -> Read:
    """Read Harbor's board as Harriet, whole or the fragment that htmx asks for."""
    return reader(client, harriet, "/agency/")


@pytest.fixture
def bluefin(harbor: Agency) -> Organization:
    org = harbor.clients.get()
    give(org, 100, days=60)
    return org


def another(harbor: Agency, name: str, credits: int = 0, zone: str = "UTC") -> Organization:
    org = orgs.create(name, zone, agency=harbor)
    if credits:
        give(org, credits, days=60)
    return org


def board(harbor: Agency) -> Board:
    return agencies.board(harbor, clock.clock())


def only(harbor: Agency) -> Client:
    (client,) = board(harbor).clients
    return client


def names(html: str) -> list[str]:
    return re.findall(r'class="org-name">([^<]+)<', html)


def three_days(org: Organization, credits: int = 7) -> None:
    for _ in range(3):
        spend(org, credits)
        clock.advance(timedelta(days=1))


# ------------------------------------------------------------------ a line for each client


def test_a_client_is_shown_as_its_own_page_shows_it(harbor: Agency, bluefin: Organization) -> None:
    three_days(bluefin)
    ledger.pause(bluefin.pk, open_run(bluefin.pk, 40), True)
    open_run(bluefin.pk, 5)
    client, own = only(harbor), balance.read(bluefin, clock.clock())
    assert (client.available, client.reserved) == (own.available, own.reserved) == (34, 45)
    assert client.runway == own.runway
    assert client.days == own.days == 11
    month = spans.span("30d", bluefin, clock.clock())
    assert client.captured == breakdown.read(bluefin, month, Wanted()).total.sum == 21
    assert (client.paused, client.runs) == (1, 5)


def test_a_refill_that_comes_tomorrow_counts_as_on_the_clients_own_page(harbor: Agency, bluefin: Organization) -> None:
    three_days(bluefin, 28)
    assert only(harbor).days == 1
    subscribed(bluefin, price(plan(**GROWTH | {"credits": 300}), 4900), days=2)
    client, own = only(harbor), balance.read(bluefin, clock.clock())
    assert client.runway == own.runway
    assert client.days == own.days == (100 - 3 * 28 + 300) // 12
    assert (client.is_low, board(harbor).fires) == (False, [])


def test_what_expires_soon_counts_as_on_the_clients_own_page(harbor: Agency, bluefin: Organization) -> None:
    brief = another(harbor, "Brief", 10)
    give(brief, 590, days=5)
    three_days(brief, 14)
    client, own = board(harbor).clients[-1], balance.read(brief, clock.clock())
    assert client.runway == own.runway
    assert client.days == own.days == 2 + 10 // 6
    assert [fire.kind for fire in board(harbor).fires] == ["low", "expiring"]
    assert [each.name for each in board(harbor).picked(show="low")] == ["Brief"]


def test_beyond_what_anybody_knows_is_said_so_and_sorted_as_the_longest(
    read: Read, client: Browser, harbor: Agency, bluefin: Organization
) -> None:
    plan(**FREE)
    another(harbor, "Quiet")
    short = another(harbor, "Short", 30)
    for _ in range(3):
        spend(bluefin)
        spend(short, 9)
        clock.advance(timedelta(days=1))
    html = read()
    assert names(html) == ["Short", "Bluefin", "Quiet"]
    assert names(read(sort="-runway")) == ["Bluefin", "Short", "Quiet"]
    assert re.findall(r"(?:Over 365|\b0) d\b|Not enough data", words(html)) == ["0 d", "Over 365 d", "Not enough data"]
    assert [row["runway_days"] for row in rows(client)] == ["0", "over 365", ""]


def test_what_an_open_run_has_captured_is_not_reserved(harbor: Agency, bluefin: Organization) -> None:
    settle(bluefin.pk, open_run(bluefin.pk, 10, begin=1, unit=4), attempt(1, 4, 4))
    assert (only(harbor).available, only(harbor).reserved, only(harbor).captured) == (90, 6, 4)


def test_under_three_active_days_there_is_not_enough_data(read: Read, bluefin: Organization) -> None:
    spend(bluefin)
    assert "Not enough data" in read()


def test_captured_and_runs_are_those_of_the_last_thirty_days(harbor: Agency, bluefin: Organization) -> None:
    spend(bluefin, 3)
    clock.advance(timedelta(days=29))
    spend(bluefin, 4)
    assert (only(harbor).captured, only(harbor).runs) == (7, 2)
    clock.advance(timedelta(days=1, minutes=1))
    assert (only(harbor).captured, only(harbor).runs) == (4, 1)


def test_days_are_each_clients_own(harbor: Agency) -> None:
    east, west = another(harbor, "East", 100, "Pacific/Kiritimati"), another(harbor, "West", 100, "Pacific/Pago_Pago")
    spend(east, 2)
    spend(west, 3)
    seen = board(harbor)
    todays = {each.name: each.today for each in seen.clients}
    assert todays["East"] > todays["West"]
    assert dict(seen.used.by_day) | {todays["East"]: 2, todays["West"]: 3} == dict(seen.used.by_day)
    assert sum(credits for _, credits in seen.used.by_day) == seen.captured == 5


def test_a_plan_says_how_it_stands_and_when_it_renews(harbor: Agency, bluefin: Organization) -> None:
    free = plan(**FREE)
    assert (only(harbor).status, only(harbor).plan) == ("Free", free)
    live = subscribed(bluefin, price(plan(**GROWTH), 4900), days=20)
    assert (only(harbor).status, only(harbor).plan) == ("Active", live.plan)
    assert only(harbor).renews_on == live.period_end.astimezone(bluefin.tz).date()
    for facts, status in (
        ({"next_price": price(plan(**SCALE), 9900)}, "Changes"),
        ({"cancel_at_period_end": True}, "Ends"),
        ({"status": "past_due"}, "Payment failed"),
    ):
        type(live).objects.update(**facts)
        assert only(harbor).status == status


def test_no_balance_is_summed(read: Read, harbor: Agency, bluefin: Organization) -> None:
    another(harbor, "Calder", 41)
    html = read()
    assert ">100<" in html
    assert ">41<" in html
    assert "141" not in words(html)


# ------------------------------------------------------------------ fires


def test_what_burns_comes_first_the_gravest_before_the_rest(harbor: Agency, bluefin: Organization) -> None:
    late, low, waits = (another(harbor, name, 30) for name in ("Late", "Low", "Waits"))
    three_days(low, 9)
    subscribed(late, price(plan(**GROWTH), 4900), status="past_due")
    ledger.pause(waits.pk, open_run(waits.pk, 4), True)
    give(bluefin, 50, days=3)
    fires = [(fire.kind, fire.client.name) for fire in board(harbor).fires]
    assert fires == [("past_due", "Late"), ("low", "Low"), ("paused", "Waits"), ("expiring", "Bluefin")]
    assert board(harbor).counts == {"all": 4, "attention": 4, "past_due": 1, "low": 1}


def test_each_fire_has_one_way_on_at_the_client(read: Read, bluefin: Organization) -> None:
    ledger.pause(bluefin.pk, open_run(bluefin.pk, 40), True)
    fire = re.search(r'<li class="fire paused">.*?</li>', read(), re.DOTALL)
    assert fire
    assert "1 run paused, with 40 credits reserved by all its runs." in words(fire[0])
    assert re.findall(r'class="btn small" href="([^"]+)"', fire[0]) == ["/orgs/bluefin/runs/"]


def test_credits_burn_unused_where_the_pace_leaves_them(harbor: Agency) -> None:
    slow, quick = another(harbor, "Slow"), another(harbor, "Quick", 500)
    give(slow, 60, days=5)
    give(quick, 60, days=5)
    for _ in range(3):
        spend(slow, 7)
        spend(quick, 20)
        clock.advance(timedelta(days=1))
    wasted = {each.name: each.wasted for each in board(harbor).clients if each.wasted}
    assert wasted.keys() == {"Slow"}
    assert 0 < wasted["Slow"] < 60


def test_without_fires_nothing_is_said_of_any(read: Read, bluefin: Organization) -> None:
    assert "Needs you first" not in read()


def test_many_fires_are_named_in_part_and_counted(read: Read, harbor: Agency) -> None:
    for n in range(11):
        org = another(harbor, f"Client {n}", 10)
        ledger.pause(org.pk, open_run(org.pk, 1), True)
    html = read()
    assert html.count('<li class="fire') == 8
    assert "3 more: all clients that need attention" in words(html)


# ------------------------------------------------------------------ finding


def test_the_shortest_runway_comes_first_and_no_data_last(read: Read, harbor: Agency) -> None:
    long, short = another(harbor, "Long", 900), another(harbor, "Short", 60)
    for _ in range(3):
        spend(long, 5)
        spend(short, 5)
        clock.advance(timedelta(days=1))
    assert names(read()) == ["Short", "Long", "Bluefin"]
    assert names(read(sort="-runway")) == ["Long", "Short", "Bluefin"]
    assert names(read(sort="name")) == ["Bluefin", "Long", "Short"]
    assert names(read(sort="-available")) == ["Long", "Short", "Bluefin"]


@pytest.mark.parametrize("column", agencies.COLUMNS)
def test_every_column_sorts_up_and_down(read: Read, harbor: Agency, bluefin: Organization, column: str) -> None:
    another(harbor, "Calder", 41)
    assert 'aria-sort="ascending"' in read("clients", sort=column)
    assert 'aria-sort="descending"' in read("clients", sort=f"-{column}")


def test_a_client_is_found_by_a_few_letters(read: Read, harbor: Agency, bluefin: Organization) -> None:
    another(harbor, "Calder Studio")
    assert names(read("clients", q="  STUD ")) == ["Calder Studio"]
    assert "No client matches “zzz”" in words(read("clients", q="zzz"))


def test_a_filter_shows_those_alone(read: Read, harbor: Agency, bluefin: Organization) -> None:
    late = another(harbor, "Late", 30)
    subscribed(late, price(plan(**GROWTH), 4900), status="unpaid")
    assert names(read(show="past_due")) == ["Late"]
    assert names(read(show="attention")) == ["Late"]
    assert names(read(show="low")) == []


def test_htmx_gets_the_fragment_it_asks_for_and_nothing_else(read: Read, bluefin: Organization) -> None:
    assert read("clients").strip().startswith('<div id="clients">')
    assert read("usage").strip().startswith('<section id="usage"')


@pytest.mark.parametrize(
    "query", [{"sort": "secret"}, {"show": "x"}, {"page": "0"}, {"page": "x"}, {"q": "\0"}, {"agency": "7"}]
)
def test_what_makes_no_sense_is_404(read: Read, query: dict[str, str]) -> None:
    read(status=404, **query)


@pytest.mark.parametrize("text", ["%", "\\", "<script>alert(1)</script>", "x" * 5000, "ø"])
def test_any_text_may_be_looked_for(read: Read, text: str) -> None:
    assert "<script>alert" not in read(q=text)


# ------------------------------------------------------------------ who used how much


def test_five_clients_have_a_colour_and_the_rest_share_one(read: Read, harbor: Agency) -> None:
    for n in range(7):
        spend(another(harbor, f"Client {n}", 100), 10 - n)
    used = board(harbor).used
    assert [part.series for part in used.parts] == [1, 2, 3, 4, 5, 0]
    assert (used.others, used.parts[-1].credits) == (2, 4 + 5)
    assert sum(part.credits for part in used.parts) == used.total == 49
    assert words(read(daily="1")).count("All days 49") == 1


def test_new_clients_and_no_clients_have_their_words(read: Read, harbor: Agency) -> None:
    assert "No client captured credits in these days." in read()
    harbor.clients.update(agency=None)
    assert "Harbor looks after no organization so far." in words(read())


# ------------------------------------------------------------------ whose


def test_whoever_works_at_several_chooses(read: Read, harriet: User, harbor: Agency, bluefin: Organization) -> None:
    elsewhere = Agency.objects.create(name="Elsewhere")
    elsewhere.staff.add(harriet)
    assert f'href="/agency/?agency={elsewhere.pk}"' in read()
    assert names(read(agency=str(harbor.pk))) == ["Bluefin"]
    assert names(read(agency=str(elsewhere.pk))) == []


def test_a_clients_page_says_that_one_is_there_for_the_agency(
    client: Browser, alice: User, harriet: User, harbor: Agency, bluefin: Organization
) -> None:
    client.force_login(harriet)
    html = client.get("/orgs/bluefin/billing/").content.decode()
    assert "Viewing as agency: Harbor" in words(html)
    assert f'href="/agency/?agency={harbor.pk}"' in html
    orgs.add_member(bluefin, alice, Role.OWNER)
    client.force_login(alice)
    assert "Viewing as agency" not in client.get("/orgs/bluefin/billing/").content.decode()


# ------------------------------------------------------------------ at any size


@pytest.mark.parametrize("clients", [1, 300])
def test_it_takes_twelve_queries_at_any_number_of_clients(
    read: Read, harbor: Agency, clients: int, django_assert_max_num_queries: Any
) -> None:
    made = [another(harbor, f"Client {n}", 10) for n in range(clients)]
    plan(**FREE)
    growth = price(plan(**GROWTH), 4900)
    for org in made[::50]:
        ledger.pause(org.pk, open_run(org.pk, 1), True)
        spend(org)
        subscribed(org, growth)
    with django_assert_max_num_queries(12):
        html = read()
    assert len(names(html)) == min(clients + 1, PAGE)
    assert len(re.findall(r"<[a-z]", html)) < 1800


def test_clients_page_at_fifty_and_a_page_beyond_the_last_is_the_last(read: Read, harbor: Agency) -> None:
    for n in range(59):
        another(harbor, f"Client {n:02}")
    first, second = read(sort="name"), read(sort="name", page=2)
    assert (len(names(first)), len(names(second))) == (50, 10)
    assert "51 to 60 of 60" in words(second)
    assert names(read(sort="name", page=99)) == names(second)


# ------------------------------------------------------------------ the file


def rows(client: Browser, **query: str) -> list[dict[str, str]]:
    answer = client.get("/agency/clients.csv", query)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(StringIO(b"".join(answer).decode())))


def test_the_file_holds_what_is_filtered_on_all_pages(read: Read, client: Browser, harbor: Agency) -> None:
    for n in range(60):
        another(harbor, f"Client {n:02}")
    assert len(rows(client)) == 61
    assert [row["client"] for row in rows(client, q="client 1", sort="-name")][:2] == ["Client 19", "Client 18"]


def test_the_file_says_the_same_as_the_board(
    read: Read, client: Browser, harbor: Agency, bluefin: Organization
) -> None:
    plan(**FREE)
    three_days(bluefin, 7)
    (row,) = rows(client)
    seen = only(harbor)
    assert row == {
        "client": "Bluefin",
        "address": "bluefin",
        "plan": "Free",
        "status": "Free",
        "available": "79",
        "reserved": "0",
        "runway_days": str(balance.read(bluefin, clock.clock()).days),
        "paused_runs": "0",
        "runs_30_days": "3",
        "captured_30_days": "21",
        "renews_on": seen.renews_on.isoformat(),
    }


def test_no_name_becomes_a_formula(read: Read, client: Browser, harbor: Agency) -> None:
    another(harbor, '=HYPERLINK("https://evil.example")')
    assert {row["client"][0] for row in rows(client)} == {"B", "'"}


def test_credits_of_any_size_are_exact(read: Read, client: Browser, harbor: Agency, bluefin: Organization) -> None:
    give(bluefin, Decimal("99999999.0001") - 100, days=60)
    assert rows(client)[0]["available"] == "99999999.0001"
    assert "99,999,999.0001" in read()
