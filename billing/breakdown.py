"""What the overview's chart and table show: usage of a span in groups, ranked, each beside the time before. Reads only.

The law: groups add up to the total, in the whole and in each bucket; nothing is left out, only drawn together.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from billing import usage
from billing.models import Organization
from billing.spans import Bucket, Span
from billing.usage import ZERO, Cell, TooMany
from billing.wanted import Wanted

GROUPS = {
    "provider": "Provider",
    "tool": "Tool",
    "kind": "Run kind",
    "run": "Run",
    "member": "Member",
    "mode": "Account",
    "outcome": "Outcome",
}
MEASURES = {"credits": "Credits", "calls": "Calls"}
COLOURS = 5
CENT = Decimal("0.01")
SHOWN = 10  # rows of the table, before the others are one


@dataclass(frozen=True)
class Figures:
    """What a group, or all of them, came to. `earlier`: as many days before, in what is measured; None: not known."""

    credits: Decimal
    calls: int
    results: int
    refused: int | None  # failed before billing, so that they tell nothing of success
    measured: list[Decimal]  # by bucket
    earlier: Decimal | None

    @property
    def sum(self) -> Decimal:
        return sum(self.measured, ZERO)

    @property
    def success(self) -> Decimal | None:
        """Results ÷ settled calls other than those that failed before billing."""
        if self.refused is None or self.calls == self.refused:
            return None
        return Decimal(self.results) / (self.calls - self.refused)

    @property
    def per_result(self) -> Decimal | None:
        """What one result cost, to the hundredth; what is less than that to four places."""
        if not self.results or not self.credits:
            return None
        exact = self.credits / self.results
        return exact.quantize(CENT if exact >= CENT else CENT * CENT)

    @property
    def grew(self) -> bool:
        return self.sum >= (self.earlier or ZERO)

    @property
    def change(self) -> Decimal | None:
        """How far it grew or shrank, as a share of what was before; None where that was nothing, or is not known."""
        return abs(self.sum - self.earlier) / self.earlier if self.earlier else None


@dataclass(frozen=True)
class Group(Figures):
    """One provider's, tool's, member's … part. `series` is its colour: 1 to 5 by rank, 0 for the rest.

    Of an org's many runs those that led are groups of their own; the rest of them is one, of `count`, with no key.
    """

    key: str
    series: int
    share: Decimal
    bar: Decimal  # beside the largest
    count: int = 1


@dataclass(frozen=True)
class Breakdown:
    """`too_many`: so many calls settled that they were not read, and there are no groups."""

    span: Span
    by: str
    measure: str
    groups: list[Group]
    total: Figures
    too_many: int | None = None
    by_day_instead: bool = False  # of hours, of which there would be too many calls

    @property
    def others(self) -> list[Group]:
        """What is one row unless all are asked for. One alone is no others."""
        return self.groups[SHOWN:] if sum(group.count for group in self.groups) > SHOWN + 1 else []

    @property
    def others_count(self) -> int:
        return sum(group.count for group in self.others)

    @property
    def named(self) -> list[Group]:
        return self.groups[: len(self.groups) - len(self.others)]

    @cached_property
    def rest(self) -> Figures | None:
        return _together(self.others, len(self.span.buckets)) if self.others else None

    @property
    def rest_share(self) -> Decimal:
        return sum((group.share for group in self.others), ZERO)

    @property
    def rows(self) -> list[tuple[Bucket, str, Decimal]]:
        """Each bucket with its name and what was measured in it."""
        named = ((bucket, bucket.name(self.span.zone)) for bucket in self.span.buckets)
        return [(*each, value) for each, value in zip(named, self.total.measured, strict=True)]

    @property
    def column(self) -> list[Decimal]:
        return [self.total.credits, *(group.credits for group in self.groups)]

    @property
    def per_results(self) -> list[Decimal]:
        return [figures.per_result or ZERO for figures in (self.total, *self.groups)]

    @property
    def daily(self) -> list[Decimal]:
        return [self.total.sum, *self.total.measured]

    @property
    def runs(self) -> list[UUID]:
        """The groups that are runs."""
        return [UUID(group.key) for group in self.groups if group.key] if self.by == "run" else []

    @property
    def keys(self) -> list[str]:
        return [group.key for group in self.groups]


def read(org: Organization, span: Span, wanted: Wanted, by: str = "provider", measure: str = "credits") -> Breakdown:
    """Read a span's usage in groups. Two queries of the rollups, four where a rollup does not tell who failed before
    billing; what no rollup holds costs eight at most. By run it is two more, to name those that led.
    """
    by_day_instead, runs, further = False, None, 0
    try:
        if by == "run":
            runs, further = usage.leading(org, span, wanted, measure, SHOWN)
        found = usage.cells(org, span, wanted, by, runs=runs)
    except TooMany as many:
        if span.unit != "hour" or _crosses(by, wanted):
            return Breakdown(span, by, measure, [], _nothing(span), too_many=many.calls)
        span, by_day_instead = replace(span, hours=False), True
        found = usage.cells(org, span, wanted, by, runs=runs)
    earlier = _earlier(org, span, wanted, by, measure, runs)
    refused = usage.refused(org, span, wanted, by, runs) if _is_silent(found) else None
    groups = _ranked(_grouped(found, len(span.buckets), measure, earlier, refused), further)
    total = _together(groups, len(span.buckets))
    if earlier is not None:
        total = replace(total, earlier=sum(earlier.values(), ZERO))
    return Breakdown(span, by, measure, groups, total, by_day_instead=by_day_instead)


def _crosses(by: str, wanted: Wanted) -> bool:
    return bool((by in usage.OF_TOOLS or wanted.of_tools) and (by in usage.OF_RUNS or wanted.of_runs))


def _is_silent(found: list[Cell]) -> bool:
    return any(cell.refused is None for cell in found)


def _earlier(
    org: Organization, span: Span, wanted: Wanted, by: str, measure: str, runs: list[UUID] | None
) -> dict[Any, Decimal] | None:
    try:
        before = usage.cells(org, span.before, wanted, by, whole=True, runs=runs)
    except TooMany:
        return None
    return {cell.group: Decimal(getattr(cell, measure)) for cell in before}


def _grouped(
    found: list[Cell],
    buckets: int,
    measure: str,
    earlier: dict[Any, Decimal] | None,
    refused: dict[Any, int] | None,
) -> dict[str, Figures]:
    by_group: dict[Any, list[Cell]] = {}
    for cell in found:
        by_group.setdefault(cell.group, []).append(cell)
    groups = {}
    for key, cells in by_group.items():
        measured = [ZERO] * buckets
        for cell in cells:
            measured[cell.bucket] += getattr(cell, measure)
        told = None if _is_silent(cells) else sum(cell.refused or 0 for cell in cells)
        groups[_text(key)] = Figures(
            credits=sum((cell.credits for cell in cells), ZERO),
            calls=sum(cell.calls for cell in cells),
            results=sum(cell.results for cell in cells),
            refused=refused.get(key, 0) if refused is not None else told,
            measured=measured,
            earlier=None if earlier is None else earlier.get(key, ZERO),
        )
    return groups


def _text(key: Any) -> str:
    """Write a group as the page's URL says it."""
    return {True: "byok", False: "managed", None: ""}[key] if key is None or isinstance(key, bool) else str(key)


def _ranked(groups: dict[str, Figures], further: int) -> list[Group]:
    ranked = sorted(groups, key=lambda key: (not key, -groups[key].sum, -groups[key].calls, key))
    total = sum((figures.sum for figures in groups.values()), ZERO)
    most = max((figures.sum for key, figures in groups.items() if key), default=ZERO)

    def part(of: Figures, whole: Decimal) -> Decimal:
        return of.sum / whole if whole else ZERO

    return [
        Group(
            **vars(groups[key]),
            key=key,
            series=rank if rank <= COLOURS and groups[key].sum else 0,
            share=part(groups[key], total),
            bar=part(groups[key], most),
            count=1 if key else further,
        )
        for rank, key in enumerate(ranked, 1)
    ]


def _together(groups: list[Group], buckets: int) -> Figures:
    def added(of: Callable[[Group], Any]) -> Any:
        values = [of(group) for group in groups]
        return None if None in values else sum(values)

    return Figures(
        credits=added(lambda group: group.credits) or ZERO,
        calls=added(lambda group: group.calls),
        results=added(lambda group: group.results),
        refused=added(lambda group: group.refused),
        measured=[sum((group.measured[n] for group in groups), ZERO) for n in range(buckets)],
        earlier=added(lambda group: group.earlier),
    )


def _nothing(span: Span) -> Figures:
    return Figures(ZERO, 0, 0, None, [ZERO] * len(span.buckets), None)
