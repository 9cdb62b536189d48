"""Spans of whole days in an organization's own zone, and the buckets that a chart cuts them in.

The law: a span is exactly its buckets, one after the other, and its days are those of the ledger's rollups, also where
clocks are changed. When a day begins is asked of the database, which cuts the rollups: its book of zones may be of
another year than Python's. Hours are counted from the beginning of their day: one of 23 or 25 hours has as many.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

from billing import plans
from billing.models import Organization
from oxygen_site import clock

RANGES = {"cycle": "This cycle", "7d": "7 days", "30d": "30 days", "90d": "90 days", "last": "Last cycle"}
ALL_RANGES = RANGES | {"custom": "Chosen days"}
MOST_DAYS = 400  # read at once
BY_HOUR, BY_DAY, BY_WEEK = 2, 92, 184  # up to so many days
EARLIEST = date(2000, 1, 1)  # before any ledger
A_DAY, AN_HOUR = timedelta(days=1), timedelta(hours=1)


@dataclass(frozen=True)
class Bucket:
    """What one bar is of: the days from `first` to `last`, or of one day an hour, from `start` on."""

    unit: str
    first: date
    last: date
    start: datetime | None = None

    @property
    def key(self) -> str:
        """What the page's URL says of it."""
        if self.start:
            return f"{self.start:%Y%m%dT%H%MZ}"
        return self.first.isoformat() if self.unit == "day" else f"{self.first} {self.last}"

    def label(self, zone: ZoneInfo) -> str:
        """Write its beginning, short, for the axis."""
        if self.start:
            return f"{self.start.astimezone(zone):%H:%M}"
        return f"{self.first:%b %Y}" if self.unit == "month" else f"{self.first:%-d %b}"

    def name(self, zone: ZoneInfo) -> str:
        """Write what it is, in full."""
        if self.start:
            return f"{self.start.astimezone(zone):%a %-d %b, %H:%M}"
        if self.unit == "day":
            return f"{self.first:%a %-d %b %Y}"
        return f"{self.first:%-d %b} to {self.last:%-d %b %Y}"


@dataclass(frozen=True)
class Span:
    """Whole days of the org's zone, `first` and `last` included. `is_open`: the last is today, and not over yet."""

    key: str
    first: date
    last: date
    zone: ZoneInfo
    is_open: bool = False
    hours: bool = True  # a short one is cut by the hour

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    @property
    def before(self) -> "Span":
        """As many days, right before."""
        length = timedelta(days=len(self.days))
        return replace(self, first=self.first - length, last=self.last - length, is_open=False)

    @property
    def unit(self) -> str:
        count = len(self.days)
        if count <= BY_HOUR and self.hours:
            return "hour"
        return "day" if count <= BY_DAY else "week" if count <= BY_WEEK else "month"

    @cached_property
    def buckets(self) -> list[Bucket]:
        return list(self._hours() if self.unit == "hour" else self._days())

    @property
    def edges(self) -> list[datetime]:
        """The instants at which the buckets begin. One query."""
        if self.unit == "hour":
            return [bucket.start for bucket in self.buckets if bucket.start]
        return clock.day_starts([bucket.first for bucket in self.buckets], self.zone.key)

    def instants(self, day: date | None = None) -> tuple[datetime, datetime]:
        """The span, or one day of it, as instants [start, end). One query."""
        first, last = (day, day) if day else (self.first, self.last)
        start, end = clock.day_starts([first, last + A_DAY], self.zone.key)
        return start, end

    def _hours(self) -> Iterator[Bucket]:
        starts = clock.day_starts([*self.days, self.last + A_DAY], self.zone.key)
        for day, (start, end) in zip(self.days, pairwise(starts), strict=True):
            while start < end:
                yield Bucket("hour", day, day, start)
                start += AN_HOUR

    def _days(self) -> Iterator[Bucket]:
        first = self.first
        while first <= self.last:
            last = min(_last_of(self.unit, first), self.last)
            yield Bucket(self.unit, first, last)
            first = last + A_DAY


def span(key: str, org: Organization, now: datetime, chosen: tuple[date | None, date | None] = (None, None)) -> Span:
    """Give the span of a range: its days up to today, of a credit month, or those between two. One query at most."""
    today = now.astimezone(org.tz).date()
    if key == "custom" and any(chosen):
        ends = _ends(*chosen, today)
        return Span(key, min(ends), max(ends), org.tz)
    if key in ("cycle", "last", "custom"):
        live = plans.subscription(org)
        start, _ = plans.month(org, live, now)
        first = start.astimezone(org.tz).date()
        if key == "last":
            before, _ = plans.month_before(org, live, start)
            return Span(key, min(before.astimezone(org.tz).date(), first - A_DAY), first - A_DAY, org.tz)
        return Span(key, first, today, org.tz, is_open=True)
    return Span(key, today - timedelta(days=int(key.removesuffix("d")) - 1), today, org.tz, is_open=True)


def custom(first: date | None, last: date | None, org: Organization, now: datetime) -> Span:
    """Give the span between two days: turned round where it must be, none to come, at most the last `MOST_DAYS`."""
    today = now.astimezone(org.tz).date()
    ends = sorted(max(min(day, today), EARLIEST) for day in _ends(first, last, today))
    earliest = ends[1] - timedelta(days=MOST_DAYS - 1)
    return Span("custom", max(ends[0], earliest), ends[1], org.tz, is_open=ends[1] == today)


def _ends(first: date | None, last: date | None, today: date) -> tuple[date, date]:
    """From the first of two days to the last; without a last to today, without a first that day alone."""
    return first or last or today, last or today


def _last_of(unit: str, first: date) -> date:
    """The last day of the week or month that `first` is in; of a day, itself."""
    if unit == "week":
        return first + timedelta(days=6 - first.weekday())
    if unit == "month":
        return (first.replace(day=1) + timedelta(days=31)).replace(day=1) - A_DAY
    return first
