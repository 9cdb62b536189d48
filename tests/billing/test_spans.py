"""Days are the org's own, in every zone and over every change of clocks, and they are the ledger's days."""

import re
from collections.abc import Iterator
from csv import DictReader
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import StringIO
from itertools import pairwise
from random import Random
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as some

from billing import breakdown, charges, ledger, orgs, spans, usage
from billing.models import Organization, User
from billing.spans import Span
from billing.wanted import Wanted
from oxygen_site.clock import advance, clock, day_starts
from tests import effort
from tests.billing.moves import attempt, open_run, settle
from tests.billing.test_api import key
from tests.billing.test_overview import words
from tests.conftest import give
from tests.contract import ask

ZONES = sorted(orgs.ZONES)
LISBON = ZoneInfo("Europe/Lisbon")
ZERO = Decimal(0)
SPRING, AUTUMN = date(2027, 3, 28), date(2027, 10, 31)


def of(first: date, days: int, zone: ZoneInfo = LISBON) -> Span:
    return Span("custom", first, first + timedelta(days=days - 1), zone)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("days", "unit", "buckets"),
    [(1, "hour", 24), (2, "hour", 48), (3, "day", 3), (92, "day", 92), (93, "week", 14), (185, "month", 7)],
)
def test_a_span_is_cut_as_its_length_asks(days: int, unit: str, buckets: int) -> None:
    span = of(date(2027, 4, 1), days)
    assert (span.unit, len(span.buckets)) == (unit, buckets)


@pytest.mark.django_db
@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_a_day_on_which_clocks_change_has_as_many_hours_as_it_has(day: date, hours: int) -> None:
    assert len(of(day, 1).buckets) == hours


@pytest.mark.django_db
def test_a_zone_that_changes_by_half_an_hour_keeps_its_days_apart() -> None:
    span = of(date(2027, 4, 3), 2, ZoneInfo("Australia/Lord_Howe"))
    assert [bucket.first for bucket in span.buckets].count(date(2027, 4, 3)) == 24
    assert len(span.buckets) == 49  # the 4th has 24 and a half


@given(some.sampled_from(ZONES), some.dates(date(2026, 1, 1), date(2030, 1, 1)), some.integers(1, 400))
def test_a_span_is_its_buckets_without_gap_or_overlap(zone: str, first: date, days: int) -> None:
    span = replace(of(first, days, ZoneInfo(zone)), hours=False)
    bounds = [(bucket.first, bucket.last) for bucket in span.buckets]
    assert bounds[0][0] == span.first
    assert bounds[-1][1] == span.last
    assert all(next_first - last == timedelta(days=1) for (_, last), (next_first, _) in pairwise(bounds))


@pytest.mark.django_db
def test_days_that_somebody_names_are_put_right(acme: Organization) -> None:
    now = clock()
    today = now.astimezone(acme.tz).date()
    week_ago = today - timedelta(days=7)
    turned = spans.custom(today, week_ago, acme, now)
    assert (turned.first, turned.last, turned.is_open) == (week_ago, today, True)
    assert spans.custom(week_ago, date.max, acme, now).last == today
    assert len(spans.custom(date.min, today, acme, now).days) == spans.MOST_DAYS
    assert spans.custom(date.min, date.min, acme, now).is_open is False


@pytest.mark.django_db
def test_the_last_cycle_ends_where_this_one_begins(acme: Organization) -> None:
    this, last = (spans.span(key, acme, clock()) for key in ("cycle", "last"))
    assert last.last == this.first - timedelta(days=1)
    assert 28 <= len(last.days) <= 31


# ------------------------------------------------------------------ the ledger's days


def changes(year: int) -> set[date]:
    """The days of UTC on which some zone of the world changes its clocks."""
    found = set()
    for name in ZONES:
        zone = ZoneInfo(name)
        first = datetime(year, 1, 1, tzinfo=UTC)
        offsets = [(first + timedelta(days=n)).astimezone(zone).utcoffset() for n in range(366)]
        found |= {(first + timedelta(days=n)).date() for n in range(365) if offsets[n] != offsets[n + 1]}
    return found


def around(year: int) -> Iterator[datetime]:
    """Instants around each of them, often enough that no zone's midnight is without one on either side."""
    for day in sorted(changes(year)):
        start = datetime.combine(day, time.min, UTC) - timedelta(hours=13)
        yield from (start + timedelta(minutes=41 * n) for n in range(90))


@pytest.mark.django_db
def test_a_day_begins_with_its_first_instant_in_every_zone() -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(730)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_timezone_names")
        known = sorted({name for (name,) in cursor.fetchall()} & set(ZONES))
        assert len(known) > 590
        for zone in Random(effort.SEED).sample(known, effort.effort(len(known))):
            starts = day_starts(days, zone)
            cursor.execute(
                "SELECT ledger.local_day(at, %s), ledger.local_day(at - interval '1 microsecond', %s)"
                " FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS u (at, n) ORDER BY n",
                [zone, zone, starts],
            )
            assert cursor.fetchall() == [(day, day - timedelta(days=1)) for day in days], zone


def own_changes(zone: str, year: int) -> list[date]:
    """The days of a zone's own whose clocks are changed."""
    days = [date(year, 1, 1) + timedelta(days=n) for n in range(366)]
    starts = day_starts(days, zone)
    return [day for day, (start, end) in zip(days, pairwise(starts), strict=False) if end - start != timedelta(days=1)]


def of_the_ledger(org: Organization, span: Span, outcome: str | None = None) -> Decimal:
    """Sum the entries of a span's days, each by itself."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(amount), 0) FROM ledger.entry WHERE org = %s AND account_seq IS NULL"
            " AND outcome = coalesce(%s, outcome) AND ledger.local_day(at, %s) BETWEEN %s AND %s",
            [org.pk, outcome, span.zone.key, span.first, span.last],
        )
        return Decimal(cursor.fetchone()[0])


@pytest.fixture
def year(acme: Organization) -> int:
    """The coming year, which Acme lives through: it spends wherever in the world clocks are changed."""
    year = clock().year + 1
    give(acme, 10_000, days=900)
    run = open_run(acme.pk, 10_000)
    for n, at in enumerate(list(around(year))[::3], 1):
        advance(at - clock())
        ledger.admit(acme.pk, run, 1, Decimal(1))
        settle(acme.pk, run, attempt(n, Decimal(n % 7 + 1) / 8, 1, outcome=["succeeded", "no_result"][n % 2]))
    return year


@pytest.mark.django_db
def test_days_add_up_to_the_range_and_to_the_ledger_in_every_zone(acme: Organization, year: int) -> None:
    """Each zone of the world in the soak, over a change of its own clocks where it has any, and over any days."""
    chance = Random(effort.SEED)
    for zone in chance.sample(ZONES, effort.effort(len(ZONES))):
        ledger.change_zone(acme.pk, zone)
        acme.zone = zone
        changed = chance.choice(own_changes(zone, year) or [date(year, 6, 1)])
        length = chance.choice([1, 2, chance.randint(3, 92), chance.randint(93, 365)])
        first = changed - timedelta(days=chance.randrange(length))
        wanted, by = Wanted(outcome=chance.choice([None, "no_result"])), chance.choice(list(breakdown.GROUPS))
        says = f"{zone}, {length} days from {first}, by {by}, {wanted.outcome}"
        assert_ties_out(acme, of(first, length, ZoneInfo(zone)), wanted, by, changed, says)


def assert_ties_out(org: Organization, span: Span, wanted: Wanted, by: str, changed: date, says: str) -> None:
    """The page's sum is that of its buckets, the API's of its days, the file's of its lines, the ledger's of its
    entries; and the day on which clocks are changed is by itself what it is within the span.
    """
    page, api = breakdown.read(org, span, wanted, by), usage.summed(org, "day", span, wanted)
    part = charges.Part(*span.instants(), span)
    file = list(charges.lines(org, part, wanted, span.zone))
    total = of_the_ledger(org, span, wanted.outcome)
    assert page.total.sum == sum(page.total.measured, ZERO) == total, says
    assert api.total.credits == sum((day.credits for day in api.groups), ZERO) == total, says
    assert sum((Decimal(str(line[-2])) for line in file), ZERO) == total, says
    assert len(file) == page.total.calls == api.total.calls == charges.read(org, part, wanted).total, says
    within = {day: part.credits for day, part in zip(span.days, api.groups, strict=True)}
    if span.unit == "day":
        assert [within[bucket.first] for bucket in span.buckets] == page.total.measured, says
    alone = of(changed, 1, span.zone)
    assert breakdown.read(org, alone, wanted, by).total.sum == within[changed], says
    assert usage.summed(org, "day", alone, wanted).total.credits == within[changed], says


@pytest.mark.django_db
def test_page_file_and_api_say_the_same_over_a_change_of_clocks(
    client: Client, alice: User, acme: Organization, year: int
) -> None:
    client.force_login(alice)
    api_key = key(acme, alice)
    for zone in ("Europe/Lisbon", "America/Santiago", "Australia/Lord_Howe", "Pacific/Apia"):
        orgs.change_zone(acme, zone)
        changed = (own_changes(zone, year) or [date(year, 4, 4)])[0]
        for days in (1, 30):
            asked = {"first": str(changed), "last": str(changed + timedelta(days=days - 1))}
            page = words(client.get("/orgs/acme/billing/", asked).content.decode())
            file = client.get("/orgs/acme/billing/usage.csv", asked).getvalue().decode()
            api = ask(f"/usage/aggregates?by=day&{urlencode(asked)}", api_key).data["total"]
            rows = list(DictReader(StringIO(file)))
            said = re.search(r"All ([\d,]+) ([\d.,]+) ", page)
            says = f"{zone}, {days} days from {changed}"
            assert said, says
            assert api["credits"] > 0, says
            credits = sum(Decimal(row["credits"]) for row in rows)
            assert credits == Decimal(said[2].replace(",", "")) == api["credits"], says
            assert len(rows) == int(said[1].replace(",", "")) == api["calls"], says
