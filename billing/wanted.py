"""Which calls, or entries of the ledger, are wanted, and a place in their list. For whatever reads them.

The two rollups hold different columns: `of_tools` is what the one can be asked for, `of_runs` the other. What needs
both is read from the entries.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import DateTimeField, F, Func, IntegerField, Q, QuerySet, Value

from billing.models import Entry, Organization, Reservation

_AT = "%Y%m%dT%H%M%S.%f"


@dataclass(frozen=True)
class Wanted:
    """Those in [start, end), and all of what else is named."""

    start: datetime | None = None
    end: datetime | None = None
    provider: str | None = None
    tool: str | None = None
    run: UUID | None = None
    member: UUID | None = None
    run_kind: str | None = None
    byok: bool | None = None
    outcome: str | None = None
    kind: str | None = None  # of the entry

    @property
    def of_tools(self) -> dict[str, Any]:
        return self._named("provider", "tool", "byok", "outcome")

    @property
    def of_runs(self) -> dict[str, Any]:
        return self._named("run", "member", "run_kind")

    @property
    def of_whose(self) -> dict[str, Any]:
        return self._named("member", "run_kind")

    def calls(self, org: Organization) -> QuerySet[Entry]:
        """The entries of settled calls, in no order."""
        entries = within(Entry.objects.filter(org=org.pk, account_seq=None, item__gt=0), self.start, self.end)
        entries = entries.filter(**self.of_tools)
        if self.run:
            entries = entries.filter(source=self.run)
        if self.of_whose:
            runs = Reservation.objects.filter(org=org.pk, **self.of_whose)
            entries = entries.filter(source__in=runs.values("run"))
        return entries

    def _named(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def within(entries: QuerySet[Entry], start: datetime | None, end: datetime | None) -> QuerySet[Entry]:
    if start:
        entries = entries.filter(at__gte=start)
    return entries.filter(at__lt=end) if end else entries


def place(edges: list[datetime]) -> Func:
    """Number the piece an entry falls in, from 1, of those that begin at `edges`; 0 is before the first."""
    begins = Value(edges, output_field=ArrayField(DateTimeField()))
    return Func(F("at"), begins, function="width_bucket", output_field=IntegerField())


@dataclass(frozen=True)
class Keyset:
    """The place of an entry in the feed: the next page begins after it."""

    at: datetime
    source: UUID
    item: int
    attempt: int

    @classmethod
    def of(cls, entry: Entry) -> "Keyset":
        return cls(entry.at, entry.source, entry.item, entry.attempt)

    @classmethod
    def read(cls, text: str) -> "Keyset":
        """Read what `text` wrote; ValueError for anything else."""
        at, source, item, attempt = text.split("_")
        return cls(datetime.strptime(at, _AT).replace(tzinfo=UTC), UUID(source), int(item), int(attempt))

    @property
    def text(self) -> str:
        return f"{self.at.astimezone(UTC).strftime(_AT)}_{self.source.hex}_{self.item}_{self.attempt}"

    def older(self) -> Q:
        """What comes after it. The bare `at <=` is what the index goes by."""
        earlier, other = Q(at__lt=self.at), Q(source__lt=self.source)
        return Q(at__lte=self.at) & (earlier | other | Q(source=self.source) & self.lower())

    def lower(self) -> Q:
        """What comes after it among its run's own."""
        return Q(item__lte=self.item) & (Q(item__lt=self.item) | Q(attempt__lt=self.attempt))
