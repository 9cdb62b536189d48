"""An agency's clients at once: a line for each, what burns among them, who used how much. Reads only; for the board.

The law: the same six queries at any number of clients and any length of history, and no balance is ever added to
another's. Sums come from the rollups, in each client's own days; what runs hold, and whether they wait, comes from
their reservations; how long credits last, from the open grants and the plan, as on the client's own page.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from uuid import UUID

from django.db.models import (
    FETCH_RAISE,
    Count,
    DecimalField,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    UUIDField,
    Value,
)

from billing import balance, plans, runway
from billing.balance import Left
from billing.cycles import credit_month
from billing.models import Account, Agency, Grant, Organization, Plan, Reservation, Subscription, UsageByTool
from billing.runway import Runway

DAYS = 30  # of use, today included
LOW = 7  # days of runway
SOON = timedelta(days=7)  # until credits expire
NAMED = 5  # clients with a colour of their own
PLAN = "billing:subscribe"
ZERO = Decimal(0)
COLUMNS = ("name", "paused", "available", "reserved", "runway", "captured", "renewal")
SHOWS = {"all": "All", "attention": "Need attention", "past_due": "Past due", "low": "Low runway"}


@dataclass(frozen=True)
class Client:
    """One client as booked, in credits. `captured`: day by day, over the last 30 of its own; today is the last."""

    org: Organization
    available: Decimal
    reserved: Decimal
    paused: int
    runs: int  # begun in the last 30 days
    today: date
    by_day: list[Decimal]
    runway: Runway | None  # None where there is no pace yet
    subscription: Subscription | None
    plan: Plan | None
    renews_on: date
    wasted: Decimal  # of what expires soon, what its pace leaves
    wasted_by: date | None

    @property
    def name(self) -> str:
        return self.org.name

    @cached_property
    def captured(self) -> Decimal:
        return sum(self.by_day, ZERO)

    @property
    def days(self) -> int | None:
        """How many days the available credits last at its pace, as on its own page; None: not known, or long."""
        return self.runway.days if self.runway else None

    @property
    def known(self) -> int | None:
        """So many days at any rate; None: not known."""
        return self.runway.known if self.runway else None

    @property
    def is_past_due(self) -> bool:
        return self.subscription is not None and self.subscription.is_past_due

    @property
    def is_low(self) -> bool:
        return self.known < LOW if self.known is not None else not self.available and self.captured > 0

    @property
    def needs_attention(self) -> bool:
        return self.is_past_due or self.is_low or self.paused > 0 or self.wasted > 0

    @property
    def status(self) -> str:
        """How its plan stands, in a word or two."""
        live = self.subscription
        if live is None:
            return "Free" if self.plan else "No plan"
        if live.is_past_due:
            return "Payment failed"
        if live.cancel_at_period_end:
            return "Ends"
        if live.next_price and live.next_price != live.price:
            return "Changes"
        return "Active" if live.status == "active" else live.status.capitalize()


@dataclass(frozen=True)
class Fire:
    """What cannot wait at a client, and the one thing to do about it, on one of the client's pages."""

    client: Client
    kind: str  # past_due, low, paused or expiring, the gravest first
    label: str
    to: str  # the name of an address


@dataclass(frozen=True)
class Part:
    """One client's part of what all used; without a client that of the others. `series`: its colour, 0 of these."""

    client: Client | None
    credits: Decimal
    share: Decimal
    bar: Decimal
    series: int
    by_day: list[Decimal]


@dataclass(frozen=True)
class Used:
    """What the clients captured, each in its own last 30 days, by calendar day."""

    days: list[date]
    parts: list[Part]
    others: int  # clients in the last part
    by_day: list[tuple[date, Decimal]]
    total: Decimal

    @property
    def column(self) -> list[Decimal]:
        return [self.total, *(part.credits for part in self.parts), *(credits for _, credits in self.by_day)]


@dataclass(frozen=True)
class Board:
    clients: list[Client]  # by name

    @cached_property
    def captured(self) -> Decimal:
        return sum((client.captured for client in self.clients), ZERO)

    @property
    def runs(self) -> int:
        return sum(client.runs for client in self.clients)

    @property
    def paused(self) -> int:
        return sum(client.paused for client in self.clients)

    @cached_property
    def counts(self) -> dict[str, int]:
        return {show: sum(_shows(client, show) for client in self.clients) for show in SHOWS}

    @cached_property
    def fires(self) -> list[Fire]:
        """What burns, the gravest kind first, and within it whoever has least time left."""
        burning = sorted(self.clients, key=lambda client: (client.known is None, client.known or 0))
        return [
            *(Fire(client, "past_due", "Settle the payment", PLAN) for client in burning if client.is_past_due),
            *(Fire(client, "low", "Add credits", PLAN) for client in burning if client.is_low),
            *(Fire(client, "paused", "Decide", "runs:index") for client in burning if client.paused),
            *(Fire(client, "expiring", "Start a run", "runs:new") for client in burning if client.wasted),
        ]

    def picked(self, text: str = "", show: str = "all", sort: str = "runway") -> list[Client]:
        """Give the clients with `text` in their name that `show` asks for, by a column, `-` before it for downwards.

        Who has no figure in the column comes last, either way.
        """
        sought = text.casefold()
        found = [each for each in self.clients if sought in each.name.casefold() and _shows(each, show)]
        column = sort.removeprefix("-")
        known = [each for each in found if _figure(each, column) is not None]
        known.sort(key=lambda each: _figure(each, column), reverse=sort.startswith("-"))  # type: ignore[arg-type,return-value]
        return known + [each for each in found if _figure(each, column) is None]

    @cached_property
    def used(self) -> Used:
        """Say who used most, day by day: the first five on their own, the rest together."""
        ranked = sorted((each for each in self.clients if each.captured), key=lambda each: -each.captured)
        last = max((each.today for each in self.clients), default=date.min)
        first = min((each.today for each in self.clients), default=date.min) - timedelta(days=DAYS - 1)
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)] if self.clients else []
        columns = [_placed(each, days) for each in ranked]
        most = ranked[0].captured if ranked else ZERO
        parts = [
            Part(each, each.captured, each.captured / self.captured, each.captured / most, rank, column)
            for rank, each, column in zip(range(1, NAMED + 1), ranked, columns, strict=False)
        ]
        if rest := columns[NAMED:]:
            sums = [sum(values, ZERO) for values in zip(*rest, strict=True)]
            credits = sum(sums, ZERO)
            parts.append(Part(None, credits, credits / self.captured, min(credits / most, Decimal(1)), 0, sums))
        by_day = [sum(values, ZERO) for values in zip(*(part.by_day for part in parts), strict=True)]
        return Used(days, parts, len(rest), list(zip(days, by_day or [ZERO] * len(days), strict=True)), self.captured)


def board(agency: Agency, now: datetime) -> Board:
    """Read all clients of an agency. Six queries."""
    orgs = list(_orgs(agency))
    ids = [org.pk for org in orgs]
    todays = {org.pk: now.astimezone(org.tz).date() for org in orgs}
    holds = _holds(ids, now - timedelta(days=DAYS))
    captured = _captured(ids, min(todays.values(), default=now.date()) - timedelta(days=DAYS - 1))
    live = {each.org_id: each for each in plans.subscriptions(ids)}
    open_grants = _open_grants(ids)
    free = plans.free()

    def client(org: Organization) -> Client:
        today, subscription = todays[org.pk], live.get(org.pk)
        in_open_runs, paused, runs = holds.get(org.pk, (ZERO, 0, 0))
        days = captured.get(org.pk, {})
        by_day = [days.get(today - timedelta(days=n), ZERO) for n in reversed(range(DAYS))]
        pace, left = _pace(by_day), open_grants.get(org.pk, [])
        soon = [(remaining, expires_at) for remaining, expires_at in left if expires_at <= now + SOON]
        wasted = _wasted(soon, pace or ZERO, now)
        plan = subscription.plan if subscription else free
        refill = plans.next_refill(plan, subscription, plans.month(org, subscription, now)[1], now)
        available = org.available  # type: ignore[attr-defined]  # of _orgs
        return Client(
            org=org,
            available=available,
            reserved=org.drawn - in_open_runs,  # type: ignore[attr-defined]
            paused=paused,
            runs=runs,
            today=today,
            by_day=by_day,
            runway=runway.lasts(pace, today, balance.stores(org, available, left, refill)) if pace else None,
            subscription=subscription,
            plan=plan,
            renews_on=_renewal(org, subscription, now).astimezone(org.tz).date(),
            wasted=wasted,
            wasted_by=soon[-1][1].astimezone(org.tz).date() if wasted else None,
        )

    return Board([client(org) for org in orgs])


def _orgs(agency: Agency) -> QuerySet[Organization]:
    """The clients by name, each with its account's `available` and `drawn`."""
    account = Account.objects.filter(org=OuterRef("pk"))
    figures = {name: Subquery(account.values(name), output_field=DecimalField()) for name in ("available", "drawn")}
    return Organization.objects.filter(agency=agency).annotate(**figures).fetch_mode(FETCH_RAISE)


def _holds(ids: list[UUID], since: datetime) -> dict[UUID, tuple[Decimal, int, int]]:
    """What open runs have captured, how many of them are paused, and how many runs began since. Run ids tell when."""
    begun = Q(run__gte=Func(Value(since), function="ledger.uuid7_floor", output_field=UUIDField()))
    still = Q(closed_at=None)
    rows = (
        Reservation.objects.filter(still | begun, org__in=ids)
        .values_list("org")
        .annotate(
            in_open_runs=Sum("captured", filter=still, default=ZERO),
            waiting=Count("run", filter=still & Q(paused=True)),
            begun=Count("run", filter=begun),
        )
    )
    return {org: (captured, paused, runs) for org, captured, paused, runs in rows}


def _captured(ids: list[UUID], since: date) -> dict[UUID, dict[date, Decimal]]:
    rows = UsageByTool.objects.filter(org__in=ids, day__gte=since).values_list("org", "day").annotate(Sum("credits"))
    found: dict[UUID, dict[date, Decimal]] = {}
    for org, day, credits in rows:
        found.setdefault(org, {})[day] = credits
    return found


def _open_grants(ids: list[UUID]) -> dict[UUID, list[Left]]:
    """What is left of the grants with something left, soonest to expire first."""
    grants = Grant.objects.filter(org__in=ids, open=True).order_by("expires_at")
    found: dict[UUID, list[Left]] = {}
    for org, remaining, expires_at in grants.values_list("org", "remaining", "expires_at"):
        found.setdefault(org, []).append((remaining, expires_at))
    return found


def _wasted(grants: list[Left], pace: Decimal, now: datetime) -> Decimal:
    """What a pace leaves of grants by the time they expire, to the whole credit: it is an estimate. Soonest first."""
    used = wasted = ZERO
    for remaining, expires_at in grants:
        by_then = pace * ((expires_at - now) // timedelta(hours=1)) / 24
        use = min(remaining, max(ZERO, by_then - used))
        used, wasted = used + use, wasted + remaining - use
    return Decimal(int(wasted))


def _pace(by_day: list[Decimal]) -> Decimal | None:
    active = [credits for credits in by_day[-8:-1] if credits]
    return sum(active, ZERO) / 7 if len(active) >= 3 else None


def _renewal(org: Organization, live: Subscription | None, now: datetime) -> datetime:
    """When its plan renews; the free plan does with each credit month."""
    if live and live.status in Subscription.PAID_FOR:
        return live.period_end
    return credit_month(org.created_at, now)[1]


def _shows(client: Client, show: str) -> bool:
    match show:
        case "attention":
            return client.needs_attention
        case "past_due":
            return client.is_past_due
        case "low":
            return client.is_low
    return True


def _figure(client: Client, column: str) -> object:
    return client.name.casefold() if column == "name" else getattr(client, _FIGURES.get(column, column))


_FIGURES = {"runway": "known", "renewal": "renews_on"}


def _placed(client: Client, days: Iterable[date]) -> list[Decimal]:
    """A client's days among those of all: where a day begins late, another's last is not its own yet."""
    first = client.today - timedelta(days=DAYS - 1)
    return [client.by_day[n] if 0 <= (n := (day - first).days) < DAYS else ZERO for day in days]
