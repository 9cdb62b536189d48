"""What a run over a column would be if it started now: the rows left to fill, its tools, and the terms it would have.

For `lifecycle.py`, which freezes them on a run, and for the pages that show an estimate. Reads only, a few queries.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from billing.models import Organization, UsageByTool
from oxygen_site.transactions import Refused
from runs import accounts
from runs.cascade import plain, unit
from runs.estimates import Estimate, Quoted, estimate, success_rate
from runs.models import Column, Fill, Integration, Item, Mode, Row, Table, Tool


def column_of(table: Table, fill: Fill) -> Column:
    """The column that this would fill: for a capability or template the one named after it, not saved where missing."""
    if isinstance(fill, Column):
        return fill
    missing = Column(table=table, key=fill.pk, name=fill.name, cascade=fill.cascade)
    return Column.objects.filter(table=table, key=fill.pk).select_related("table").first() or missing


def nowhere(org: Organization, cascade: Sequence[str]) -> Column:
    """The column that an outside run fills: one that is not here, and has no rows."""
    return Column(table=Table(org=org), cascade=list(cascade))


def rows_to_fill(column: Column) -> QuerySet[Row]:
    """Rows of the column's table, in order, that it has not filled and that no open run of it has before it."""
    rows = Row.objects.filter(table=column.table_id).order_by("number")
    if column.pk is None:
        return rows
    taken = Item.objects.filter(
        row=OuterRef("pk"),
        run__column=column,
        status__in=(Item.Status.PENDING, Item.Status.RUNNING, Item.Status.SUCCEEDED),
    )
    return rows.filter(~Exists(taken))


def tools(column: Column) -> list[Quoted]:
    """The column's cascade with each tool's mode, price and success rate in its org."""
    org = column.table.org_id
    catalog = Tool.objects.select_related("provider").in_bulk(column.cascade)
    chosen = dict(Integration.objects.filter(org=org).values_list("provider", "mode"))
    observed = _observed(org, column.cascade)
    quoted = []
    for tool in (catalog[name] for name in column.cascade):
        mode = chosen.get(tool.provider_id, tool.provider.default_mode)
        byok = mode == Mode.BYOK or not tool.provider.may_be_managed
        rate = success_rate(*observed.get(tool.id, (0, 0)), tool.success_rate)
        quoted.append(Quoted(tool.id, tool.provider_id, byok, tool.price, tool.maximum, rate))
    return quoted


def estimated(column: Column, limit: int | None = None) -> Estimate:
    """Estimate a run over the rows left to fill, the first `limit` of them where one is given."""
    return estimate(rows_to_fill(column)[:limit].count(), tools(column))


def terms(column: Column, rows: int, cap: Decimal | None) -> dict[str, Any]:
    """What a run over so many rows would be today, as fields of it; Refused where it may not start."""
    quoted = tools(column)
    expected = estimate(rows, quoted)
    if expected.min is None or expected.likely is None or expected.max is None:
        raise Refused(
            "price_unknown",
            f"{', '.join(expected.unpriced)} has no price yet, so what the run may cost is unknown. "
            "Take it out of the column, or ask Oxygen for its price.",
            422,
            coverage=expected.coverage,
        )
    steps = [step for tool in quoted if (step := tool.step) is not None]
    if lacking := accounts.missing(column.table.org_id, {step.provider for step in steps if step.byok}):
        raise Refused(
            "integration_required",
            f"This column uses your own account at {', '.join(lacking)}, which is not connected. "
            "An admin connects it under Runs, Accounts.",
            422,
            providers=lacking,
        )
    most = unit(steps)
    if most and cap is None:
        suggested = f" {plain(expected.suggested_cap)} covers every row." if expected.suggested_cap else ""
        raise Refused(
            "cap_required", f"Name a cap: the most this run may spend, in credits.{suggested}", 422, field="cap"
        )
    if cap is not None and cap < most:
        raise Refused(
            "cap_too_small",
            f"One row may cost {plain(most)} credits, so the cap must be at least {plain(most)}.",
            422,
            field="cap",
            unit=most,
        )
    if not rows:
        raise Refused("nothing_to_run", "Every row is filled already, or is in another run of this column.", 422)
    return {
        "steps": [step.freeze() for step in steps],
        "unit": most,
        "estimated_min": expected.min,
        "estimated": expected.likely,
        "estimated_max": expected.max,
        "rows": rows,
    }


def _observed(org: UUID, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    settled = ~Q(outcome="failed_before_billing")
    sums = (
        UsageByTool.objects.filter(settled, org=org, tool__in=list(names))
        .values_list("tool")
        .annotate(results=Sum("calls", filter=Q(outcome="succeeded"), default=0), calls_made=Sum("calls"))
    )
    return {tool: (int(results), int(calls)) for tool, results, calls in sums}
