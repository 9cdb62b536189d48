"""Business time moves over the edges of calendars: changes of the clocks, the ends of months and years, 29 February.

At each edge a grant lapses, of which a run holds some. It lapses once and only when it is due, what is reserved
survives, usage falls on the day it was in the org's own zone, and the month that begins has its partition.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from billing import books, jobs, ledger, orgs
from billing.models import Entry, Grant, UsageByTool, User
from oxygen_site.clock import advance, clock
from tests.billing import moves
from tests.billing.moves import attempt
from tests.tally import Tally

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

type Edge = Callable[[datetime, ZoneInfo], datetime]


def an_hour(now: datetime, zone: ZoneInfo) -> datetime:
    return now + HOUR


def clocks_go_forward(now: datetime, zone: ZoneInfo) -> datetime:
    return _change(now, zone, forward=True)


def clocks_go_back(now: datetime, zone: ZoneInfo) -> datetime:
    return _change(now, zone, forward=False)


def a_month_ends(now: datetime, zone: ZoneInfo) -> datetime:
    return _midnight(now, zone, lambda day: day.day == 1)


def february_has_29_days(now: datetime, zone: ZoneInfo) -> datetime:
    return _midnight(now, zone, lambda day: (day.month, day.day) == (2, 29))


def february_29_ends(now: datetime, zone: ZoneInfo) -> datetime:
    return _midnight(now, zone, lambda day: (day - timedelta(days=1)).day == 29 and (day.month, day.day) == (3, 1))


def a_year_ends(now: datetime, zone: ZoneInfo) -> datetime:
    return _midnight(now, zone, lambda day: (day.month, day.day) == (1, 1))


def _midnight(now: datetime, zone: ZoneInfo, wanted: Callable[[date], bool]) -> datetime:
    """The next local midnight with which such a day begins, an hour away at least."""
    day = (now + HOUR).astimezone(zone).date() + timedelta(days=1)
    while not wanted(day):
        day += timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _change(now: datetime, zone: ZoneInfo, *, forward: bool) -> datetime:
    """The next instant, an hour away at least, from which the zone's clocks show another time."""
    at = now.replace(minute=0, second=0, microsecond=0) + 2 * HOUR
    while not _turns(at, zone, forward):
        at += 30 * MINUTE
    return at


def _turns(at: datetime, zone: ZoneInfo, forward: bool) -> bool:
    before, after = ((at - timedelta(microseconds=1)).astimezone(zone).utcoffset(), at.astimezone(zone).utcoffset())
    assert before is not None
    assert after is not None
    return after > before if forward else after < before


EDGES: list[tuple[Edge, str]] = [
    (an_hour, "UTC"),
    (clocks_go_forward, "Europe/Lisbon"),
    (clocks_go_back, "Europe/Lisbon"),
    (clocks_go_forward, "America/New_York"),
    (clocks_go_back, "America/St_Johns"),
    (clocks_go_forward, "Australia/Lord_Howe"),  # by half an hour
    (clocks_go_back, "Australia/Lord_Howe"),
    (clocks_go_back, "America/Santiago"),  # at midnight: the day before has 25 hours
    (clocks_go_forward, "America/Santiago"),  # at midnight: the day begins at one
    (a_month_ends, "UTC"),
    (a_month_ends, "Asia/Tokyo"),
    (a_month_ends, "America/St_Johns"),
    (february_has_29_days, "UTC"),
    (february_29_ends, "America/New_York"),
    (february_29_ends, "UTC"),
    (a_year_ends, "UTC"),
    (a_year_ends, "Pacific/Kiritimati"),
    (a_year_ends, "Pacific/Pago_Pago"),
]


@pytest.mark.parametrize(("edge", "zone"), EDGES, ids=[f"{edge.__name__}, {zone}" for edge, zone in EDGES])
def test_a_grant_lapses_once_at_the_edge_and_usage_falls_on_its_own_day(
    edge: Edge, zone: str, alice: User, tally: Tally
) -> None:
    org = orgs.create("Acme", zone, owner=alice).pk
    at = edge(clock(), ZoneInfo(zone))
    days: dict[date, Decimal] = {}

    def move_to(instant: datetime) -> None:
        advance(instant - clock())
        jobs.expire_due()
        jobs.expire_due()
        tally("clock moves", 1)

    def settle(run: UUID, item: int, credits: int) -> None:
        moves.settle(org, run, attempt(item, credits, maximum=10))
        day = clock().astimezone(ZoneInfo(zone)).date()
        days[day] = days.get(day, Decimal(0)) + credits

    move_to(at - 40 * MINUTE)
    lapsing, following = grant_until(org, at, 20), grant_until(org, at + HOUR, 30)
    grant_until(org, at + timedelta(days=99), 50)
    run = moves.open_run(org, 60, upto=60, begin=6, unit=10)  # of what lapses first all 20 and 30, then 10
    settle(run, 1, 5)
    beside = grant_until(org, at, 7)

    move_to(at - MINUTE)  # not due yet
    settle(run, 2, 7)
    assert expired(org) == []
    assert moves.left(org, beside) == 7

    move_to(at + MINUTE)  # undrawn it is gone, drawn it stays
    assert expired(org) == [(beside, 7)]
    assert moves.drawn(org, run)[lapsing] == 20
    settle(run, 3, 9)
    another = moves.open_run(org, 4, begin=1, unit=4)  # in the month that begins
    moves.settle(org, another, attempt(1, 4, maximum=4))
    days[clock().astimezone(ZoneInfo(zone)).date()] += 4
    moves.close(org, another)
    assert ledger.make_months() >= 3

    move_to(at + HOUR + MINUTE)
    assert expired(org) == [(beside, 7)]  # the run holds all of the other
    for item in (4, 5, 6):
        settle(run, item, 1)
    assert moves.close(org, run) == 36
    # 24 were spent: the 20, and 4 of the 30. What came back of a lapsed grant lapses at once.
    assert expired(org) == [(beside, 7), (following, 26)]
    move_to(at + 2 * HOUR)
    assert expired(org) == [(beside, 7), (following, 26)]

    assert moves.balance(org) == (46, 0, 28)
    assert {use.day: use.credits for use in UsageByTool.objects.filter(org=org)} == days
    assert books.drifts(org) == []


def grant_until(org: UUID, instant: datetime, credits: int) -> UUID:
    return ledger.grant(
        org,
        key=f"{credits} until {instant}",
        source="promo",
        amount=Decimal(credits),
        expires_at=instant,
        actor="system:test",
    )


def expired(org: UUID) -> list[tuple[UUID, Decimal]]:
    """What lapsed of which grant, in order; none of it before it was due."""
    lapsed = list(Entry.objects.filter(org=org, kind="expired").order_by("account_seq"))
    due = dict(Grant.objects.filter(org=org).values_list("id", "expires_at"))
    assert all(entry.at >= due[entry.source] for entry in lapsed)
    return [(entry.source, entry.amount) for entry in lapsed]


def test_a_clock_that_is_not_moved_past_the_edge_expires_nothing(alice: User) -> None:
    org = orgs.create("Acme", "UTC", owner=alice).pk
    grant_until(org, clock() + HOUR, 5)
    advance(HOUR - MINUTE)
    advance(-HOUR)  # it only grows
    jobs.expire_due()
    assert moves.balance(org) == (5, 0, 0)
