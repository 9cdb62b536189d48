"""An org's statement of a month: what was there, what moved it, what was captured with which tool, what is left.

Reads only; for its page and its CSV. The law: it ties out. What is there in the end is folded back from the present,
on its own, and equals what was there in the beginning and all lines between. Months are cut in the org's own days.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import Count, Sum

from billing import books
from billing.models import Entry, Organization, UsageByTool
from billing.spans import Span

ZERO = Decimal(0)
INSTANT = timedelta(microseconds=1)  # the least the database tells apart
# What one credit of an entry that moves the account does to (available, reserved).
MOVES = {
    Entry.Kind.GRANTED: (1, 0),
    Entry.Kind.RESTORED: (1, 0),
    Entry.Kind.RESERVED: (-1, 1),
    Entry.Kind.RELEASED: (1, -1),
    Entry.Kind.EXPIRED: (-1, 0),
    Entry.Kind.CLAWED_BACK: (-1, 0),
    Entry.Kind.ADJUSTED: (-1, 0),
}
HEAD = (
    *("organization", "month", "time_zone", "line", "provider", "tool", "account", "entries"),
    *("credits", "available", "reserved"),
)


@dataclass(frozen=True)
class Line:
    """All entries of one kind; of calls, those with one tool on one account. The last two are what it moved."""

    kind: Entry.Kind
    entries: int
    credits: Decimal
    available: Decimal
    reserved: Decimal
    provider: str = ""
    tool: str = ""
    byok: bool = False


@dataclass(frozen=True)
class Statement:
    org: Organization
    first: date
    next: date  # the first day of the month after
    opening: books.TieOut
    closing: books.TieOut
    lines: list[Line]
    is_over: bool

    @property
    def captured(self) -> Decimal:
        return sum((line.credits for line in self.lines if line.provider), ZERO)

    @property
    def column(self) -> list[Decimal]:
        ends = [self.opening.available, self.opening.reserved, self.closing.available, self.closing.reserved]
        return ends + [figure for line in self.lines for figure in (line.credits, line.available, line.reserved)]

    @property
    def ties(self) -> bool:
        available = self.opening.available + sum((line.available for line in self.lines), ZERO)
        reserved = self.opening.reserved + sum((line.reserved for line in self.lines), ZERO)
        return (available, reserved) == (self.closing.available, self.closing.reserved)


def read(org: Organization, first: date, now: datetime) -> Statement:
    """Read the statement of the month that begins on `first`; of the running one, up to now. Seven queries."""
    following = later(first)
    month = Span("month", first, following - timedelta(days=1), org.tz)
    start, end = month.instants()
    return Statement(
        org=org,
        first=first,
        next=following,
        opening=books.tie_out_at(org.pk, start - INSTANT),
        closing=books.tie_out_at(org.pk, end - INSTANT),
        lines=[*_moves(org, start, end), *_calls(org, month)],
        is_over=end <= now,
    )


def later(first: date) -> date:
    """Give the first day of the month after."""
    return (first + timedelta(days=31)).replace(day=1)


def earlier(first: date) -> date:
    """Give the first day of the month before."""
    return (first - timedelta(days=1)).replace(day=1)


def rows(statement: Statement) -> Iterator[tuple[object, ...]]:
    """Give the statement line by line under HEAD, as its CSV has it; the lines lead from the opening to the closing."""
    whose = (statement.org.name, f"{statement.first:%Y-%m}", statement.org.zone)
    opening, closing = statement.opening, statement.closing
    yield (*whose, "opening", "", "", "", "", "", opening.available, opening.reserved)
    for line in statement.lines:
        account = ("own" if line.byok else "managed") if line.provider else ""
        tool = (line.provider, line.tool, account)
        yield (*whose, line.kind.value, *tool, line.entries, line.credits, line.available, line.reserved)
    yield (*whose, "closing", "", "", "", "", "", closing.available, closing.reserved)


def _moves(org: Organization, start: datetime, end: datetime) -> Iterator[Line]:
    """What moved the account, in the order of the kinds."""
    moves = Entry.objects.filter(org=org.pk, account_seq__isnull=False, at__gte=start, at__lt=end)
    sums = {kind: figures for kind, *figures in moves.values_list("kind").annotate(Count("account_seq"), Sum("amount"))}
    for kind, (available, reserved) in MOVES.items():
        if kind in sums:
            entries, credits = sums[kind]
            yield Line(kind, entries, credits, available * credits, reserved * credits)


def _calls(org: Organization, month: Span) -> Iterator[Line]:
    """What calls captured, by tool and account, from the rollup: the first to capture most."""
    kept = UsageByTool.objects.filter(org=org.pk, day__range=(month.first, month.last))
    sums = kept.values_list("provider", "tool", "byok").annotate(Sum("calls"), Sum("credits"))
    lines = [
        Line(Entry.Kind.CAPTURED, calls, credits, ZERO, -credits, provider, tool, byok)
        for provider, tool, byok, calls, credits in sums
    ]
    yield from sorted(lines, key=lambda line: (-line.credits, line.tool, line.byok))
