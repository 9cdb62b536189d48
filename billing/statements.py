"""An org's feeds, newest first, page by page: the calls that settled, the ledger, the grants. Reads only; for the API.

Laws: an entry stands on one page, whatever comes in meanwhile; each page costs a constant number of queries. The calls
and the ledger are read along (org, at), and where only a few can match, from where the rollups say that any do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import FETCH_RAISE, Case, F, Max, Min, Model, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from billing import books
from billing.models import Entry, Grant, Organization, Reservation, UsageByRun, UsageByTool
from billing.models.credits import CreditsField
from billing.wanted import Keyset, Wanted, within

ZERO = Decimal(0)
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
    entries = wanted.entries(org)
    for bounds in [] if by_row else _bounds(org, wanted):
        if bounds is None:
            return Listed([], None)
        entries = within(entries, *bounds)
    if after:
        entries = entries.filter(after.lower() if by_row else after.older())
    order = ("-item", "-attempt") if by_row else ("-at", "-source", "-item", "-attempt")
    return _page(entries.order_by(*order).defer("actor", "reason"), limit, Keyset.of)


type Bounds = tuple[datetime | None, datetime | None] | None


def _bounds(org: Organization, wanted: Wanted) -> list[Bounds]:
    """Say between which instants what is wanted lies, of all that is cheap to know; None where there is none."""
    found: list[Bounds] = []
    if wanted.of_tools:
        found.append(_around(org, UsageByTool.objects.filter(org=org.pk, **wanted.of_tools)))
    if wanted.member or wanted.kind:
        theirs = {name: value for name, value in wanted.of_runs.items() if name != "run"}
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
    """List the entries, newest first. Three queries at most; one where a kind is named."""
    whole = Entry.objects.filter(org=org.pk).annotate(seq=Coalesce(F("account_seq"), 0))
    entries = within(whole, start, end)
    order: tuple[str, ...] = ("-at", "-seq", "-source", "-item", "-attempt")
    if kind:
        entries = entries.filter(kind=kind)
    if kind in OF_THE_ACCOUNT:
        entries, order = entries.filter(account_seq__isnull=False), ("-account_seq",)
        entries = entries.filter(account_seq__lt=after.seq) if after else entries
    elif after:
        entries = entries.filter(after.older())
    page = _page(entries.order_by(*order), limit, Place.of)
    return Listed([Line(entry, None) for entry in page.rows] if kind else _folded(org, whole, page.rows), page.next)


def _folded(org: Organization, whole: QuerySet[Entry], page: list[Entry]) -> list[Line]:
    """Say what was reserved after each: known after the newest, and moved back by what each entry did."""
    if not page:
        return []
    newest = Place.of(page[0])
    newer = whole.filter(at=page[0].at).exclude(newest.older()).exclude(pk=page[0].pk)
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


# ------------------------------------------------------------------ what all do


def _page[Row: Model, Place](found: QuerySet[Row], limit: int, place: Callable[[Row], Place]) -> Listed[Row, Place]:
    rows = list(found.fetch_mode(FETCH_RAISE)[: limit + 1])
    return Listed(rows[:limit], place(rows[limit - 1]) if len(rows) > limit else None)
