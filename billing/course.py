"""How an org's balance went: what was available and reserved at each day's end, and what came and went. Reads only.

The law: it is folded back from the present. What is available is the account's own entries'; what is reserved follows
from it, from what was given and taken by then, and from what the rollups say was captured by then, so that each day
ties out. The account's newest `MOST_MOVES` entries are read, not more: a busy account's days begin later.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.db.models import Max, Min, Sum

from billing import usage
from billing.books import TieOut
from billing.models import Account, Entry, Grant, Organization
from billing.spans import Span
from billing.wanted import place
from oxygen_site import clock

MOST_MOVES = 20_000
MOST_GRANTS = 400
LEAST_DAYS = 7  # a single step says nothing
ZERO = Decimal(0)
# What a kind of entry does to what was given in all, and so to available and reserved together.
GIVES: dict[Any, int] = {
    Entry.Kind.GRANTED: 1,
    Entry.Kind.RESTORED: 1,
    Entry.Kind.EXPIRED: -1,
    Entry.Kind.CLAWED_BACK: -1,
    Entry.Kind.ADJUSTED: -1,
}
MARKS: dict[Any, str] = {
    Grant.Source.PLAN_REFILL: "Refill",
    Grant.Source.PLAN_UPGRADE: "Upgrade",
    Grant.Source.TOP_UP: "Top-up",
    Grant.Source.PROMO: "Given",
    Grant.Source.ADJUSTMENT: "Given",
    Entry.Kind.RESTORED: "Restored",
    Entry.Kind.EXPIRED: "Expired",
    Entry.Kind.CLAWED_BACK: "Clawed back",
    Entry.Kind.ADJUSTED: "Taken away",
}


@dataclass(frozen=True)
class Mark:
    """All that came, or went, in one way on one day."""

    what: str
    amount: Decimal
    comes: bool


@dataclass(frozen=True)
class Day:
    """A day's end; of today, what is there now."""

    day: date
    available: Decimal
    reserved: Decimal
    marks: list[Mark]


@dataclass(frozen=True)
class Course:
    days: list[Day]
    is_cut: bool  # more moved before the first day than is read

    @cached_property
    def column(self) -> list[Decimal]:
        return [value for day in self.days for value in (day.available, day.reserved)]

    @property
    def marked(self) -> list[Day]:
        return [day for day in self.days if day.marks]

    @property
    def is_empty(self) -> bool:
        return not any(self.column) and not self.marked


def read(org: Organization, span: Span, now: datetime, ties: TieOut) -> Course:
    """Read the days of a span, and at least a week of them, back from the tie-out of now. Seven queries."""
    first, today = min(span.first, span.last - timedelta(days=LEAST_DAYS - 1)), now.astimezone(org.tz).date()
    days = [first + timedelta(days=n) for n in range((today - first).days + 1)]
    newest = Account.objects.values_list("account_seq", flat=True).get(org=org.pk)
    edges = clock.day_starts(days, org.zone)
    moves: Any = Entry.objects.filter(org=org.pk, account_seq__gt=newest - MOST_MOVES, at__gte=edges[0])
    moves = moves.annotate(place=place(edges))
    moved = _moved(moves, days)
    available = _available(org, moved, days, ties.available)
    marks, captured = _marks(org, moves, days, moved), usage.captured_by_day(org, first)
    given, spent, ends = ties.available + ties.reserved + ties.captured, ties.captured, []
    for day in reversed(days):
        ends.append(Day(day, available[day], given - spent - available[day], marks[day]))
        given -= sum((GIVES[move.kind] * move.amount for move in moved if move.day == day and move.kind in GIVES), ZERO)
        spent -= captured.get(day, ZERO)
    is_cut = newest - MOST_MOVES > 0 and min((move.first_seq for move in moved), default=0) == newest - MOST_MOVES + 1
    begins = min(move.day for move in moved) + timedelta(days=1) if is_cut else first
    return Course([end for end in ends[::-1] if begins <= end.day <= span.last], is_cut)


@dataclass(frozen=True)
class Moved:
    """All entries of one kind that moved the account on one day."""

    day: date
    kind: Any
    first_seq: int
    last_seq: int
    amount: Decimal


def _moved(moves: Any, days: list[date]) -> list[Moved]:
    rows = moves.values_list("place", "kind").annotate(Min("account_seq"), Max("account_seq"), Sum("amount")).order_by()
    return [Moved(days[n - 1], *figures) for n, *figures in rows]


def _available(org: Organization, moved: list[Moved], days: list[date], now: Decimal) -> dict[date, Decimal]:
    """What was available at the end of each day: after its last move, else as the day before."""
    last: dict[date, int] = {}
    for move in moved:
        last[move.day] = max(move.last_seq, last.get(move.day, 0))
    before = min((move.first_seq for move in moved), default=0) - 1
    entries = Entry.objects.filter(org=org.pk, account_seq__in=[before, *last.values()])
    after = dict(entries.values_list("account_seq", "available_after"))
    available = after.get(before) or ZERO if moved else now
    ends = {}
    for day in days:
        ends[day] = available = after[last[day]] or ZERO if day in last else available
    return ends


def _marks(org: Organization, moves: Any, days: list[date], moved: list[Moved]) -> dict[date, list[Mark]]:
    """What came and went by day: of grants by their source, of the rest by kind."""
    given = moves.filter(kind=Entry.Kind.GRANTED).order_by("-account_seq").values_list("place", "source", "amount")
    grants = list(given[:MOST_GRANTS])
    sources = dict(Grant.objects.filter(org=org.pk, id__in=[id for _, id, _ in grants]).values_list("id", "source"))
    sums: dict[tuple[date, str, bool], Decimal] = defaultdict(Decimal)
    for n, id, amount in grants:
        sums[days[n - 1], MARKS[sources[id]], True] += amount
    for move in moved:
        if move.kind in GIVES and move.kind != Entry.Kind.GRANTED and move.amount:
            sums[move.day, MARKS[move.kind], GIVES[move.kind] > 0] += move.amount
    marks: dict[date, list[Mark]] = defaultdict(list)
    for (day, what, comes), amount in sorted(sums.items()):
        marks[day].append(Mark(what, amount, comes))
    return marks
