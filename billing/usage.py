"""Where an org's credits went: by day, by provider, charge by charge. Reads only; for pages and the API.

Sums come from the rollups, cut in the org's own days and kept in the settling transaction, never from entries: their
cost follows the days shown, not the history behind them. Charges come from the entries, by keyset over (org, at).
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import FETCH_RAISE, Q, Sum

from billing import plans
from billing.models import Entry, Organization, UsageByRun, UsageByTool, User
from oxygen_site.transactions import Refused

RANGES = {"7d": "7 days", "30d": "30 days", "cycle": "This cycle", "90d": "90 days"}
ALL_RANGES = RANGES | {"last": "Last cycle", "custom": "Chosen days"}
PAGE = 50
MOST_DAYS = 400  # summed at once
MOST_RUNS = 1000  # named of a sum by run


@dataclass(frozen=True)
class Span:
    """Whole days of the org's zone, `first` and `last` included; today is the last and not over yet."""

    key: str
    first: date
    last: date
    zone: ZoneInfo

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    @property
    def before(self) -> "Span":
        """As many days, right before."""
        length = timedelta(days=len(self.days))
        return Span(self.key, self.first - length, self.last - length, self.zone)

    def instants(self, day: date | None = None) -> tuple[datetime, datetime]:
        """The span, or one day of it, as instants [start, end)."""
        first, last = (day, day) if day else (self.first, self.last)
        return _midnight(first, self.zone), _midnight(last + timedelta(days=1), self.zone)


def span(key: str, org: Organization, now: datetime, chosen: tuple[date, date] | None = None) -> Span:
    """Give the span of a range: its days up to today, since the credit month began, of the one before, or chosen."""
    today = now.astimezone(org.tz).date()
    if key == "custom" and chosen:
        return Span(key, min(chosen), max(chosen), org.tz)
    if key in ("cycle", "last", "custom"):
        live = plans.subscription(org)
        start, _ = plans.month(org, live, now)
        first = start.astimezone(org.tz).date()
        if key == "last":
            before, _ = plans.month_before(org, live, start)
            yesterday = first - timedelta(days=1)
            return Span(key, min(before.astimezone(org.tz).date(), yesterday), yesterday, org.tz)
        return Span(key, first, today, org.tz)
    return Span(key, today - timedelta(days=int(key.removesuffix("d")) - 1), today, org.tz)


@dataclass(frozen=True)
class ProviderUsage:
    """One provider's part. `series` is its colour: 1 to 5 by rank, 0 for the rest."""

    provider: str
    calls: int
    credits: Decimal
    share: Decimal
    bar: Decimal
    series: int
    by_day: dict[date, Decimal]


@dataclass(frozen=True)
class Usage:
    span: Span
    total: Decimal
    before: Decimal
    providers: list[ProviderUsage]
    own_keys: list[tuple[str, int]]

    @property
    def grew(self) -> bool:
        return self.total >= self.before

    @property
    def change(self) -> Decimal | None:
        """How far it grew or shrank against as many days before, as a share; None where nothing was used then."""
        return abs(self.total - self.before) / self.before if self.before else None

    @property
    def by_day(self) -> list[tuple[date, Decimal]]:
        return [
            (day, sum((part.by_day.get(day, Decimal(0)) for part in self.providers), Decimal(0)))
            for day in self.span.days
        ]

    @property
    def daily(self) -> list[Decimal]:
        return [self.total, *(credits for _, credits in self.by_day)]

    @property
    def calls(self) -> int:
        return sum(part.calls for part in self.providers)

    @property
    def column(self) -> list[Decimal]:
        return [self.total, *(part.credits for part in self.providers)]


def used(org: Organization, span: Span) -> Usage:
    """Sum what was captured in a span, by day and provider. Two queries."""
    cells = (
        UsageByTool.objects.filter(org=org.id, day__range=(span.first, span.last))
        .values_list("provider", "byok", "day")
        .annotate(Sum("credits"), Sum("calls"))
    )
    by_day: dict[str, dict[date, Decimal]] = {}
    calls: dict[str, int] = {}
    own_keys: dict[str, int] = {}
    for provider, byok, day, credits, count in cells:
        if byok:
            own_keys[provider] = own_keys.get(provider, 0) + count
        else:
            by_day.setdefault(provider, {})[day] = credits
            calls[provider] = calls.get(provider, 0) + count
    sums = {provider: sum(days.values(), Decimal(0)) for provider, days in by_day.items()}
    total, most = sum(sums.values(), Decimal(0)), max(sums.values(), default=Decimal(0))
    ranked = sorted(sums, key=lambda provider: (-sums[provider], provider))
    earlier = span.before
    return Usage(
        span=span,
        total=total,
        before=UsageByTool.objects.filter(org=org.id, day__range=(earlier.first, earlier.last)).aggregate(
            credits=Sum("credits", default=Decimal(0))
        )["credits"],
        providers=[
            ProviderUsage(
                provider=provider,
                calls=calls[provider],
                credits=sums[provider],
                share=sums[provider] / total if total else Decimal(0),
                bar=sums[provider] / most if most else Decimal(0),
                series=rank if rank <= 5 else 0,
                by_day=by_day[provider],
            )
            for rank, provider in enumerate(ranked, 1)
        ],
        own_keys=sorted(own_keys.items(), key=lambda part: (-part[1], part[0])),
    )


def captured_since(org: Organization, day: date) -> Decimal:
    """Sum what was captured from `day` on. One query."""
    return UsageByTool.objects.filter(org=org.id, day__gte=day).aggregate(credits=Sum("credits", default=Decimal(0)))[
        "credits"
    ]


def pace(org: Organization, today: date) -> Decimal | None:
    """Average what was captured a day in the seven days before `today`; None under three active days. One query."""
    week = (
        UsageByTool.objects.filter(org=org.id, day__range=(today - timedelta(days=7), today - timedelta(days=1)))
        .values_list("day")
        .annotate(credits=Sum("credits"))
    )
    active = [credits for _, credits in week if credits]
    return sum(active, Decimal(0)) / 7 if len(active) >= 3 else None


@dataclass(frozen=True)
class Part:
    """What one day, provider, tool, run or member made of a sum. `key` is None of all further runs together."""

    key: str | None
    name: str | None  # where this floor knows one
    credits: Decimal
    calls: int
    results: int


@dataclass(frozen=True)
class Summed:
    total: Part
    groups: list[Part]

    def share(self, part: Part) -> Decimal:
        """Give a part of the total's credits, to four decimals; of nothing it is 0."""
        whole = self.total.credits or Decimal(1)
        return (part.credits / whole).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def days(org: Organization, first: date | None, last: date | None, now: datetime) -> Span:
    """Give the span from `first` to `last`: else since the credit month began, up to today. One query.

    Refused: invalid_range (422).
    """
    cycle = span("cycle", org, now)
    asked = Span("asked", first or cycle.first, last or cycle.last, org.tz)
    if asked.first > asked.last:
        sentence = f"The first day, {asked.first}, comes after the last, {asked.last}. Name both, or turn them round."
        raise Refused("invalid_range", sentence, 422)
    if (count := (asked.last - asked.first).days + 1) > MOST_DAYS:
        sentence = f"At most {MOST_DAYS} days are summed at once, and these are {count}. Ask for them in parts."
        raise Refused("invalid_range", sentence, 422)
    return asked


def summed(
    org: Organization,
    by: str,
    span: Span,
    *,
    provider: str | None = None,
    tool: str | None = None,
    byok: bool | None = None,
    outcome: str | None = None,
) -> Summed:
    """Sum a span by day, provider, tool, run or member, in groups that add up to the total. Two queries at most.

    By day each day is there; else what captured most comes first. Refused: invalid_filter (422).
    """
    asked = {"provider": provider, "tool": tool, "byok": byok, "outcome": outcome}
    filters = {name: value for name, value in asked.items() if value is not None}
    if by in ("run", "member"):
        if filters:
            sentence = (
                "Sums by run and by member are kept without provider, tool, mode and outcome. Leave these filters out,"
                " or sum by day, provider or tool."
            )
            raise Refused("invalid_filter", sentence, 422)
        return _by_run(org, span) if by == "run" else _by_member(org, span)
    kept = UsageByTool.objects.filter(org=org.id, day__range=(span.first, span.last), **filters)
    results = Sum("calls", filter=Q(outcome="succeeded"), default=0)
    rows = kept.values_list(by).annotate(Sum("credits"), Sum("calls"), results=results)
    parts = [Part(str(key), str(key) if by == "day" else None, *sums) for key, *sums in rows]
    if by == "day":
        there = {part.key: part for part in parts}
        parts = [there.get(str(day), Part(str(day), str(day), Decimal(0), 0, 0)) for day in span.days]
        return Summed(_total(parts), parts)
    return _ranked(parts)


def _by_run(org: Organization, span: Span) -> Summed:
    kept = UsageByRun.objects.filter(org=org.id, day__range=(span.first, span.last))
    rows = kept.values_list("run").annotate(captured=Sum("credits"), of=Sum("calls"), found=Sum("results"))
    most = rows.order_by("-captured", "run")[:MOST_RUNS]
    parts = [Part(str(run), None, *figures) for run, *figures in most]
    sums = {name: Sum(name, default=zero) for name, zero in (("credits", Decimal(0)), ("calls", 0), ("results", 0))}
    whole = kept.aggregate(**sums)
    total, named = Part(None, None, **whole), _total(parts)
    if total.calls > named.calls:
        rest = (total.credits - named.credits, total.calls - named.calls, total.results - named.results)
        parts.append(Part(None, None, *rest))
    return Summed(total, parts)


def _by_member(org: Organization, span: Span) -> Summed:
    kept = UsageByRun.objects.filter(org=org.id, day__range=(span.first, span.last))
    rows = list(kept.values_list("member").annotate(Sum("credits"), Sum("calls"), Sum("results")))
    names = {user.pk: str(user) for user in User.objects.filter(pk__in=[member for member, *_ in rows])}
    return _ranked([Part(str(member), names.get(member), *sums) for member, *sums in rows])


def _ranked(parts: list[Part]) -> Summed:
    return Summed(_total(parts), sorted(parts, key=lambda part: (-part.credits, -part.calls, part.key or "")))


def _total(parts: list[Part]) -> Part:
    credits = sum((part.credits for part in parts), Decimal(0))
    return Part(None, None, credits, sum(part.calls for part in parts), sum(part.results for part in parts))


@dataclass(frozen=True)
class Charges:
    """One page of settled attempts, newest first. `total` counts what the filters leave, None where no rollup knows."""

    entries: list[Entry]
    total: int | None
    older: str | None

    @property
    def column(self) -> list[Decimal]:
        return [entry.amount if entry.kind == Entry.Kind.CAPTURED else entry.held for entry in self.entries]


def charges(
    org: Organization,
    span: Span,
    *,
    provider: str | None = None,
    day: date | None = None,
    run: UUID | None = None,
    before: "Keyset | None" = None,
) -> Charges:
    """List attempts that settled in a span or on one day of it, 50 a page. Two queries; the count is the rollups'.

    One run's are listed by row, last first, as the ledger's key has them: by time they would cost what the run is long.
    """
    start, end = span.instants(day)
    entries = Entry.objects.filter(org=org.id, at__gte=start, at__lt=end, item__gt=0, account_seq=None)
    if provider:
        entries = entries.filter(provider=provider)
    if run:
        entries = entries.filter(source=run)
    if before:
        entries = entries.filter(before.lower() if run else before.older())
    order = ("-item", "-attempt") if run else ("-at", "-source", "-item", "-attempt")
    page = list(entries.order_by(*order).defer("actor", "reason").fetch_mode(FETCH_RAISE)[: PAGE + 1])
    older = Keyset.of(page[PAGE - 1]).text if len(page) > PAGE else None
    return Charges(page[:PAGE], _count(org, span, provider, day, run), older)


def _count(org: Organization, span: Span, provider: str | None, day: date | None, run: UUID | None) -> int | None:
    days = (day, day) if day else (span.first, span.last)
    if run and provider:
        return None  # no rollup has both
    if run:
        calls = UsageByRun.objects.filter(org=org.id, run=run, day__range=days)
        return calls.aggregate(calls=Sum("calls", default=0))["calls"]
    of_tools = UsageByTool.objects.filter(org=org.id, day__range=days)
    if provider:
        of_tools = of_tools.filter(provider=provider)
    return of_tools.aggregate(calls=Sum("calls", default=0))["calls"]


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


_AT = "%Y%m%dT%H%M%S.%f"


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Where a zone skips or repeats its midnight, the day begins at the first instant that is of it."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)
