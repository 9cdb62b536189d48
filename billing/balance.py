"""What an org has, holds and spends, and for how long it lasts. Reads only; for pages, the API and the runs' pages."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import takewhile
from uuid import UUID

from django.db.models import FETCH_RAISE, Sum

from billing import books, charts, plans, runway, usage
from billing.models import Entry, Grant, Organization, UsageByTool
from billing.runway import Runway, Store

NEXT_GRANTS = 4
MOST_GRANTS = 200  # told apart on the runway; what is in further ones counts as if it were in the last of them
MOVES = 1000  # of the account, read for the course
ZERO = Decimal(0)


@dataclass(frozen=True)
class Balance:
    """One org's balance as booked, beside what this credit month captured. Credits."""

    standing: plans.Standing
    tie_out: books.TieOut
    since: date  # the org's day on which the credit month began
    next: date
    captured: Decimal
    captured_before: Decimal  # in the credit month before, up to the end of the day that is as far into it
    open_grants: list[Grant]  # with something left, in the order in which they burn
    refill: plans.Refill | None
    pace: Decimal | None
    runway: Runway | None
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
    def is_new(self) -> bool:
        """Nothing was ever captured, and nothing is held."""
        return not self.tie_out.captured and not self.reserved

    @property
    def daily(self) -> Decimal | None:
        """The pace, to the whole credit where it is above 10: it is an estimate."""
        return self.pace and self.pace.quantize(Decimal(1) if self.pace > 10 else Decimal("0.1"))

    @property
    def days(self) -> int | None:
        """How many days the available credits last at the pace, with what comes and goes; None: not known, or long."""
        return self.runway.days if self.runway else None

    @property
    def grants(self) -> list[Grant]:
        return self.open_grants[:NEXT_GRANTS]

    @property
    def left(self) -> list[Decimal]:
        return [grant.remaining for grant in self.grants]

    @property
    def expiry(self) -> tuple[datetime, Decimal] | None:
        """When something expires next if nothing burns it before, and how much."""
        if not self.open_grants:
            return None
        at = self.open_grants[0].expires_at
        return at, sum((g.remaining for g in takewhile(lambda g: g.expires_at == at, self.open_grants)), ZERO)

    @property
    def grew(self) -> bool:
        return self.captured >= self.captured_before

    @property
    def change(self) -> Decimal | None:
        """How far this month's capturing differs from the month's before, as far into it."""
        return abs(self.captured - self.captured_before) / self.captured_before if self.captured_before else None

    @property
    def burn(self) -> charts.BurnChart | None:
        return charts.burn(self.course, (self.next - self.since).days, self.daily) if self.course else None

    @property
    def column(self) -> list[Decimal]:
        return [self.captured, self.reserved, self.available]

    def _share(self, part: Decimal) -> Decimal:
        whole = sum(self.column, ZERO)
        return part / whole if whole else ZERO


def read(org: Organization, now: datetime) -> Balance:
    """Read an org's balance. Nine queries at most."""
    standing, tie_out = plans.read(org, now), books.tie_out(org.pk)
    since, following, today = (at.astimezone(org.tz).date() for at in (*standing.month, now))
    earlier = plans.month_before(org, standing.subscription, standing.month[0])[0].astimezone(org.tz).date()
    month, before = _captured(org, since, earlier, today)
    grants = Grant.objects.filter(org=org.pk, open=True).order_by("expires_at", "effective_at", "key")
    open_grants = list(grants.fetch_mode(FETCH_RAISE)[:MOST_GRANTS])
    pace, refill = usage.pace(org, today), standing.next_refill(now)
    left = [(grant.remaining, grant.expires_at) for grant in open_grants]
    return Balance(
        standing=standing,
        tie_out=tie_out,
        since=since,
        next=following,
        captured=month,
        captured_before=before,
        open_grants=open_grants,
        refill=refill,
        pace=pace,
        runway=runway.lasts(pace, today, stores(org, tie_out.available, left, refill)) if pace else None,
        course=_course(org, since, today),
    )


def version(org: Organization, now: datetime) -> tuple[object, ...]:
    """Tell apart what `read` answers: other than before once any of it but what open runs do moved. Two queries."""
    live = plans.subscription(org)
    paid = live and (live.pk, live.status, live.price_id, live.next_price_id, live.cancel_at_period_end)
    return books.tie_out(org.pk), paid, plans.month(org, live, now), now.astimezone(org.tz).date()


def _captured(org: Organization, since: date, earlier: date, today: date) -> tuple[Decimal, Decimal]:
    """What was captured since the month began, and since the month before did, as far into it."""
    by_day = usage.captured_by_day(org, earlier)
    as_far = min(earlier + (today - since), since - timedelta(days=1))
    return (
        sum((credits for day, credits in by_day.items() if day >= since), ZERO),
        sum((credits for day, credits in by_day.items() if day <= as_far), ZERO),
    )


type Left = tuple[Decimal, datetime]  # what is left of an open grant, and until when


def stores(
    org: Organization, available: Decimal, grants: Sequence[Left], refill: plans.Refill | None
) -> Iterable[Store]:
    """Give what is there, grants soonest to expire first, and what comes. Expiry is a day of the org's."""
    grants = grants[:MOST_GRANTS]
    for remaining, expires_at in grants:
        yield Store(remaining, expires_at.astimezone(org.tz).date())
    if more := available - sum((remaining for remaining, _ in grants), ZERO):
        yield Store(more, grants[-1][1].astimezone(org.tz).date())
    if refill:
        for at in refill.times(13):
            expires, comes = (each.astimezone(org.tz).date() for each in (refill.expiry(at), at))
            yield Store(refill.credits, expires, comes)


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
