"""What an org has, holds and spends, and for how long it lasts. Reads only; for pages, the API and the runs' pages."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Sum

from billing import books, charts, plans, usage
from billing.models import Entry, Grant, Organization, UsageByTool

NEXT_GRANTS = 4
MOVES = 1000  # of the account, read for the course


@dataclass(frozen=True)
class Balance:
    """One org's balance as booked, beside what this credit month captured. Credits."""

    tie_out: books.TieOut
    since: date  # the org's day on which the credit month began
    next: date
    captured: Decimal
    grants: list[Grant]  # with something left, the next few to burn
    pace: Decimal | None
    course: list[Decimal]  # available at the end of each day since; empty where too much moved to say it cheaply

    @property
    def available(self) -> Decimal:
        return self.tie_out.available

    @property
    def reserved(self) -> Decimal:
        return self.tie_out.reserved

    @property
    def captured_share(self) -> Decimal:
        return self._share(self.captured)

    @property
    def reserved_share(self) -> Decimal:
        return self._share(self.reserved)

    @property
    def is_empty(self) -> bool:
        return not any(self.column)

    @property
    def daily(self) -> Decimal | None:
        """The pace, to the whole credit where it is above 10: it is an estimate."""
        return self.pace and self.pace.quantize(Decimal(1) if self.pace > 10 else Decimal("0.1"))

    @property
    def days(self) -> int | None:
        """How many days the available credits last at the pace; None where there is none yet."""
        return int(self.available / self.pace) if self.pace else None

    @property
    def left(self) -> list[Decimal]:
        return [grant.remaining for grant in self.grants]

    @property
    def burn(self) -> charts.BurnChart | None:
        return charts.burn(self.course, (self.next - self.since).days, self.daily) if self.course else None

    @property
    def column(self) -> list[Decimal]:
        return [self.captured, self.reserved, self.available]

    def _share(self, part: Decimal) -> Decimal:
        whole = sum(self.column, Decimal(0))
        return part / whole if whole else Decimal(0)


def read(org: Organization, now: datetime) -> Balance:
    """Read an org's balance. Six queries."""
    month = plans.month(org, plans.subscription(org), now)
    since, following, today = (at.astimezone(org.tz).date() for at in (*month, now))
    return Balance(
        tie_out=books.tie_out(org.pk),
        since=since,
        next=following,
        captured=usage.captured_since(org, since),
        grants=list(
            Grant.objects.filter(org=org.pk, open=True).order_by("expires_at", "effective_at", "key")[:NEXT_GRANTS]
        ),
        pace=usage.pace(org, today),
        course=_course(org, since, today),
    )


def paces(orgs: Collection[Organization], now: datetime) -> dict[UUID, Decimal | None]:
    """Average what each org captured a day, as `usage.pace` does, for many at once. One query; none for none."""
    if not orgs:
        return {}
    todays = {org.pk: now.astimezone(org.tz).date() for org in orgs}
    week = timedelta(days=7)
    since = UsageByTool.objects.filter(org__in=todays, day__gte=min(todays.values()) - week, credits__gt=0)
    active: dict[UUID, list[Decimal]] = {org: [] for org in todays}
    for org, day, credits in since.values_list("org", "day").annotate(Sum("credits")):
        if todays[org] - week <= day < todays[org]:
            active[org].append(credits)
    return {org: sum(days, Decimal(0)) / 7 if len(days) >= 3 else None for org, days in active.items()}


def _course(org: Organization, since: date, today: date) -> list[Decimal]:
    """Read back from the account's newest move, at most MOVES of them, so that it costs the same at any age."""
    moves = Entry.objects.filter(org=org.pk, account_seq__isnull=False).order_by("-account_seq")
    newest = list(moves.values_list("at", "available_after")[:MOVES])
    ends = {at.astimezone(org.tz).date(): after or Decimal(0) for at, after in reversed(newest)}
    if len(newest) == MOVES and min(ends) >= since:
        return []
    earlier = [day for day in ends if day < since]
    available = ends[max(earlier)] if earlier else Decimal(0)
    course = []
    for n in range((today - since).days + 1):
        available = ends.get(since + timedelta(days=n), available)
        course.append(available)
    return course
