"""What a run over a column would be if it started now: the rows left to fill, its tools, and the terms it would have.

For `lifecycle.py`, which freezes them on a run, and for the pages that show an estimate. Reads only, a few queries.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from billing.models import Organization
from oxygen_site.transactions import Refused
from runs import accounts, catalog
from runs.cascade import Step, plain, unit
from runs.estimates import Estimate, Quoted, estimate, free
from runs.models import Column, Fill, Item, Row, Run, Table, Tool


def column_of(table: Table, fill: Fill) -> Column:
    """The column that this would fill: for a capability or template the one named after it, not saved where missing."""
    if isinstance(fill, Column):
        return fill
    missing = Column(table=table, key=fill.pk, name=fill.name, cascade=fill.cascade)
    return Column.objects.filter(table=table, key=fill.pk).select_related("table").first() or missing


def nowhere(org: Organization, cascade: Sequence[str]) -> Column:
    """The column that an outside run fills: one that is not here, and has no rows."""
    return Column(table=Table(org=org), cascade=list(cascade))


def filled_by(run: Run) -> Column:
    """The column that a run fills."""
    return run.column or nowhere(run.org, run.tools)


def rows_to_fill(column: Column) -> QuerySet[Row]:
    """Rows of the column's table, in order, that it has not filled and that no open run of it has before it.

    What a smoke test found fills nothing: its rows stay there for a live run, which pays for them.
    """
    rows = Row.objects.filter(table=column.table_id).order_by("number")
    if column.pk is None:
        return rows
    taken = Item.objects.filter(
        row=OuterRef("pk"),
        run__column=column,
        run__mode=Run.Mode.LIVE,
        status__in=(Item.Status.PENDING, Item.Status.RUNNING, Item.Status.SUCCEEDED),
    )
    return rows.filter(~Exists(taken))


def tools(column: Column) -> list[Quoted]:
    """The column's cascade with each tool's mode, price and success rate in its org."""
    known = Tool.objects.select_related("provider").in_bulk(column.cascade)
    offers = catalog.offers(column.table.org_id, [known[name] for name in column.cascade])
    return [offer.quoted for offer in offers]


def estimated(column: Column, limit: int | None = None) -> Estimate:
    """Estimate a run over the rows left to fill, the first `limit` of them where one is given."""
    return expected(rows_to_fill(column)[:limit].count(), tools(column))


def expected(rows: int, quoted: Sequence[Quoted], mode: str = Run.Mode.LIVE) -> Estimate:
    """Estimate a run over so many rows with these tools; a smoke test is never charged."""
    return estimate(rows, quoted) if mode == Run.Mode.LIVE else free(rows)


def steps_of(quoted: Sequence[Quoted], mode: str = Run.Mode.LIVE) -> list[Step]:
    """The steps to freeze on a run with these tools; those of a live run that have no price are left out."""
    if mode == Run.Mode.SMOKE_TEST:
        return [tool.tested for tool in quoted]
    return [step for tool in quoted if (step := tool.step) is not None]


def terms(column: Column, rows: int, cap: Decimal | None, mode: str = Run.Mode.LIVE) -> dict[str, Any]:
    """What a run over so many rows would be today, as fields of it; Refused where it may not start."""
    quoted = tools(column)
    costs, steps = expected(rows, quoted, mode), steps_of(quoted, mode)
    for objection in objections(column, costs, steps, cap):
        raise objection
    return {
        "steps": [step.freeze() for step in steps],
        "unit": unit(steps),
        "estimated_min": costs.min,
        "estimated": costs.likely,
        "estimated_max": costs.max,
        "rows": rows,
    }


def objections(column: Column, costs: Estimate, steps: Sequence[Step], cap: Decimal | None) -> Iterator[Refused]:
    """Say each reason why a run with these terms may not start, the first one first. One query at most."""
    if not costs.known:
        yield Refused(
            "price_unknown",
            f"{', '.join(costs.unpriced)} has no price yet, so what the run may cost is unknown. "
            "Do without it, or ask Oxygen for its price.",
            422,
            coverage=costs.coverage,
        )
    if lacking := accounts.missing(column.table.org_id, {step.provider for step in steps if step.byok}):
        yield Refused(
            "integration_required",
            f"This takes your own account at {', '.join(lacking)}, which is not connected. "
            "An admin connects it under Runs, Accounts.",
            422,
            providers=lacking,
        )
    most = unit(steps)
    if most and cap is None:
        suggested = f" {plain(costs.suggested_cap)} covers every row." if costs.suggested_cap else ""
        yield Refused(
            "cap_required", f"Name a cap: the most this run may spend, in credits.{suggested}", 422, field="cap"
        )
    if cap is not None and cap < most:
        yield Refused(
            "cap_too_small",
            f"One row may cost {plain(most)} credits, so the cap must be at least {plain(most)}.",
            422,
            field="cap",
            unit=most,
        )
    if not costs.rows:
        yield Refused("nothing_to_run", "Every row is filled already, or is in another run of this column.", 422)


def short(missing: Decimal, to_hold: Decimal) -> Refused:
    """Say that a run may not hold so much, and how much of it is missing."""
    return Refused(
        "insufficient_credits",
        f"This run would hold {plain(to_hold)} credits, {plain(missing)} more than are available. "
        "Lower the cap, run fewer rows or add credits.",
        402,
        missing=missing,
        needed=to_hold,
    )
