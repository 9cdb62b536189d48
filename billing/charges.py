"""The calls that an org's page lists: charged, free or given back; twenty a page, or all in a file. Reads only.

The law: page, count and file are of the same calls. A file is read page by page, each in a statement of its own, so
that it may be of any size and take any time: it holds one page in memory, and no snapshot while it is fetched. What
settles meanwhile in a span that is not over may or may not be in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing import statements, usage
from billing.models import Entry, Organization
from billing.spans import Span
from billing.wanted import Keyset, Wanted

PAGE = 20  # fewer than other lists: it is one piece of a page with many, which stays light
AT_ONCE = 2000  # of a file
HEAD = (*("timestamp", "run", "item", "attempt", "provider", "tool", "mode", "outcome", "kind", "credits", "cost"),)


@dataclass(frozen=True)
class Charges:
    """One page of settled attempts, newest first. `total` counts what the filters leave, None where no rollup knows."""

    entries: list[Entry]
    total: int | None
    older: str | None

    @property
    def column(self) -> list[Decimal]:
        return [entry.amount if entry.kind == Entry.Kind.CAPTURED else entry.held for entry in self.entries]


@dataclass(frozen=True)
class Part:
    """A span, one day of it, or one hour. `days`: what it is in whole days, so that the rollups can count it."""

    start: datetime
    end: datetime
    days: Span | None

    def of(self, wanted: Wanted) -> Wanted:
        return replace(wanted, start=self.start, end=self.end)


def read(org: Organization, part: Part, wanted: Wanted, before: Keyset | None = None) -> Charges:
    """List attempts that settled in a span or in a part of it. Five queries at most; the count is the rollups'."""
    page = statements.attempts(org, part.of(wanted), after=before, limit=PAGE, by_row=bool(wanted.run))
    total = usage.count(org, part.days, wanted) if part.days else None
    return Charges(page.rows, total, page.next.text if page.next else None)


def lines(org: Organization, part: Part, wanted: Wanted, zone: ZoneInfo) -> Iterator[tuple[object, ...]]:
    """Read all of them for a file, in the page's order, `AT_ONCE` at a time. Four queries at most for each of these."""
    place: Keyset | None = None
    while True:
        page = statements.attempts(org, part.of(wanted), after=place, limit=AT_ONCE, by_row=bool(wanted.run))
        for entry in page.rows:
            yield (
                *(entry.at.astimezone(zone), entry.source, entry.item, entry.attempt, entry.provider, entry.tool),
                *("byok" if entry.byok else "managed", entry.outcome, entry.kind, entry.amount, entry.cost),
            )
        if page.next is None:
            return
        place = page.next
