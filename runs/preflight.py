"""What a run would be and would meet if it started now: estimate, hold, approval, and whatever would refuse it.

For the API and the command, before anything is made. Reads only, a dozen queries at most. The law: no rule is written
here; each blocker is the refusal that the start itself would be met with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from billing.models import Account
from oxygen_site.clock import clock
from oxygen_site.transactions import Refused
from runs import approval, calibration, lifecycle, smoke_tests, today
from runs.calibration import Calibration
from runs.cascade import ZERO, Step, unit
from runs.estimates import Estimate, Quoted
from runs.models import Column, Fill, Run, Table


@dataclass(frozen=True)
class Preflight:
    """A run that nobody has started. Credits; `holds` is None, as the estimate is, where a price is unknown."""

    table: Table
    column: Column  # not saved yet where a capability or template would make it
    mode: str
    tools: list[Quoted]
    terms: Estimate
    cap: Decimal | None
    unit: Decimal | None  # one item's maximum
    holds: Decimal | None  # under the suggested cap, where none was named
    available: Decimal
    approval: str  # why it needs one; empty where it needs none
    blockers: list[Refused]
    calibration: Calibration | None

    @property
    def after(self) -> Decimal | None:
        """What would be available once it held that; below 0 where it may not start."""
        return None if self.holds is None else self.available - self.holds


def read(
    table: Table,
    fill: Fill,
    *,
    limit: int | None = None,
    rows: int | None = None,
    cap: Decimal | None = None,
    mode: str = Run.Mode.LIVE,
) -> Preflight:
    """Read what a run would be over the first `limit` rows left to fill, or over so many `rows`. Refused: invalid_cap.

    `fill` may be a column that is not there yet.
    """
    tested = mode == Run.Mode.SMOKE_TEST
    cap = None if tested else lifecycle.exact_cap(cap)
    column = today.column_of(table, fill)
    tools = today.tools(column)
    too_many, most = _most(limit, tested)
    found = today.rows_to_fill(column)[:most].count() if rows is None else rows
    terms, steps = today.expected(found, tools, mode), today.steps_of(tools, mode)
    holds = None if terms.max is None else min(cap or terms.suggested_cap or ZERO, terms.max)
    available = Account.objects.get(org=table.org_id).available
    return Preflight(
        table=table,
        column=column,
        mode=mode,
        tools=tools,
        terms=terms,
        cap=cap,
        unit=unit(steps) if terms.known else None,
        holds=holds,
        available=available,
        approval=approval.reason(table.org, lifecycle.kind_of(fill), holds or ZERO, mode),
        blockers=[*too_many, *_blockers(column, terms, steps, cap, holds, available, tested=tested)],
        calibration=calibration.of_cascade(table.org, column.cascade),
    )


def _most(limit: int | None, tested: bool) -> tuple[list[Refused], int | None]:
    if not tested:
        return [], limit
    try:
        return [], smoke_tests.rows(limit)
    except Refused as refusal:
        return [refusal], smoke_tests.ROWS


def _blockers(
    column: Column,
    terms: Estimate,
    steps: list[Step],
    cap: Decimal | None,
    holds: Decimal | None,
    available: Decimal,
    *,
    tested: bool,
) -> Iterator[Refused]:
    yield from today.objections(column, terms, steps, cap)
    if holds is not None and holds > available:
        yield today.short(holds - available, holds)
    if tested and (refusal := smoke_tests.objection(column.table.org, terms.rows * len(steps), clock())):
        yield refusal
