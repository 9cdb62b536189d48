"""Where an org's credits went: sums of the calls that settled, in groups and buckets. Reads only; for pages and API.

Sums come from the rollups, cut in the org's own days and kept in the settling transaction: their cost follows the days
shown, not the history behind them. Only what no rollup holds, hours, and filters of the one with groups of the other,
is read from the entries, by (org, at), and only where no more than `MOST_CALLS` settled: else `TooMany`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, F, Q, Sum, When

from billing.models import Organization, Reservation, UsageByRun, UsageByTool, User
from billing.spans import MOST_DAYS, Span, span
from billing.wanted import Wanted, place
from oxygen_site.transactions import Refused

MOST_CALLS = 50_000  # read one by one
MOST_RUNS = 1000  # named of a sum by run
OFFERED = 50  # runs to filter by
ZERO = Decimal(0)
# What may be summed by, and the column of the rollup that holds it.
OF_TOOLS = {"provider": "provider", "tool": "tool", "mode": "byok", "outcome": "outcome"}
OF_RUNS = {"run": "run", "member": "member", "kind": "run_kind"}
ALL = Wanted()
MODES = {"managed": "Managed", "byok": "Own account"}
OUTCOMES = {
    "succeeded": "Found",
    "no_result": "Answered, nothing found",
    "failed_before_billing": "Failed before the charge",
    "failed_after_billing": "Charged, then failed",
    "unknown": "No usable answer",
}


class TooMany(Exception):
    """More calls settled than are read one by one."""

    def __init__(self, calls: int) -> None:
        super().__init__(f"{calls} calls settled")
        self.calls = calls


@dataclass(frozen=True)
class Cell:
    """The calls of one group in one bucket. `refused`: failed before billing; None where no rollup holds it.

    Of runs that are not told apart the group is None.
    """

    group: Any
    bucket: int
    credits: Decimal
    calls: int
    results: int
    refused: int | None = None


def cells(
    org: Organization, span: Span, wanted: Wanted, by: str, *, whole: bool = False, runs: list[UUID] | None = None
) -> list[Cell]:
    """Sum what is wanted by group and bucket, or of the `whole` span as one. One query of a rollup, three of entries.

    By run, `runs` are told apart, and all others are one group. Raises TooMany.
    """
    by_hour = span.unit == "hour" and not whole
    of_tools, of_runs = by in OF_TOOLS or wanted.of_tools, by in OF_RUNS or wanted.of_runs
    if by_hour or (of_tools and of_runs):
        return _of_entries(org, span, wanted, by, whole, runs)
    kept = _kept(org, span, wanted, by_runs=bool(of_runs))
    column = F({**OF_TOOLS, **OF_RUNS}[by]) if runs is None else Case(When(run__in=runs, then=F("run")))
    keys = ["of_group"] if whole else ["of_group", "day"]
    rows = kept.annotate(of_group=column).values_list(*keys).annotate(**_sums(kept.model)).order_by()
    if whole:
        return [Cell(group, 0, *figures) for group, *figures in rows]
    places = _places(span)
    return [Cell(group, places[day], *figures) for group, day, *figures in rows]


def leading(org: Organization, span: Span, wanted: Wanted, measure: str, most: int) -> tuple[list[UUID], int]:
    """Name the runs with the most credits or calls, the most first, and count the further ones. One is never left.

    Two queries of the rollup, three of entries. Raises TooMany.
    """
    if wanted.of_tools:
        found = _of_entries(org, span, wanted, "run", whole=True)
        ranked = sorted(found, key=lambda cell: (-getattr(cell, measure), -cell.calls, cell.group))
        runs, further = [cell.group for cell in ranked[: most + 2]], len(ranked) - most
    else:
        kept = _kept(org, span, wanted, by_runs=True)
        sums = kept.values_list("run").annotate(of_what=Sum(measure), of_calls=Sum("calls"))
        runs = [run for run, *_ in sums.order_by("-of_what", "-of_calls", "run")[: most + 2]]
        further = kept.aggregate(runs=Count("run", distinct=True))["runs"] - most
    return (runs[:most], further) if len(runs) > most + 1 else (runs, 0)


def count(org: Organization, span: Span, wanted: Wanted = ALL) -> int | None:
    """Count the calls that are wanted; None where no rollup knows. One query."""
    if wanted.of_tools and wanted.of_runs:
        return None
    return _kept(org, span, wanted, by_runs=bool(wanted.of_runs)).aggregate(calls=Sum("calls", default=0))["calls"]


def refused(
    org: Organization, span: Span, wanted: Wanted, by: str, runs: list[UUID] | None = None
) -> dict[Any, int] | None:
    """Count the calls that failed before billing by run, member or run kind; None where too many calls settled."""
    try:
        found = _of_entries(org, span, replace(wanted, outcome="failed_before_billing"), by, whole=True, runs=runs)
    except TooMany:
        return None
    return {cell.group: cell.calls for cell in found}


def _kept(org: Organization, span: Span, wanted: Wanted, *, by_runs: bool) -> Any:
    rollup: Any = UsageByRun if by_runs else UsageByTool
    named = wanted.of_tools | wanted.of_runs
    return rollup.objects.filter(org=org.pk, day__range=(span.first, span.last), **named)


def _sums(rollup: Any) -> dict[str, Any]:
    """The figures of a cell, under names that no column has."""
    sums: dict[str, Any] = {"of_credits": Sum("credits"), "of_calls": Sum("calls")}
    if rollup is UsageByRun:
        return sums | {"of_results": Sum("results")}
    told = {"of_results": "succeeded", "of_refused": "failed_before_billing"}
    return sums | {name: Sum("calls", filter=Q(outcome=outcome), default=0) for name, outcome in told.items()}


def _places(span: Span) -> dict[date, int]:
    return {
        bucket.first + timedelta(days=n): place
        for place, bucket in enumerate(span.buckets)
        for n in range((bucket.last - bucket.first).days + 1)
    }


def _of_entries(
    org: Organization, span: Span, wanted: Wanted, by: str, whole: bool, runs: list[UUID] | None = None
) -> list[Cell]:
    settled = count(org, span, Wanted(run=wanted.run)) or 0
    if settled > MOST_CALLS:
        raise TooMany(settled)
    start, end = span.instants()
    entries = replace(wanted, start=start, end=end).calls(org)
    edges = [start] if whole else span.edges
    column = OF_TOOLS.get(by, "source")
    rows = (
        entries.annotate(place=place(edges))
        .values_list(column, "place")
        .annotate(
            of_credits=Sum("amount"),
            of_calls=Count("item"),
            of_results=Count("item", filter=Q(outcome="succeeded")),
            of_refused=Count("item", filter=Q(outcome="failed_before_billing")),
        )
        .order_by()
    )
    found = [Cell(group, n - 1, *figures) for group, n, *figures in rows]
    if by in OF_TOOLS:
        return found
    if by == "run":
        return found if runs is None else _regrouped(found, lambda run: run if run in runs else None)
    reservations = Reservation.objects.filter(org=org.pk, run__in={cell.group for cell in found})
    facts = dict(reservations.values_list("run", OF_RUNS[by]))
    return _regrouped(found, lambda run: facts[run])


def _regrouped(found: list[Cell], group_of: Callable[[UUID], Any]) -> list[Cell]:
    sums: dict[tuple[Any, int], Cell] = {}
    for cell in found:
        key = group_of(cell.group), cell.bucket
        there = sums.get(key, Cell(*key, ZERO, 0, 0, 0))
        sums[key] = Cell(
            *key,
            there.credits + cell.credits,
            there.calls + cell.calls,
            there.results + cell.results,
            (there.refused or 0) + (cell.refused or 0),
        )
    return list(sums.values())


# ------------------------------------------------------------------ what may be asked for


@dataclass(frozen=True)
class Choices:
    """What calls of a span can be told apart by. Members with their names; of runs those that captured most."""

    providers: list[str]
    tools: list[str]
    runs: list[UUID]
    kinds: list[str]
    members: list[tuple[str, str]]


def choices(org: Organization, span: Span) -> Choices:
    """Read what there is to filter by in a span. Four queries."""
    of_tools, of_runs = (_kept(org, span, ALL, by_runs=by_runs).order_by() for by_runs in (False, True))
    tools = sorted(of_tools.values_list("provider", "tool").distinct())
    most = of_runs.values_list("run").annotate(of_credits=Sum("credits")).order_by("-of_credits", "-run")[:OFFERED]
    told = of_runs.values_list("run_kind", "member").distinct()
    kinds, ids = {kind for kind, _ in told}, {member for _, member in told}
    named = sorted((name, str(id)) for id, name in members(ids).items())
    return Choices(
        providers=list(dict.fromkeys(provider for provider, _ in tools)),
        tools=[tool for _, tool in tools],
        runs=[run for run, _ in most],
        kinds=sorted(kinds),
        members=[(id, name) for name, id in named],
    )


# ------------------------------------------------------------------ of days, for cards


def captured_since(org: Organization, day: date) -> Decimal:
    """Sum what was captured from `day` on. One query."""
    return UsageByTool.objects.filter(org=org.id, day__gte=day).aggregate(credits=Sum("credits", default=ZERO))[
        "credits"
    ]


def captured_by_day(org: Organization, first: date, last: date | None = None) -> dict[date, Decimal]:
    """Sum what was captured on each day from `first` on, where anything was. One query."""
    kept = UsageByTool.objects.filter(org=org.id, day__gte=first)
    if last:
        kept = kept.filter(day__lte=last)
    return {day: credits for day, credits in kept.values_list("day").annotate(Sum("credits")).order_by() if credits}


def pace(org: Organization, today: date) -> Decimal | None:
    """Average what was captured a day in the seven days before `today`; None under three active days. One query."""
    active = captured_by_day(org, today - timedelta(days=7), today - timedelta(days=1)).values()
    return sum(active, ZERO) / 7 if len(active) >= 3 else None


# ------------------------------------------------------------------ sums for the API


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


def summed(org: Organization, by: str, span: Span, wanted: Wanted) -> Summed:
    """Sum a span by day, provider, tool, run or member, in groups that add up to the total. Two queries at most.

    By day each day is there; else what captured most comes first. Refused: invalid_filter (422).
    """
    if by in OF_RUNS and wanted.of_tools:
        sentence = (
            "Sums by run and by member are kept without provider, tool, mode and outcome. Leave these filters out,"
            " or sum by day, provider or tool."
        )
        raise Refused("invalid_filter", sentence, 422)
    if by == "run":
        return _by_run(org, span)
    if by == "day":
        return _by_day(org, span, wanted)
    found = cells(org, span, wanted, by, whole=True)
    names = members(cell.group for cell in found) if by == "member" else {}
    parts = [_part(cell, names.get(cell.group) if by == "member" else str(cell.group)) for cell in found]
    return Summed(_total(parts), sorted(parts, key=lambda part: (-part.credits, -part.calls, part.key or "")))


def _by_day(org: Organization, span: Span, wanted: Wanted) -> Summed:
    kept = _kept(org, span, wanted, by_runs=False)
    rows = kept.values_list("day").annotate(**_sums(kept.model)).order_by()
    there = {day: figures[:3] for day, *figures in rows}
    parts = [Part(str(day), str(day), *there.get(day, (ZERO, 0, 0))) for day in span.days]
    return Summed(_total(parts), parts)


def _by_run(org: Organization, span: Span) -> Summed:
    kept = _kept(org, span, ALL, by_runs=True)
    most = kept.values_list("run").annotate(**_sums(kept.model)).order_by("-of_credits", "run")[:MOST_RUNS]
    parts = [Part(str(run), None, *figures) for run, *figures in most]
    sums = {name: Sum(name, default=zero) for name, zero in (("credits", ZERO), ("calls", 0), ("results", 0))}
    whole = kept.aggregate(**sums)
    total, named = Part(None, None, **whole), _total(parts)
    if total.calls > named.calls:
        rest = (total.credits - named.credits, total.calls - named.calls, total.results - named.results)
        parts.append(Part(None, None, *rest))
    return Summed(total, parts)


def members(ids: Iterable[UUID | str]) -> dict[UUID, str]:
    """Read people's names. One query."""
    return {user.pk: str(user) for user in User.objects.filter(pk__in=set(ids))}


def _part(cell: Cell, name: str | None) -> Part:
    return Part(str(cell.group), name, cell.credits, cell.calls, cell.results)


def _total(parts: list[Part]) -> Part:
    credits = sum((part.credits for part in parts), ZERO)
    return Part(None, None, credits, sum(part.calls for part in parts), sum(part.results for part in parts))
