"""An org's feeds, newest first, page by page: the calls that settled, the ledger, the grants. Reads only; for the API
and the pages.

Laws: an entry stands on one page, whatever comes in meanwhile; each page costs a constant number of queries. The calls
and the ledger are read along (org, at), and where only a few can match, from where the rollups say that any do.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import FETCH_RAISE, Case, Count, F, Max, Min, Model, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from billing import books
from billing.models import Entry, Grant, Organization, Reservation, UsageByRun, UsageByTool
from billing.models.credits import CreditsField
from billing.spans import Span
from billing.wanted import Keyset, Wanted, within

ZERO = Decimal(0)
PAGE = 50
# What these move is the account alone, so that they are found along its own numbers.
OF_THE_ACCOUNT = (
    *(Entry.Kind.GRANTED, Entry.Kind.RESERVED, Entry.Kind.EXPIRED),
    *(Entry.Kind.CLAWED_BACK, Entry.Kind.RESTORED, Entry.Kind.ADJUSTED),
)


@dataclass(frozen=True)
class Listed[Row, Place]:
    """One page, and the place after which the next begins; None on the last."""

    rows: list[Row]
    next: Place | None


# ------------------------------------------------------------------ the calls that settled


def attempts(
    org: Organization, wanted: Wanted, *, after: Keyset | None, limit: int, by_row: bool = False
) -> Listed[Entry, Keyset]:
    """List settled calls, newest first. Four queries at most.

    `by_row`: those of one run by its rows, last first, as the ledger's key has them: by time, a page of them would cost
    what the run is long.
    """
    calls = wanted.calls(org)
    for bounds in [] if by_row else _bounds(org, wanted):
        if bounds is None:
            return Listed([], None)
        calls = within(calls, *bounds)
    if after:
        calls = calls.filter(after.lower() if by_row else after.older())
    order = ("-item", "-attempt") if by_row else ("-at", "-source", "-item", "-attempt")
    return _page(calls.order_by(*order).defer("actor", "reason"), limit, Keyset.of)


type Bounds = tuple[datetime | None, datetime | None] | None


def _bounds(org: Organization, wanted: Wanted) -> list[Bounds]:
    """Say between which instants what is wanted lies, of all that is cheap to know; None where there is none."""
    found: list[Bounds] = []
    if wanted.of_tools:
        found.append(_around(org, UsageByTool.objects.filter(org=org.pk, **wanted.of_tools)))
    if theirs := wanted.of_whose:
        found.append(_around(org, UsageByRun.objects.filter(org=org.pk, **theirs)))
    if wanted.run:
        held = Reservation.objects.filter(org=org.pk, run=wanted.run)
        opened = held.values_list("opened_at", flat=True).first()
        found.append((opened, None) if opened else None)
    return found


def _around(org: Organization, kept: QuerySet[Any]) -> Bounds:
    """The instants around the days of rollup rows, two days wider than any change of clocks or zones."""
    first, last = kept.aggregate(first=Min("day"), last=Max("day")).values()
    return (_noon(first, org, -2), _noon(last, org, 3)) if first else None


def _noon(day: date, org: Organization, days: int) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=org.tz) + timedelta(days=days)


# ------------------------------------------------------------------ the ledger


@dataclass(frozen=True)
class Place:
    """The place of an entry in the ledger: of one instant, what moved the account comes first, in its order."""

    seq: int
    keyset: Keyset

    @classmethod
    def of(cls, entry: Entry) -> "Place":
        return cls(entry.account_seq or 0, Keyset.of(entry))

    @classmethod
    def read(cls, words: Sequence[str]) -> "Place":
        seq, keyset = words
        return cls(int(seq), Keyset.read(keyset))

    @property
    def words(self) -> list[str]:
        return [str(self.seq), self.keyset.text]

    def older(self) -> Q:
        """What comes after it. The bare `at <=` is what the index goes by."""
        at = self.keyset.at
        return Q(at__lte=at) & (Q(at__lt=at) | Q(seq__lt=self.seq) | Q(seq=self.seq) & self.keyset.older())


@dataclass(frozen=True)
class Line:
    """An entry, with what open runs held after it where it moved the account and its neighbours are known."""

    entry: Entry
    reserved_after: Decimal | None


def ledger(
    org: Organization,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    kind: str | None = None,
    after: Place | None = None,
    limit: int,
) -> Listed[Line, Place]:
    """List the entries, newest first. Four queries at most; one where a kind is named."""
    page = entries(org, Wanted(start=start, end=end, kind=kind), after=after, limit=limit)
    return Listed([Line(entry, None) for entry in page.rows] if kind else _folded(org, page.rows), page.next)


def entries(org: Organization, wanted: Wanted, *, after: Place | None = None, limit: int) -> Listed[Entry, Place]:
    """List the entries that are wanted, newest first. Four queries at most."""
    found = _whole(org).filter(**wanted.of_tools)
    for bounds in ((wanted.start, wanted.end), *_bounds(org, wanted)):
        if bounds is None:
            return Listed([], None)
        found = within(found, *bounds)
    order: tuple[str, ...] = ("-at", "-seq", "-source", "-item", "-attempt")
    if wanted.kind:
        found = found.filter(kind=wanted.kind)
    if wanted.run:
        return _of_run(found.filter(source=wanted.run), after, limit)
    if wanted.kind in OF_THE_ACCOUNT:
        found, order = found.filter(account_seq__isnull=False), ("-account_seq",)
        found = found.filter(account_seq__lt=after.seq) if after else found
    elif after:
        found = found.filter(after.older())
    return _page(found.order_by(*order), limit, Place.of)


def _of_run(found: QuerySet[Entry], after: Place | None, limit: int) -> Listed[Entry, Place]:
    """List what of a run moved the account, newest first, and then its calls by row, the last first.

    So the ledger's key has them; by time they would cost what the run is long.
    """
    moves = found.filter(item__lte=0).order_by("-account_seq")
    calls = found.filter(item__gt=0).order_by("-item", "-attempt")
    if after:
        moves = moves.filter(account_seq__lt=after.seq)  # of a call it is 0: then there are none any more
        calls = calls if after.seq else calls.filter(after.keyset.lower())
    rows = list(moves.fetch_mode(FETCH_RAISE)[: limit + 1])
    rows += calls.fetch_mode(FETCH_RAISE)[: limit + 1 - len(rows)]
    return Listed(rows[:limit], Place.of(rows[limit - 1]) if len(rows) > limit else None)


def every(org: Organization, wanted: Wanted, chunk: int = 2000) -> Iterator[Entry]:
    """Read all the entries that are wanted, newest first, a chunk at a time: as much memory for ten as for millions.

    Each chunk is read by itself, so that nobody's slow line keeps a transaction open.
    """
    listed = entries(org, wanted, limit=chunk)
    yield from listed.rows
    while listed.next:
        listed = entries(org, wanted, after=listed.next, limit=chunk)
        yield from listed.rows


def entry(org: Organization, id: str) -> Entry | None:
    """Read one entry by its id. One query."""
    try:
        source, item, attempt = id.split(":")
        key = {"source": UUID(source), "item": int(item), "attempt": int(attempt)}
    except ValueError:
        return None
    return Entry.objects.filter(org=org.pk, **key).first()


def grants_of(org: Organization, page: Iterable[Entry]) -> dict[UUID, Grant]:
    """Read the grants that these entries are about, by id. One query."""
    found = Grant.objects.filter(org=org.pk, id__in={entry.source for entry in page if not entry.of_run})
    return {grant.id: grant for grant in found.fetch_mode(FETCH_RAISE)}


def captured(org: Organization, span: Span, wanted: Wanted) -> Decimal | None:
    """Sum what was captured in a span; None where no rollup has the filters together. One query."""
    if wanted.run and wanted.of_tools:
        return None
    rollup: QuerySet[Any] = UsageByTool.objects.filter(**wanted.of_tools)
    if wanted.run:
        rollup = UsageByRun.objects.filter(run=wanted.run)
    kept = rollup.filter(org=org.pk, day__range=(span.first, span.last))
    total: Decimal = kept.aggregate(credits=Sum("credits", default=ZERO))["credits"]
    return total


def tools_used(org: Organization, span: Span) -> list[tuple[str, str]]:
    """Read which tools of which providers settled anything in a span, by name. One query."""
    kept = UsageByTool.objects.filter(org=org.pk, day__range=(span.first, span.last))
    return list(kept.values_list("provider", "tool").distinct().order_by("provider", "tool"))


def _whole(org: Organization) -> QuerySet[Entry]:
    return Entry.objects.filter(org=org.pk).annotate(seq=Coalesce(F("account_seq"), 0))


def _folded(org: Organization, page: list[Entry]) -> list[Line]:
    """Say what was reserved after each: known after the newest, and moved back by what each entry did."""
    if not page:
        return []
    newest = Place.of(page[0])
    newer = _whole(org).filter(at=page[0].at).exclude(newest.older()).exclude(pk=page[0].pk)
    reserved = books.tie_out_at(org.pk, page[0].at).reserved - newer.aggregate(sum=Sum(_RESERVES, default=ZERO))["sum"]
    lines = []
    for entry in page:
        lines.append(Line(entry, reserved if entry.account_seq else None))
        reserved -= _reserves(entry)
    return lines


def _reserves(entry: Entry) -> Decimal:
    """What an entry adds to what is reserved: a released call gives back to its run, not to the account."""
    if entry.kind == Entry.Kind.RESERVED:
        return entry.amount
    gives_back = entry.kind == Entry.Kind.CAPTURED or (entry.kind == Entry.Kind.RELEASED and entry.account_seq)
    return -entry.amount if gives_back else ZERO


_RESERVES = Case(  # the same, where the database adds up
    When(kind="reserved", then=F("amount")),
    When(Q(kind="captured") | Q(kind="released", account_seq__isnull=False), then=-F("amount")),
    default=Value(ZERO),
    output_field=CreditsField(),
)


# ------------------------------------------------------------------ the grants


def grants(
    org: Organization, *, is_open: bool | None = None, after: UUID | None = None, limit: int
) -> Listed[Grant, UUID]:
    """List the grants, newest first; those with something left, or those without, where it is said. One query."""
    found = Grant.objects.filter(org=org.pk)
    if is_open is not None:
        found = found.filter(open=is_open)
    if after:
        found = found.filter(id__lt=after)
    return _page(found.order_by("-id"), limit, lambda grant: grant.id)


@dataclass(frozen=True)
class Burning:
    """One page of the grants with something left, in the order they are used; `first` is the number of its first."""

    first: int
    grants: list[Grant]
    next: UUID | None
    left: Decimal  # of all, which is what is available
    count: int


def burning(org: Organization, *, after: UUID | None = None, limit: int) -> Burning | None:
    """List the open grants, the one that is used next first; None where `after` is no grant. Three queries."""
    found = Grant.objects.filter(org=org.pk, open=True)
    totals = found.aggregate(left=Sum("remaining", default=ZERO), count=Count("pk"))
    earlier = 0
    if after:
        place = Grant.objects.filter(org=org.pk, id=after).first()
        if place is None:
            return None
        later = found.filter(_burns_after(place))
        earlier, found = totals["count"] - later.count(), later
    page = _page(found.order_by("expires_at", "effective_at", "key"), limit, lambda grant: grant.id)
    return Burning(earlier + 1, page.rows, page.next, **totals)


def _burns_after(place: Grant) -> Q:
    same = Q(expires_at=place.expires_at)
    later = Q(effective_at__gt=place.effective_at) | Q(effective_at=place.effective_at, key__gt=place.key)
    return Q(expires_at__gt=place.expires_at) | same & later


# ------------------------------------------------------------------ what all do


def _page[Row: Model, Place](found: QuerySet[Row], limit: int, place: Callable[[Row], Place]) -> Listed[Row, Place]:
    rows = list(found.fetch_mode(FETCH_RAISE)[: limit + 1])
    return Listed(rows[:limit], place(rows[limit - 1]) if len(rows) > limit else None)
