"""What happens in the demo, when: six weeks of grants and runs, most in working hours. Pure, and always the same.

For `seed_demo`, which lives it by the same verbs as everybody.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from runs.management.demo.cast import ACME, BUYERS, FILLINGS, LISTS, ORGS, Filling, List, Org

WEEKS = 6
# How many runs a day somebody starts, as (weekday, weekend) shares of a hundred; how many rows a run has.
PACES = {
    "daily": ((170, 50), (30, 60)),
    "often": ((35, 8), (20, 40)),
    "sometimes": ((9, 0), (10, 25)),
    "short": ((20, 0), (20, 40)),
    "quiet": ((2, 0), (8, 15)),
    "new": ((40, 10), (5, 15)),
}
# Credits, days they last, source; given when an organization begins.
WELCOME = {
    "daily": ((1500, 6, "promo"), (9000, 365, "top_up")),
    "often": ((300, 9, "promo"), (2500, 365, "top_up")),
    "sometimes": ((400, 60, "promo"),),
    "short": ((130, 60, "promo"),),
    "quiet": ((100, 21, "promo"), (150, 365, "top_up")),
    "new": ((250, 30, "promo"),),
}


@dataclass(frozen=True)
class Opened:
    """An organization joins."""

    at: datetime
    org: Org


@dataclass(frozen=True)
class Given:
    at: datetime
    org: Org
    credits: int
    days: int
    source: str
    reason: str | None = None


@dataclass(frozen=True)
class Taken:
    at: datetime
    org: Org
    credits: int
    reason: str


@dataclass(frozen=True)
class Started:
    """A run over so many rows. `cap`: in hundredths of what it may cost at most. `then`: what a person does with it."""

    at: datetime
    org: Org
    by: str
    list: List
    filling: Filling | str  # a column, or a capability or template by its key
    rows: int
    cap: int = 115
    then: str = ""


@dataclass(frozen=True)
class Subscribed:
    """Somebody subscribes for the organization, as `cast.BUYERS` tells."""

    at: datetime
    org: Org


type Act = Opened | Given | Taken | Started | Subscribed


def acts(begun: datetime) -> list[Act]:
    """All that happens from `begun` to the demo's present, WEEKS later."""
    until = begun + timedelta(weeks=WEEKS)
    told = [act for org in ORGS for act in _life(org, begun, until)]
    told += [*_acme(begun), *_open_ends(until), *_subscribers(begun, until)]
    return sorted((act for act in told if act.at < until), key=_when)


def _when(act: Act) -> datetime:
    return act.at


def _life(org: Org, begun: datetime, until: datetime) -> Iterator[Act]:
    chance = random.Random(org.name)  # noqa: S311 - a story, not a secret
    opened = until - timedelta(days=chance.randint(2, 6), hours=5) if org.pace == "new" else begun
    yield Opened(opened, org)
    for credits, days, source in WELCOME[org.pace]:
        yield Given(opened, org, credits, days, source, "Paid by bank transfer" if source == "top_up" else "Welcome")
    for instant in _instants(org, chance, opened, until - timedelta(hours=1)):
        yield _run(org, chance, instant)


def _instants(org: Org, chance: random.Random, start: datetime, end: datetime) -> Iterator[datetime]:
    """When somebody starts a run: in working hours of the organization's day, fewer at weekends."""
    (weekday, weekend), _ = PACES[org.pace]
    for day in range((end - start).days + 2):
        date = (start + timedelta(days=day)).date()
        share = weekend if date.weekday() >= 5 else weekday
        for _ in range(share // 100 + (chance.randrange(100) < share % 100)):
            minutes = round(chance.triangular(8 * 60, 19 * 60, 10 * 60 + 30))
            instant = datetime.combine(date, time(), UTC) + timedelta(minutes=minutes, seconds=chance.randrange(60))
            if start + timedelta(minutes=5) < instant < end:
                yield instant


def _run(org: Org, chance: random.Random, at: datetime) -> Started:
    source = chance.choice(LISTS)
    fillings = FILLINGS[source.kind]
    [filling] = chance.choices(fillings, weights=[filling.weight for filling in fillings])
    _, rows = PACES[org.pace]
    by = chance.choice(org.people)
    cap, then = 115, ""
    if org.pace in ("daily", "often") and len(filling.cascade) > 1:
        cap, then = chance.choices(((115, ""), (18, "continue"), (22, "cancel")), weights=(88, 8, 4))[0]
    return Started(at, org, by, source, filling, chance.randint(*rows), cap, then)


def _acme(begun: datetime) -> Iterator[Act]:
    """What only Acme lives through besides its runs: more credits, and corrections both ways."""
    yield Given(
        begun + timedelta(days=9, hours=3), ACME, 250, 60, "adjustment", "Goodwill after a slow day at a provider"
    )
    yield Given(begun + timedelta(days=16, hours=5), ACME, 600, 4, "promo", "Webinar guests")
    yield Taken(begun + timedelta(days=18, hours=2), ACME, 120, "The same voucher was entered twice")
    yield Given(begun + timedelta(days=23, hours=4), ACME, 12000, 365, "top_up", "Paid by bank transfer")


def _subscribers(begun: datetime, until: datetime) -> Iterator[Act]:
    """Who subscribed before the demo's present. The others of `cast.BUYERS` do so at the end."""
    for org in ORGS:
        days = next((buyer.days for buyer in BUYERS if buyer.org == org.name), 0)
        if days and until - timedelta(days=days) > begun + timedelta(hours=1):
            yield Subscribed(until - timedelta(days=days), org)


def _open_ends(until: datetime) -> Iterator[Act]:
    """Runs that still wait for somebody at the demo's present, and some that a person stopped halfway."""
    lists = {source.name: source for source in LISTS}
    fillings = {filling.name: filling for kind in FILLINGS.values() for filling in kind}
    alice, bob = ACME.people
    ends = (
        (150, ACME, alice, "Churned trials", "Write an opener", 150, 115, "halfway, cancel"),
        (74, ACME, alice, "Conference list", "Write an icebreaker", 120, 115, "badly, cancel"),
        (51, ACME, bob, "Webinar sign-ups", "Draft a follow-up", 160, 115, "halfway, cancel"),
        (27, ACME, bob, "Q4 outbound leads", "Find work emails", 200, 30, ""),
        (4, ACME, alice, "Target accounts", "Company news summary", 220, 60, "halfway"),
    )
    for hours, org, by, source, filling, rows, cap, then in ends:
        yield Started(until - timedelta(hours=hours), org, by, lists[source], fillings[filling], rows, cap, then)
    # A capability, and a template that Bob asked for and Alice has yet to approve.
    for hours, by, source, named, rows in (
        (6, alice, "Seed-stage fintech", "person", 45),
        (2, bob, "DACH manufacturers", "crm_first", 120),
    ):
        yield Started(until - timedelta(hours=hours), ACME, by, lists[source], named, rows)
    for hours, name, source, filling, cap, then in (
        (30, "Northwind Labs", "Conference list", "Find mobile numbers", 12, ""),
        (25, "Tamarind Robotics", "DACH manufacturers", "Opening angle", 60, "halfway"),
        (49, "Solace Freight", "Conference list", "Enrich people", 15, ""),
    ):
        org = next(org for org in ORGS if org.name == name)
        yield Started(
            until - timedelta(hours=hours), org, org.people[0], lists[source], fillings[filling], 90, cap, then
        )
